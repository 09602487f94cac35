"""Percentiles, and the intervals in which they may lie. Pure.

A percentile of n values is taken as numpy takes it (linear between the two nearest), which is what vLLM's tool does. Its interval lies
between two of the sorted values: the number of values below the true percentile p is binomial(n, p), whatever the values' distribution
(H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition, section 7.1). Requests of one run share batches and queues and so are not
independent: the true interval is wider, never narrower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

CONFIDENCE = 0.95
SHARES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values, at least one. `share` is from 0 to 1."""
    at = (len(ordered) - 1) * share
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def interval(ordered: Sequence[float], share: float) -> tuple[float | None, float | None]:
    """Ends of the interval of a percentile of sorted values; None for an end beyond all of them, as of a 99th percentile of 50 values."""
    tail = (1 - CONFIDENCE) / 2
    low, high = _ranks(len(ordered), share, tail)
    return (None if low is None else ordered[low]), (None if high is None else ordered[high])


def _ranks(count: int, share: float, tail: float) -> tuple[int | None, int | None]:
    """Indices of the two values. With B ~ binomial(count, share) values below the percentile: the value at index r - 1 lies above it with
    probability P(B < r), the one at index r below it or at it with P(B > r).
    """
    below, low, high = 0.0, None, None
    for number in range(count + 1):
        chance = math.exp(
            math.lgamma(count + 1)
            - math.lgamma(number + 1)
            - math.lgamma(count - number + 1)
            + number * math.log(share)
            + (count - number) * math.log(1 - share)
        )
        before, below = below, below + chance
        if below <= tail:
            low = number  # P(B <= number) <= tail: the value of rank number + 1 lies above the percentile no more often
        if high is None and 1 - before <= tail:
            high = number - 1  # P(B >= number) <= tail: the value of rank number lies below it no more often
    return low, high
