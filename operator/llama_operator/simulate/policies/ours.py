"""The operator's own policy: the very `read_load` and `decide` that run in the cluster, fed with the series that it would query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

from llama_operator.scaling.policy import Policy, Replicas, decide
from llama_operator.scaling.signals import Missing, Series, read_load
from llama_operator.simulate.replica import FIRST_TOKEN_BOUNDS
from llama_operator.simulate.view import Ask, Sample, Scrape, Sight, View
from llama_operator.telemetry import names as metric

EPOCH = 1_790_000_000.0
"""What the simulation's 0 is in seconds since 1970; any moment will do."""
RANGE_AGES = 4.0
"""The operator's query reaches back so many times the age that a sample may have (control/autoscaler.py)."""
ROUTER = "head"
"""The pod whose router holds requests."""


@dataclass(frozen=True, kw_only=True)
class Ours:
    """`policy` gives the objective; its bounds are replaced by the run's. `every` and `max_age` in seconds."""

    policy: Policy
    every: float = 5.0
    max_age: float = 60.0
    kv: float = 681_000.0
    """Tokens that the KV cache of a modelled replica holds, by which its share in use is known."""
    idle_seconds: float | None = None
    """The policy's, wherever the run's minimum is 0."""
    looks_for_room: bool = True
    """It asks for no replica that has no place; else they wait in the scheduler's queue."""
    name: str = "ours"

    @property
    def sight(self) -> Sight:
        """As far back as the operator's query: rates are of the newest two scrapes. What else it remembers is in its memory."""
        return Sight(every=self.every, history=RANGE_AGES * self.max_age)

    def look(self, view: View, memory: Any) -> Ask:
        """One pass of the operator's autoscaler."""
        policy = replace(
            self.policy,
            min_replicas=view.minimum,
            max_replicas=view.maximum,
            bounded_by=view.bounded_by,
            idle_seconds=None if view.minimum else self.idle_seconds,
        )
        expected = {replica.name for replica in view.ready if view.now - replica.since > self.max_age}
        live = {replica.name for replica in view.ready} | set(view.draining) | {ROUTER}
        series = read_series(view, self.kv, zero=policy.sleeps, first_tokens=policy.ttft_seconds is not None)
        signals = read_load(series, expected, live, EPOCH + view.now, self.max_age)
        newest = max((EPOCH + replica.since for replica in view.ready), default=None)
        replicas = Replicas(
            wanted=view.wanted,
            ready=len(view.ready),
            newest=newest,
            leaving=len(view.draining),
            room=view.room if self.looks_for_room else None,
            no_room="" if view.room is None else f"the cluster's GPUs hold {view.room or 'no'} more",
        )
        decision = decide(policy, signals, replicas, memory or {}, EPOCH + view.now)
        return Ask(decision.replicas, decision.memory, decision.reason, decision.message)


def read_series(view: View, kv: float, *, zero: bool = False, first_tokens: bool = False) -> list[Series] | Missing:
    """The newest scrape, of counters the one before it, and of a histogram the oldest in the range, as Prometheus would answer the
    operator's query; with `zero` also when a request last came, and with `first_tokens` the histogram: the operator asks for either where
    it needs it.
    """
    if not view.scrapes:
        return Missing(reason="MetricsMissing", message="Prometheus has no scrape yet")
    oldest = _oldest(view.scrapes) if first_tokens else ()
    return _answer(view.scrapes[-1], view.scrapes[-2] if len(view.scrapes) > 1 else None, kv, oldest, zero=zero)


def _oldest(scrapes: Sequence[Scrape]) -> tuple[tuple[float, Sample], ...]:
    """The oldest sample of each replica that the newest scrape has, and its time."""
    wanted, found = {sample.replica for sample in scrapes[-1].samples}, list[tuple[float, Sample]]()
    for scrape in scrapes:
        for sample in scrape.samples if wanted else ():
            if sample.replica in wanted:
                wanted.remove(sample.replica)
                found.append((scrape.time, sample))
    return tuple(found)


@lru_cache(maxsize=1)
def _answer(scrape: Scrape, earlier: Scrape | None, kv: float, oldest: tuple[tuple[float, Sample], ...], *, zero: bool) -> list[Series]:
    """Made once of a scrape: the operator looks more often than Prometheus does."""
    time = EPOCH + scrape.time
    before = {sample.replica: sample for sample in earlier.samples} if earlier else {}
    held = (EPOCH + earlier.time, float(earlier.held)) if earlier else None
    series = [Series(name=metric.SERVE_QUEUED, pod=ROUTER, revision="1", time=time, value=scrape.held, before=held)]
    for sample in scrape.samples:
        old = before.get(sample.replica)
        since = EPOCH + earlier.time if earlier else time
        for name, value, last in (
            (metric.REQUESTS_IN_FLIGHT, sample.running + sample.waiting, old and (since, old.running + old.waiting)),
            (metric.VLLM_RUNNING, sample.running, old and (since, old.running)),
            (metric.VLLM_WAITING, sample.waiting, old and (since, old.waiting)),
            (metric.VLLM_KV_USE, min(sample.kv_used / kv, 1.0), None),
            (metric.VLLM_PROMPT_TOKENS, sample.prompt_tokens, old and (since, old.prompt_tokens)),
            (metric.VLLM_OUTPUT_TOKENS, sample.output_tokens, old and (since, old.output_tokens)),
            (metric.VLLM_FINISHED, sample.finished, old and (since, old.finished)),
        ):
            series.append(Series(name=name, pod=sample.replica, revision="1", time=time, value=value, before=last))
        if zero:
            moment = EPOCH + sample.last_request
            series.append(Series(name=metric.LAST_REQUEST, pod=sample.replica, revision="1", time=time, value=moment))
    newest = {sample.replica: sample for sample in scrape.samples}
    for since, sample in oldest:
        series += _buckets(newest[sample.replica], sample, time, EPOCH + since)
    return series


def _buckets(sample: Sample, old: Sample, time: float, since: float) -> Iterator[Series]:
    """The histogram of first tokens, whose buckets hold all below them too; one sample alone has no older one."""
    for bound, value, before in zip(FIRST_TOKEN_BOUNDS, accumulate(sample.first_tokens), accumulate(old.first_tokens), strict=True):
        oldest = (since, float(before)) if since < time else None
        yield Series(name=metric.VLLM_FIRST_TOKEN, pod=sample.replica, revision="1", time=time, value=value, oldest=oldest, bound=bound)
