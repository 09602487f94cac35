"""Every panel's query, asked at a Prometheus: how many series it has, and what they are.

A query that has none fails, unless it, or its panel, says why it may.
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.telemetry.dashboards.panel import Board, Panel, Query

Get = Callable[[str], Any]
"""Answers the JSON body of a path below Prometheus' root, with its query string. Raises OSError."""
TIMEOUT_SECONDS = 60.0
LOCAL = "/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy"
POINTS = 240
"""Steps of a line."""
MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What Grafana's variables stand for, and which time is shown. Seconds since 1970."""

    namespace: str
    deployment: str
    revision: str = ".+"
    start: float
    end: float

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max((self.end - self.start) / POINTS, 1.0)

    def fill(self, expression: str) -> str:
        """The query with the variables put in."""
        shown = math.ceil(self.end - self.start)
        values = {
            "$__rate_interval": "60s",
            "$__range_s": str(shown),
            "$__range": f"{shown}s",
            "$namespace": self.namespace,
            "$deployment": self.deployment,
            "$revision": self.revision,
        }
        for name, value in values.items():
            expression = expression.replace(name, value)
        return expression


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of an answer."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    """Times and values; one for a query of the present."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One query, and its answer."""

    board: Board
    panel: Panel
    query: Query
    series: Sequence[Series]
    error: str = ""

    @property
    def may_be_empty(self) -> str:
        """Why it may have no series."""
        return self.query.empty or self.panel.empty

    @property
    def wrong(self) -> bool:
        """It failed, or is empty and does not say why."""
        return bool(self.error) or not (self.series or self.may_be_empty)


def over_http(url: str) -> Get:
    """A Prometheus at its root URL."""

    def get(path: str) -> Any:
        with urllib.request.urlopen(f"{url.rstrip('/')}{path}", timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read(MOST_BYTES))

    return get


def through_api(api: Any) -> Get:
    """The local cluster's Prometheus, through its API server; `api` is localcluster's."""
    from localcluster.api import ApiError  # the other ways need no cluster of ours

    def get(path: str) -> Any:
        try:
            return api.get(f"{LOCAL}{path}")
        except ApiError as error:
            raise OSError(str(error)) from error

    return get


def try_all(get: Get, boards: Iterable[Board], choice: Choice) -> list[Tried]:
    """Every query of every panel, in order."""
    return [
        _try(get, board, panel, query, choice) for board in boards for row in board.rows for panel in row.panels for query in panel.queries
    ]


def _try(get: Get, board: Board, panel: Panel, query: Query, choice: Choice) -> Tried:
    form = {"query": choice.fill(query.expression)}
    if panel.kind == "lines":
        path = "/api/v1/query_range"
        form |= {"start": f"{choice.start:.3f}", "end": f"{choice.end:.3f}", "step": f"{choice.step:.3f}"}
    else:
        path = "/api/v1/query"
        form |= {"time": f"{choice.end:.3f}"}
    try:
        body = get(f"{path}?{urllib.parse.urlencode(form)}")
        read = [_series(item) for item in body["data"]["result"]]
    except urllib.error.HTTPError as error:
        return Tried(board=board, panel=panel, query=query, series=(), error=error.read(300).decode("utf-8", "replace"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Tried(board=board, panel=panel, query=query, series=(), error=f"{type(error).__name__} {error}")
    return Tried(board=board, panel=panel, query=query, series=[series for series in read if series.points])


def _series(item: Mapping[str, Any]) -> Series:
    points = [(float(time), float(value)) for time, value in item.get("values") or [item["value"]]]
    return Series(labels=item["metric"], points=[(time, value) for time, value in points if math.isfinite(value)])


def report(tried: Sequence[Tried]) -> str:
    """The table: dashboard, panel, line, series; and what is wrong."""
    rows = [("dashboard", "panel", "query", "series", "")]
    for each in tried:
        said = each.error or ("EMPTY" if each.wrong else each.may_be_empty if not each.series else "")
        rows.append((each.board.name, each.panel.title, each.query.legend, str(len(each.series)), said))
    widths = [min(max(len(row[column]) for row in rows), 60) for column in range(4)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows]
    panels = {(each.board.name, each.panel.title) for each in tried}
    shown = {(each.board.name, each.panel.title) for each in tried if each.series}
    wrong = [each for each in tried if each.wrong]
    total = f"{len(panels)} panels, {len(shown)} with data; {len(tried)} queries, {len(wrong)} wrong"
    return "\n".join([*lines, "", total])
