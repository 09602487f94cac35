"""From Prometheus' raw samples to one number: requests that the replicas of a deployment have in hand, and those that wait.

Two families say it for a running replica: Serve's (or our own) count, there from the first second, and vLLM's running and waiting gauges,
which come late on a fresh replica and are the truth once it works. For each replica the larger counts: what only one of them knows is
still load. Requests that wait in a proxy or router because no replica takes them come on top.

A replica that is expected to be seen and is not, a sample older than allowed, not a number, negative or absurd: the result is `Missing`,
with the reason. It is never a smaller sum.

Rates come from the newest two samples of a counter. A replica without them, because it is young or its engine has done nothing yet, is
taken to do what the others do; where no busy replica has them, the rate is None: not known, which is not zero.

Families are scraped from several processes, and some are written only with an engine's step: each has an age of its own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from llama_operator.scaling.sane import MOST_COUNT, MOST_COUNTED
from llama_operator.telemetry import names as metric

COUNTERS = (metric.VLLM_PROMPT_TOKENS, metric.VLLM_OUTPUT_TOKENS, metric.VLLM_FINISHED, metric.VLLM_FIRST_TOKEN, metric.LAST_REQUEST)
MOST_SHARE = 1.01
"""Of a cache: a share above 1 by more than rounding was never measured."""
IN_HAND = (*metric.REPLICA_FAMILIES, *metric.HELD_FAMILIES)
"""The families that say how many requests there are, and by their newest two samples how that number grows."""
_MOST = {**dict.fromkeys(COUNTERS, MOST_COUNTED), metric.VLLM_KV_USE: MOST_SHARE}
"""Of a family: above it nothing was measured. Of all others MOST_COUNT."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of a range vector: its labels and its newest sample, `value` at `time` (seconds since 1970)."""

    name: str
    pod: str
    revision: str
    time: float
    value: float
    before: tuple[float, float] | None = None
    """Time and value of the sample before the newest; None where the range holds only one."""
    oldest: tuple[float, float] | None = None
    """Those of the oldest sample in the range; None where the range holds only one."""
    bound: float | None = None
    """Upper bound of a histogram's bucket, seconds; None of other families."""


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
    replicas_seen: int
    running: float | None = None
    """In the engines' batches."""
    waiting: float | None = None
    """In the engines' queues."""
    prompt_rate: float | None = None
    """Prompt tokens per second, over all replicas."""
    output_rate: float | None = None
    """Generated tokens per second, over all replicas."""
    finish_rate: float | None = None
    """Requests answered whole per second, over all replicas."""
    growth: float | None = None
    """Requests per second by which `total` grew between the newest two samples; below 0 where it shrank."""
    before: float | None = None
    """What `total` was in the samples before the newest. None: there were none."""
    kv_use: float | None = None
    """KV cache in use, in replicas' worth: the sum of the shares."""
    first_tokens: Mapping[float, float] | None = None
    """Requests of the last minute or so whose first token came within so many seconds, by that bound. None: not measured."""
    first_tokens_since: float | None = None
    """When the range began in which these came, of all replicas; seconds since 1970."""
    last_request: float | None = None
    """When a request last came to a replica or left one, seconds since 1970. None: not known of every replica."""
    queues: Sequence[tuple[float, float]] = ()
    """Of each replica in whose engine requests wait: sequences in its batch, and the share of its KV cache in use."""
    holder_seen: bool = False
    """Whether anything is held can be seen: a proxy or router says how many, be it none."""
    ages: Mapping[str, float] = field(default_factory=dict)
    """Of each family that was seen: the age of its oldest sample that counted, seconds."""

    @property
    def total(self) -> float:
        """All requests that somebody waits for."""
        return self.in_flight + self.held

    def age_of(self, *families: str) -> float | None:
        """Age of the oldest sample of these families; None where none of them was seen."""
        return max((self.ages[family] for family in families if family in self.ages), default=None)


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
        if not 0 <= item.value <= _MOST.get(item.name, MOST_COUNT):
            what = metric.MEANINGS.get(item.name, "number of requests")
            return Missing(reason="MetricsInvalid", message=f"{item.name} of pod {item.pod} is {item.value}, which is no {what}")
    ahead = max((item.time - now for item in mine), default=0.0)
    if ahead > max_age:
        clocks = "Prometheus' clock and the operator's contradict each other: mend the time on their nodes"
        return Missing(reason="MetricsContradictory", message=f"the newest sample is of {ahead:.0f} s from now; {clocks}")
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
    of_family = _by_family(fresh)
    in_hand = _in_hand((item.pod, item.name, item.value) for item in fresh)
    in_flight = sum(in_hand.values())
    busy = {pod for pod, requests in in_hand.items() if requests}
    held = sum(item.value for item in fresh if item.name in metric.HELD_FAMILIES)
    last = {item.pod: item.value for item in of_family.get(metric.LAST_REQUEST, ())}
    before, span = _before(fresh)
    return Load(
        in_flight=in_flight,
        held=held,
        replicas_seen=len(seen),
        running=_over(of_family.get(metric.VLLM_RUNNING, ()), busy),
        waiting=_over(of_family.get(metric.VLLM_WAITING, ()), busy),
        prompt_rate=_rate(of_family.get(metric.VLLM_PROMPT_TOKENS, ()), busy),
        output_rate=_rate(of_family.get(metric.VLLM_OUTPUT_TOKENS, ()), busy),
        finish_rate=_rate(of_family.get(metric.VLLM_FINISHED, ()), busy),
        growth=None if before is None else (in_flight + held - before) / span,
        before=before,
        kv_use=_over(of_family.get(metric.VLLM_KV_USE, ()), busy),
        first_tokens=_first_tokens(of_family.get(metric.VLLM_FIRST_TOKEN, ())),
        first_tokens_since=min((item.oldest[0] for item in of_family.get(metric.VLLM_FIRST_TOKEN, ()) if item.oldest), default=None),
        last_request=max(last.values()) if seen and seen <= last.keys() else None,
        queues=_queues(fresh),
        holder_seen=any(family in of_family for family in metric.HELD_FAMILIES),
        ages={family: max(now - item.time for item in items) for family, items in of_family.items()},
    )


