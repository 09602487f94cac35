"""Prometheus' HTTP API. Whatever goes wrong is a `Missing` with its reason: no exception, no zero."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from llama_operator.adapters.prometheus_answer import in_time
from llama_operator.scaling.signals import Missing, Series
from llama_operator.telemetry import names as metric

MAX_BYTES = 16 * 1024 * 1024
"""An answer larger than this is not read to its end: no deployment has that many series."""
OF_THE_SCRAPE = frozenset(("job", "instance", "endpoint", "container", "service", "prometheus", "prometheus_replica"))
"""Labels that Prometheus, its operator or its replicas put on a series; what a pod exports itself differs in others."""
OF_THE_POD = "llama_operator_dev_"
"""Labels that begin so are the pod's own, of which one job copies all and another those it was told."""


class Prometheus:
    """Implements Metrics."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        """`url` is Prometheus' root, empty where none is configured; `client` brings the time limit, here of a whole answer."""
        self._client = client
        self._url = url.rstrip("/")

    async def newest(self, selector: str) -> Sequence[Series] | Missing:
        """The newest sample of each series that the range selector finds."""
        if not self._url:
            return Missing(reason="NotConfigured", message="the operator was given no Prometheus address")
        body = await in_time(self._client, self._url, self._read(selector))
        return body if isinstance(body, Missing) else scraped_twice(body) or read_matrix(body)

    async def _read(self, selector: str) -> Any:
        async with self._client.stream("POST", f"{self._url}/api/v1/query", data={"query": selector}) as answer:
            raw = bytearray()
            async for chunk in answer.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_BYTES:
                    return Missing(reason="PrometheusUnreachable", message=f"the answer of {self._url} is larger than {MAX_BYTES} bytes")
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if answer.is_error or not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error") if isinstance(body, dict) else raw[:80].decode("utf-8", "replace")
            return Missing(reason="PrometheusUnreachable", message=f"{self._url} answers {answer.status_code}, not a query result: {said}")
        return body


def read_matrix(body: Mapping[str, Any]) -> Sequence[Series] | Missing:
    """The newest two samples of each series in the answer to a range selector, and the oldest.

    A Prometheus staleness marker is not in a matrix; the series just ends, and its age tells.
    """
    series = []
    try:
        for item in body["data"]["result"]:
            labels = item["metric"]
            samples, first = item["values"][-2:], item["values"][0]
            time, value = samples[-1]
            bound = labels.get(metric.LABEL_BOUND)
            series.append(
                Series(
                    name=str(labels["__name__"]),
                    pod=str(labels.get(metric.LABEL_POD, "")),
                    revision=str(labels.get(metric.LABEL_REVISION, "")),
                    time=float(time),
                    value=_number(value),
                    before=(float(samples[0][0]), _number(samples[0][1])) if len(samples) > 1 else None,
                    oldest=(float(first[0]), _number(first[1])) if len(samples) > 1 else None,
                    bound=None if bound is None else _number(bound),
                )
            )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return Missing(
            reason="PrometheusUnreachable", message=f"the answer has not the shape of a range vector: {type(error).__name__} {error}"
        )
    return series


def scraped_twice(body: Mapping[str, Any]) -> Missing | None:
    """Two series that differ in nothing but who scraped them, at the same time: their sum would be twice what there is.

    A scrape job that was renamed leaves its last samples behind, but gets no new ones: that is no contradiction.
    """
    found: dict[frozenset[tuple[str, str]], tuple[float, float, Mapping[str, str]]] = {}
    try:
        for item in body["data"]["result"]:
            labels = item["metric"]
            own = (name for name in labels if name not in OF_THE_SCRAPE and not name.startswith(OF_THE_POD))
            key = frozenset((name, labels[name]) for name in own)
            begin, end = float(item["values"][0][0]), float(item["values"][-1][0])
            other = found.get(key)
            if other is not None and begin <= other[1] and other[0] <= end:
                ways = " and ".join(sorted({_way(labels), _way(other[2])}))
                what = f"{labels['__name__']} of pod {labels.get(metric.LABEL_POD, '')}"
                return Missing(
                    reason="MetricsContradictory",
                    message=f"Prometheus has {what} twice, by {ways}: each request would count double; scrape serving pods in one way only",
                )
            found[key] = (begin, end, labels)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None  # whoever reads the samples says what is wrong
    return None


def _way(labels: Mapping[str, str]) -> str:
    """Who scraped a series, as far as it tells."""
    return ", ".join(f"{name}={labels[name]}" for name in sorted(OF_THE_SCRAPE & labels.keys())) or "a job without a name"


def _number(text: str) -> float:
    """Prometheus writes numbers as strings, with NaN and ±Inf."""
    return float(text)
