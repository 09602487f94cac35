"""Multi-window, multi-burn-rate alerts on the objectives of each LlamaDeployment.

The table is that of the SRE workbook, https://sre.google/workbook/alerting-on-slos/ ("6: Multiwindow, Multi-Burn-Rate Alerts"):

    severity   long   short   burn rate   of the budget
    critical   1h     5m      14.4        2 %
    critical   6h     30m     6           5 %
    warning    1d     2h      3           10 %
    warning    3d     6h      1           10 %

The short window ends the alert soon after it is over. Where few requests come, one slow one would be a large share: an alert needs at least
LEAST_EVENTS in its long window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llama_operator.telemetry import names, recorded
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry.metric import Metric
from llama_operator.telemetry.rules.expressions import by, ours, summed
from llama_operator.telemetry.rules.recording import POSTS
from llama_operator.telemetry.rules.rule import Alert, Pace, Severity, seconds_of

LEAST_EVENTS = 20
"""Requests, or tokens. With 20, a single miss is 5 %."""
HIGHEST_SHARE = 0.9
"""Of misses. A burn rate of 14.4 asks for more than all there is below an objective of 93.1 %, and one of 6 below 83.4 %: where nine of ten
miss it, that is told too. The least objective is 50 % (`api.v1alpha1.Objectives`), so that this is above every budget."""


@dataclass(frozen=True, kw_only=True)
class Burn:
    """One line of the table. `hold` in seconds."""

    long: str
    short: str
    rate: float
    severity: Severity
    hold: float


TABLE = (
    Burn(long="1h", short="5m", rate=14.4, severity="critical", hold=120),
    Burn(long="6h", short="30m", rate=6, severity="critical", hold=900),
    Burn(long="1d", short="2h", rate=3, severity="warning", hold=3600),
    Burn(long="3d", short="6h", rate=1, severity="warning", hold=10_800),
)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One kind of objective, and how its misses are told."""

    alert: str
    objective: str
    errors: Mapping[str, Metric]
    events: str
    """The series of a counter of everything that could miss it."""
    words: str
    advice: str


OBJECTIVES = (
    Objective(
        alert="LlamaTimeToFirstTokenBudgetBurn",
        objective=own.TTFT,
        errors=recorded.TTFT_ERRORS,
        events=ours(f"{names.VLLM_TTFT}_count"),
        words="of requests waited longer for their first token than the objective allows",
        advice="Look at the queue first: requests that wait for a place, then long prompts, then a slow replica.",
    ),
    Objective(
        alert="LlamaInterTokenLatencyBudgetBurn",
        objective=own.ITL,
        errors=recorded.ITL_ERRORS,
        events=ours(f"{names.VLLM_ITL}_count"),
        words="of tokens came later after the one before than the objective allows",
        advice="Too many streams share a batch, prompts are computed between the steps, or a GPU is slow.",
    ),
    Objective(
        alert="LlamaSuccessBudgetBurn",
        objective=own.SUCCESS,
        errors=recorded.SUCCESS_ERRORS,
        events=ours(names.HTTP_REQUESTS, POSTS),
        words="of requests ended with a 5xx status",
        advice="503 means that no replica took it, 500 that an engine failed.",
    ),
)


def alerts(pace: Pace) -> list[Alert]:
    """Four for each kind of objective."""
    return [_alert(kind, line, pace) for kind in OBJECTIVES for line in TABLE]


def _alert(kind: Objective, line: Burn, pace: Pace) -> Alert:
    budget = f'clamp_max({line.rate:g} * (1 - {recorded.OBJECTIVE_RATIO.name}{{objective="{kind.objective}"}}), {HIGHEST_SHARE})'
    burning = [f"{kind.errors[window].name} > on {by()} {budget}" for window in (line.long, line.short)]
    enough = f"{summed(f'increase({kind.events}[{pace.duration(seconds_of(line.long))}])')} >= {LEAST_EVENTS}"
    where = "{{ $labels.namespace }}/{{ $labels.llama_operator_dev_deployment }}"
    return Alert(
        name=kind.alert,
        expr=f"({burning[0]})\nand on {by()} ({burning[1]})\nand on {by()} ({enough})",
        hold=line.hold,
        severity=line.severity,
        labels={"long": line.long, "short": line.short},
        summary=f"{where}: {{{{ $value | humanizePercentage }}}} {kind.words}, over {line.long}",
        description=f"The budget of 30 days is used up {line.rate:g} times as fast as it may be, over {line.long} and over {line.short}. "
        f"{kind.advice}",
    )