def see_held(load: Load | Missing) -> Load | Missing:
    """The load, where it can be seen whether requests are held: with no replica there is nothing else to see."""
    if isinstance(load, Missing) or load.holder_seen:
        return load
    return Missing(reason="MetricsMissing", message="Prometheus has no series of a proxy that says whether it holds requests")


def _by_family(series: Sequence[Series]) -> dict[str, list[Series]]:
    """The series of each family, in their order."""
    found: dict[str, list[Series]] = {}
    for item in series:
        found.setdefault(item.name, []).append(item)
    return found


def _in_hand(values: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Requests in each replica, by the larger of what Serve and the engine say, from pod, family and value of every series."""
    told: dict[str, dict[str, list[float]]] = {}
    for pod, family, value in values:
        told.setdefault(pod, {}).setdefault(family, []).append(value)
    return {pod: _larger(told[pod]) for pod in sorted(told)}


def _larger(told: Mapping[str, Sequence[float]]) -> float:
    """Requests in one replica, from the values of its families."""
    serve = max(sum(told.get(family, ())) for family in metric.SERVE_IN_FLIGHT)
    return max(serve, sum(sum(told.get(family, ())) for family in metric.ENGINE_IN_FLIGHT))


def _before(series: Sequence[Series]) -> tuple[float | None, float]:
    """What was in hand at the samples before, and how many seconds ago. A series without one began since: it held nothing then."""
    gauges = [item for item in series if item.name in IN_HAND]
    spans = [item.time - item.before[0] for item in gauges if item.before and item.time > item.before[0]]
    if not spans:
        return None, 0.0
    earlier = [(item.pod, item.name, item.before[1] if item.before and abs(item.before[1]) <= MOST_COUNT else 0.0) for item in gauges]
    held = sum(value for _, family, value in earlier if family in metric.HELD_FAMILIES)
    return held + sum(_in_hand(earlier).values()), fmean(spans)


def _queues(series: Sequence[Series]) -> tuple[tuple[float, float], ...]:
    """Batch and cache of each replica in whose engine requests wait; one that does not tell both is left out."""
    running = {item.pod: item.value for item in series if item.name == metric.VLLM_RUNNING}
    use = {item.pod: item.value for item in series if item.name == metric.VLLM_KV_USE}
    waiting = sorted({item.pod for item in series if item.name == metric.VLLM_WAITING and item.value})
    return tuple((running[pod], use[pod]) for pod in waiting if pod in running and pod in use)


def _over(series: Sequence[Series], busy: Collection[str]) -> float | None:
    """The sum of a gauge. A busy pod without it counts as the mean of the others; None where none of them has it."""
    told: dict[str, list[float]] = {}
    for item in series:
        told.setdefault(item.pod, []).append(item.value)
    return _complete({pod: sum(told[pod]) for pod in sorted(told)}, busy)


def _rate(series: Sequence[Series], busy: Collection[str]) -> float | None:
    """The sum of a counter's rates per second. A counter that went back began anew: its rate is not known."""
    known: dict[str, float] = {}
    for item in series:
        if item.before is None:
            continue
        time, value = item.before
        if item.time > time and math.isfinite(value) and 0 <= value <= item.value:
            known[item.pod] = known.get(item.pod, 0.0) + (item.value - value) / (item.time - time)
    return _complete(known, busy)


def _first_tokens(series: Sequence[Series]) -> dict[float, float] | None:
    """Per bound what the buckets rose by over the range, all replicas together.

    A replica of which one bucket went back, or has no older sample, is left out whole: it began anew.
    """
    mine = [item for item in series if item.bound is not None]
    anew = {item.pod for item in mine if item.oldest is None or not 0 <= item.oldest[1] <= item.value}
    risen: dict[float, float] = {}
    for item in mine:
        if item.pod not in anew and item.oldest is not None and item.bound is not None:
            risen[item.bound] = risen.get(item.bound, 0.0) + item.value - item.oldest[1]
    return dict(sorted(risen.items())) or None


def _complete(known: Mapping[str, float], busy: Collection[str]) -> float | None:
    unknown = len(set(busy) - set(known))
    if not unknown:
        return sum(known.values())
    mine = [value for pod, value in known.items() if pod in busy]
    return sum(known.values()) + unknown * fmean(mine) if mine else None
