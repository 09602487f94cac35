"""A run and its traffic over time, in so few bins that a page can show them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llama_operator.simulate.engine import Outcome
from llama_operator.simulate.traffic import Traffic

BINS = 240
"""At most, over the whole run."""
WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
"""Seconds of a bin: the narrowest that needs no more than BINS."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """In bins of `width` seconds from 0 on: requests, prompt tokens and output tokens, each a second."""

    width: int
    requests: Sequence[float]
    prompts: Sequence[float]
    outputs: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """In bins of `width` seconds: most replicas ready and loading, and times to first token by when the request came."""

    width: int
    ready: Sequence[int]
    loading: Sequence[int]
    p50: Sequence[float | None]
    """Seconds; None where no request came, or that one never had a token."""
    p95: Sequence[float | None]


def width_of(seconds: float) -> int:
    """Seconds of a bin."""
    return next((width for width in WIDTHS if seconds / width <= BINS), max(WIDTHS[-1], math.ceil(seconds / BINS)))


def demand_of(traffic: Traffic) -> Demand:
    """What was asked."""
    width = width_of(traffic.seconds)
    count = int(traffic.seconds // width) + 1
    requests, prompts, outputs = ([0.0] * count for _ in range(3))
    for arrival, prompt, output in traffic:
        index = int(arrival // width)
        requests[index] += 1 / width
        prompts[index] += prompt / width
        outputs[index] += output / width
    return Demand(width=width, requests=requests, prompts=prompts, outputs=outputs)


def plot_of(outcome: Outcome, traffic: Traffic) -> Plot:
    """What came of it."""
    width = width_of(traffic.seconds)
    count = int(traffic.seconds // width) + 1
    ready, loading = ([-1] * count for _ in range(2))
    for point in outcome.points:
        index = int(point.time // width)
        if index < count:
            ready[index] = max(ready[index], point.ready + point.draining)
            loading[index] = max(loading[index], point.loading)
    _carry(ready)
    _carry(loading)
    p50: list[float | None] = [None] * count
    p95: list[float | None] = [None] * count
    for index, values in _binned(outcome, traffic, width):
        ranked = sorted(math.inf if math.isnan(value) else value for value in values)
        p50[index], p95[index] = (_rank(ranked, share) for share in (0.5, 0.95))
    return Plot(width=width, ready=ready, loading=loading, p50=p50, p95=p95)


def _binned(outcome: Outcome, traffic: Traffic, width: int) -> Iterator[tuple[int, list[float]]]:
    """The times to first token of each bin that has any, in order of arrival."""
    current, values = 0, list[float]()
    for arrival, ttft in zip(traffic.times(), outcome.ttft, strict=True):
        index = int(arrival // width)
        if index != current and values:
            yield current, values
            values = []
        current = index
        values.append(ttft)
    if values:
        yield current, values


def _rank(ranked: Sequence[float], share: float) -> float | None:
    value = ranked[max(math.ceil(share * len(ranked)) - 1, 0)]
    return value if math.isfinite(value) else None


def _carry(values: list[int]) -> None:
    """A bin without a look is as the one before it."""
    last = 0
    for index, value in enumerate(values):
        last = value if value >= 0 else last
        values[index] = last
