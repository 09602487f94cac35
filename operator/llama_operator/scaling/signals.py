"""From Prometheus' raw samples to one number: requests that the replicas of a deployment have in hand, and those that wait.

Two families say it for a running replica: Serve's (or our own) count, there from the first second, and vLLM's running and waiting gauges,
which come late on a fresh replica and are the truth once it works. For each replica the larger counts: what only one of them knows is
still load. Requests that wait in a proxy or router because no replica takes them come on top.

A replica that is expected to be seen and is not, a sample older than allowed, not a number or negative: the result is `Missing`, with
the reason. It is never a smaller sum.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from llama_operator.telemetry import names as metric


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of a range vector: its labels and its newest sample, `value` at `time` (seconds since 1970)."""

    name: str
    pod: str
    revision: str
    time: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Missing:
    """No trustworthy number, and why. `reason` is a Reason of MetricsAvailable."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests of one deployment at one moment."""

    in_flight: float
    """In the replicas: running and waiting in their engines."""
    held: float
    """In proxies and routers, not yet in a replica."""
    age_seconds: float
    """Age of the oldest sample that counted."""
    replicas_seen: int

    @property
    def total(self) -> float:
        """All requests that somebody waits for."""
        return self.in_flight + self.held


def read_load(
    series: Sequence[Series] | Missing, expected: Collection[str], live: Collection[str], now: float, max_age: float
) -> Load | Missing:
    """The load of one deployment.

    `expected` are the pods whose replica serves by now and must be seen; `live` all pods of the deployment that exist, heads included:
    series of any other pod are of one that is gone, and do not count. `max_age` in seconds.
    """
    if isinstance(series, Missing):
        return series
    mine = [item for item in series if item.pod in live]
    for item in mine:
        if not math.isfinite(item.value) or item.value < 0:
            return Missing(
                reason="MetricsInvalid", message=f"{item.name} of pod {item.pod} is {item.value}, which is no number of requests"
            )
    fresh = [item for item in mine if now - item.time <= max_age]
    seen = {item.pod for item in fresh if item.name in metric.REPLICA_FAMILIES}
    for pod in sorted(expected):
        if pod in seen:
            continue
        old = [item for item in mine if item.pod == pod and item.name in metric.REPLICA_FAMILIES]
        if old:
            age = now - max(item.time for item in old)
            return Missing(reason="MetricsStale", message=f"the newest sample of pod {pod} is {age:.0f} s old, allowed are {max_age:.0f} s")
        return Missing(reason="MetricsMissing", message=f"Prometheus has no request metric of pod {pod}, which serves")
    if not expected and not fresh:
        return Missing(reason="MetricsMissing", message="Prometheus has no request metric of any pod yet")
    in_flight = 0.0
    for pod in {item.pod for item in fresh}:
        by_family = {family: _sum(fresh, pod, family) for family in metric.REPLICA_FAMILIES}
        serve = max(by_family[family] for family in metric.SERVE_IN_FLIGHT)
        engine = sum(by_family[family] for family in metric.ENGINE_IN_FLIGHT)
        in_flight += max(serve, engine)
    held = sum(item.value for item in fresh if item.name in metric.HELD_FAMILIES)
    return Load(
        in_flight=in_flight,
        held=held,
        age_seconds=max((now - item.time for item in fresh), default=0.0),
        replicas_seen=len(seen),
    )


def _sum(series: Sequence[Series], pod: str, family: str) -> float:
    return sum(item.value for item in series if item.pod == pod and item.name == family)
