"""What a number may be, whoever wrote it: a metric is a tenant's word, and a status anybody's who may write it.

Sums, squares and ratios of numbers within these bounds stay finite, so that no decision ends in an OverflowError.
"""

from __future__ import annotations

import math

MOST_COUNT = 1e12
"""Of requests or seconds at one moment: more was never measured."""
MOST_COUNTED = 1e15
"""Of a counter since it began, and of a moment in seconds since 1970."""
MOST_REPLICAS = 1_000_000
"""That are ever asked for, and remembered as demand."""
LEAST_POSITIVE = 1e-9
"""Of a rate or a duration that is divided by."""
_FLOAT = {float}


def number(value: object, most: float = MOST_COUNT) -> float | None:
    """A number from JSON, at most `most` away from 0; None: it is none. An int of any size is compared, never converted first."""
    return float(value) if isinstance(value, (int, float)) and -most <= value <= most else None


def numbers(values: object, most: float = MOST_COUNT) -> tuple[float, ...] | None:
    """A list of such numbers; None where it is no list or any of them is none."""
    if not isinstance(values, (list, tuple)):
        return None
    if set(map(type, values)) == _FLOAT and not math.isnan(sum(values)) and -most <= min(values) and max(values) <= most:
        return tuple(values)  # as they were written: hundreds of them are read at every look
    found = tuple(number(value, most) for value in values)
    return None if None in found else tuple(value for value in found if value is not None)


def past(moment: float, now: float) -> float:
    """A remembered moment, written in whole seconds. One to come was written by a clock that ran ahead: waiting for it could take for ever,
    so it counts as now.
    """
    return min(moment, float(round(now)))


def replicas(value: float) -> float | None:
    """A demand in replicas, at most MOST_REPLICAS; None where it is not a number: then nothing is known of it."""
    return None if math.isnan(value) else min(value, float(MOST_REPLICAS))


def recommend(demand: float) -> int:
    """Whole replicas for a demand. A float sum such as 2.000000001 must not ask for one more: it is rounded at 1e-6 first."""
    return math.ceil(round(min(demand, MOST_REPLICAS), 6))
