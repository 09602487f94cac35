"""One run in numbers: what is told of it when its requests are forgotten."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llama_operator.simulate.engine import Outcome

BINS = 4096
"""Of a factor e, to find a percentile without sorting everything: its bin is sorted alone."""
SORTED = 1_000_000
"""Values up to so many are sorted after all: that is faster."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Seconds. None: the number does not exist."""

    policy: str
    requests: int
    attainment: float | None
    """Share of all requests with a first token within the objective."""
    replica_seconds: float
    mean_replicas: float | None
    ttft: tuple[float | None, float | None, float | None]
    """Percentiles 50, 95 and 99 over all requests; None where that one never had a token."""
    scale_events: int
    unserved: int


def figures(outcome: Outcome, ttft_seconds: float) -> Figures:
    """Of one run against that objective."""
    p50, p95, p99 = percentiles(outcome.ttft, (0.5, 0.95, 0.99))
    return Figures(
        policy=outcome.policy,
        requests=outcome.requests,
        attainment=attainment(outcome, ttft_seconds),
        replica_seconds=outcome.replica_seconds,
        mean_replicas=outcome.replica_seconds / outcome.end if outcome.end else None,
        ttft=(p50, p95, p99),
        scale_events=len(outcome.changes),
        unserved=outcome.unserved,
    )


def attainment(outcome: Outcome, ttft_seconds: float) -> float | None:
    """Share of all requests with a first token within the objective; an unserved one missed it. None where there was none."""
    if not outcome.requests:
        return None
    return sum(ttft <= ttft_seconds for ttft in outcome.ttft) / outcome.requests


def percentile(outcome: Outcome, share: float) -> float | None:
    """Time to first token in seconds, by nearest rank over all requests; None where that one never had a token."""
    return percentiles(outcome.ttft, (share,))[0]


def percentiles(values: Sequence[float], shares: Sequence[float]) -> list[float | None]:
    """By nearest rank; what is not a number ranks last, and is told as None. Of many values only one bin at a time is copied."""
    found: list[float | None] = []
    counts = Counter(map(_bin, values)) if len(values) > SORTED else Counter({0.0: len(values)})
    ranked = [] if len(values) > SORTED else _sorted(values)
    for share in shares:
        left = max(math.ceil(share * len(values)), 1)
        for index in sorted(counts):
            if left <= counts[index]:
                within = ranked or _sorted(value for value in values if _bin(value) == index)
                found.append(within[left - 1] if math.isfinite(within[left - 1]) else None)
                break
            left -= counts[index]
        else:
            found.append(None)
    return found


def _sorted(values: Iterable[float]) -> list[float]:
    return sorted(math.inf if math.isnan(value) else value for value in values)


def _bin(value: float) -> float:
    return math.inf if math.isnan(value) else math.floor(math.log1p(value) * BINS)
