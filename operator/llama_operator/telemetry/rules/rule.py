"""What a rule is, and the pace at which rules look back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llama_operator.telemetry.metric import Metric

Severity = Literal["critical", "warning", "info"]
"""critical wakes somebody; warning is for the working day; info is for a report."""

RUNBOOKS = "https://github.com/llama-operator/llama-operator/blob/main/docs/runbooks"

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast time goes. A rehearsal divides every window, age and `for` of the rules by `shrink`; all else of a rule stays as it is."""

    shrink: float = 1.0
    least: int = 8
    """Seconds below which nothing is shrunk: a rate needs two samples, and a rehearsal scrapes every two seconds."""

    def seconds(self, seconds: float) -> int:
        """A length of time at this pace."""
        return int(seconds) if self.shrink == 1 else max(round(seconds / self.shrink), min(self.least, int(seconds)))

    def duration(self, seconds: float) -> str:
        """The same as PromQL writes it: 90s, 5m, 1h, 3d."""
        length = self.seconds(seconds)
        return next(f"{length // size}{unit}" for unit, size in _UNITS if length % size == 0)


REAL = Pace()


def seconds_of(window: str) -> int:
    """A window's name, as in 5m, in seconds."""
    return int(window[:-1]) * dict(_UNITS)[window[-1]]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A series made of others."""

    metric: Metric
    expr: str

    def document(self, _: Pace) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {"record": self.metric.name, "expr": self.expr}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert. `summary` is one line with the numbers, `description` says what to think of it; both are Prometheus templates."""

    name: str
    expr: str
    hold: float
    """Seconds for which it must be so."""
    severity: Severity
    summary: str
    description: str
    labels: Mapping[str, str] | None = None

    @property
    def runbook(self) -> str:
        """Where the page for whoever is woken is."""
        return f"{RUNBOOKS}/{self.name}.md"

    def document(self, pace: Pace) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": pace.duration(self.hold) if self.hold else "0s",
            "labels": {"severity": self.severity, **(self.labels or {})},
            "annotations": {"summary": self.summary, "description": self.description, "runbook_url": self.runbook},
        }


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    interval: float
    """Seconds between evaluations."""
    rules: Sequence[Recording | Alert]

    def document(self, pace: Pace) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {"name": self.name, "interval": f"{_interval(self.interval, pace)}s", "rules": [rule.document(pace) for rule in self.rules]}


def _interval(seconds: float, pace: Pace) -> int:
    return int(seconds) if pace.shrink == 1 else max(2, round(seconds / pace.shrink))
