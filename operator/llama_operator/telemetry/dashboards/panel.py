"""What a dashboard is made of, and the selectors that every query begins with.

Dashboards of one deployment select namespace and deployment by equality: two of the same name in two namespaces never mix. The fleet's
select by pattern and group by both. Grafana puts the variables in; names of Kubernetes hold nothing that PromQL would have to escape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llama_operator.telemetry import names
from llama_operator.telemetry.metric import Metric

Kind = Literal["lines", "stat", "table", "bars"]
Colour = Literal["green", "blue", "yellow", "orange", "red", "text"]
Variable = Literal["namespace", "deployment", "revision"]

PLAIN: tuple[tuple[float | None, Colour], ...] = ((None, "blue"),)
"""Thresholds of a number that is neither good nor bad."""

DEPLOYMENT_LEGEND = f"{{{{{names.LABEL_NAMESPACE}}}}}/{{{{{names.LABEL_DEPLOYMENT}}}}}"
POD_LEGEND = f"{{{{{names.LABEL_POD}}}}}"
RATE = "$__rate_interval"
"""Grafana's: at least four scrapes. https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/"""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One PromQL query of a panel."""

    expression: str
    legend: str
    """Grafana's form: {{label}} is replaced."""
    empty: str = ""
    """Why it may have no series in a healthy run; empty: it must have some."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture."""

    title: str
    description: str
    """What is seen, and what to think of it."""
    unit: str
    """Grafana's: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts"""
    queries: Sequence[Query]
    thresholds: Sequence[tuple[float | None, Colour]] = PLAIN
    """Colours from a value on; the first has no value."""
    kind: Kind = "lines"
    width: int = 8
    """Of 24 columns."""
    height: int = 7
    stacked: bool = False
    empty: str = ""
    """Why none of its queries may have series in a healthy run; empty: each must have some, or say why not itself."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard."""

    name: str
    """Of its file and its objects in the cluster."""
    title: str
    description: str
    variables: Sequence[Variable]
    many: bool
    """Whether its variables take several values, or all."""
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All of them, in order."""
        return [panel for row in self.rows for panel in row.panels]


def of_one(metric: Metric | str, *more: str) -> str:
    """The series of the chosen deployment."""
    return _series(metric, f'{names.LABEL_NAMESPACE}="$namespace"', f'{names.LABEL_DEPLOYMENT}="$deployment"', *more)


def of_revision(metric: Metric | str, *more: str) -> str:
    """The series of the chosen deployment's pods of the chosen revisions."""
    return of_one(metric, f'{names.LABEL_REVISION}=~"$revision"', *more)


def of_many(metric: Metric | str, *more: str) -> str:
    """The series of the chosen deployments."""
    return _series(metric, f'{names.LABEL_NAMESPACE}=~"$namespace"', f'{names.LABEL_DEPLOYMENT}=~"$deployment"', *more)


def _series(metric: Metric | str, *matchers: str) -> str:
    return f"{metric if isinstance(metric, str) else metric.name}{{{','.join(matchers)}}}"


def query(expression: str, legend: str, empty: str = "") -> Query:
    """A query."""
    return Query(expression=expression, legend=legend, empty=empty)


def by_deployment(expression: str) -> tuple[Query, ...]:
    """One query with a line for each deployment."""
    return (query(expression, DEPLOYMENT_LEGEND),)
