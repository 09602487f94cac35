"""The operator's own policy: the very `read_load` and `decide` that run in the cluster, fed with the series that it would query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llama_operator.scaling.policy import Policy, Replicas, decide
from llama_operator.scaling.signals import Missing, Series, read_load
from llama_operator.simulate.view import Ask, Sight, View
from llama_operator.telemetry import names as metric

EPOCH = 1_790_000_000.0
"""What the simulation's 0 is in seconds since 1970; any moment will do."""
ROUTER = "head"
"""The pod whose router holds requests."""


@dataclass(frozen=True, kw_only=True)
class Ours:
    """`policy` gives the objective; its bounds are replaced by the run's. `every` and `max_age` in seconds."""

    policy: Policy
    every: float = 5.0
    max_age: float = 60.0
    name: str = field(default="ours", init=False)

    @property
    def sight(self) -> Sight:
        """The newest scrape is enough: what the policy remembers is in its memory."""
        return Sight(every=self.every)

    def look(self, view: View, memory: Any) -> Ask:
        """One pass of the operator's autoscaler."""
        policy = Policy(
            min_replicas=view.minimum,
            max_replicas=view.maximum,
            in_flight_per_replica=self.policy.in_flight_per_replica,
            scale_up_seconds=self.policy.scale_up_seconds,
            scale_down_seconds=self.policy.scale_down_seconds,
        )
        expected = {replica.name for replica in view.ready if view.now - replica.since > self.max_age}
        live = {replica.name for replica in view.ready} | set(view.draining) | {ROUTER}
        signals = read_load(read_series(view), expected, live, EPOCH + view.now, self.max_age)
        decision = decide(policy, signals, Replicas(wanted=view.wanted, ready=len(view.ready)), memory or {}, EPOCH + view.now)
        return Ask(decision.replicas, decision.memory, decision.reason)


def read_series(view: View) -> list[Series] | Missing:
    """The newest scrape as Prometheus would answer the operator's query."""
    if not view.scrapes:
        return Missing(reason="MetricsMissing", message="Prometheus has no scrape yet")
    scrape = view.scrapes[-1]
    time = EPOCH + scrape.time
    series = [Series(name=metric.SERVE_QUEUED, pod=ROUTER, revision="1", time=time, value=scrape.held)]
    for sample in scrape.samples:
        for name, value in (
            (metric.REQUESTS_IN_FLIGHT, sample.running + sample.waiting),
            (metric.VLLM_RUNNING, sample.running),
            (metric.VLLM_WAITING, sample.waiting),
        ):
            series.append(Series(name=name, pod=sample.replica, revision="1", time=time, value=value))
    return series
