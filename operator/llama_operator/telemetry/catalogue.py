"""Every metric that a query, a rule, a dashboard or the autoscaler may name: one table, by name.

A name that is not in it is an error where it is used (`look_up`); a name that an engine no longer exports is found by the contract tests
in `tests/contract/serving`, which say what it was most likely renamed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from llama_operator.telemetry.cost_metrics import COST
from llama_operator.telemetry.engine_metrics import AGENT, SERVE, SERVER, VLLM_METRICS
from llama_operator.telemetry.metric import Metric, family, nearest
from llama_operator.telemetry.operator_metrics import OPERATOR
from llama_operator.telemetry.recorded import RECORDED

PROMETHEUS = (
    Metric(
        name="ALERTS",
        kind="gauge",
        unit="info",
        labels=("alertname", "alertstate", "severity"),
        meaning="1 for each alert that is pending or firing",
        source="prometheus",
        seen="prometheus 2.42.0",
    ),
)

CATALOGUE: Mapping[str, Metric] = {
    metric.name: metric for metric in (*SERVER, *SERVE, *VLLM_METRICS, *AGENT, *OPERATOR, *RECORDED, *COST, *PROMETHEUS)
}

_NAMES = re.compile(r"(?<![\w:\"])(?:ray_(?:serve|vllm|llama)_\w+|llama_operator_\w+|llama_agent_\w+|llama:[\w:]+|ALERTS\b)")


def look_up(series: str) -> Metric:
    """The metric of a series' name, with or without a histogram's ending. Raises KeyError that names the nearest known."""
    found = CATALOGUE.get(series) or CATALOGUE.get(family(series))
    if found is None:
        near = nearest(series, CATALOGUE)
        raise KeyError(f"{series} is not in the catalogue of metrics{f'; did you mean {near}?' if near else ''}")
    return found


def used_in(expression: str) -> tuple[Metric, ...]:
    """The metrics that a PromQL expression names. Raises KeyError for one that is not in the catalogue."""
    return tuple(look_up(name) for name in dict.fromkeys(_NAMES.findall(expression)) if not name.startswith("llama_operator_dev_"))


def renamed(expected: Iterable[Metric], seen: Iterable[str]) -> list[str]:
    """One sentence for each expected series that is not among `seen`, with the old name and the most likely new one."""
    there = set(seen)
    known = {series for metric in CATALOGUE.values() for series in metric.series}
    unknown = there - known
    said = []
    for metric in expected:
        for series in metric.series:
            if series not in there:
                near = nearest(series, unknown)
                hint = f"most likely renamed to {near}" if near else "and nothing new is like it"
                said.append(f"{series} ({metric.seen}) is not exported any more, {hint}: correct it in llama_operator/telemetry")
    return said
