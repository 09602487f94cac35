"""A user's own traffic out of a Prometheus: what three counters rose by in each step becomes requests.

    a step          so many finished requests, prompt tokens and output tokens
    requests        as many, at moments drawn evenly within the step; lengths drawn log-normal, then scaled so that the tokens add up
    less than one   kept for the next step, as are tokens of requests that have not finished yet

A request is counted when it ends: arrivals are told late by as long as an answer takes, and what was refused not at all. A step that not
all three cover is a gap: nothing arrives in it, and it is counted, so that whoever asked can say so.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llama_operator.simulate.service import Request
from llama_operator.simulate.traces import MOST_TOKENS

SPREAD = 0.8
"""Standard deviation of the logarithm of drawn lengths. Counters keep no lengths; those of the Azure conversations of 2023 have 0.64 for
prompts and 0.5 for outputs, of its code 0.64 and 1.3 (`Lengths.sigma` in `generate`)."""

Rises = Mapping[float, float]
"""What a counter rose by in the step that ends at a time, seconds since 1970."""


class Step(NamedTuple):
    """What arrived in the step that begins at `begin`, seconds since the first one. `requests` is whole."""

    begin: float
    requests: int
    prompts: float
    outputs: float


@dataclass(frozen=True, kw_only=True)
class History:
    """`seconds` from the first covered step to the last; `gaps` of its steps are not covered."""

    steps: Sequence[Step]
    step_seconds: float
    seconds: float
    gaps: int
    begun: float | None = None
    """When the first step began, in seconds since 1970."""

    @property
    def requests(self) -> int:
        """How many are made of it."""
        return sum(step.requests for step in self.steps)


def read_history(requests: Rises, prompts: Rises, outputs: Rises, step_seconds: float) -> History:
    """The steps that all three cover; what is not a number, or is below 0, covers nothing."""
    rises = [{time: value for time, value in rise.items() if math.isfinite(value) and value >= 0} for rise in (requests, prompts, outputs)]
    times = sorted(set.intersection(*(set(rise) for rise in rises)))
    if not times:
        return History(steps=(), step_seconds=step_seconds, seconds=0.0, gaps=0)
    steps: list[Step] = []
    counted = prompted = generated = 0.0
    for time in times:
        counted, prompted, generated = (kept + rise[time] for kept, rise in zip((counted, prompted, generated), rises, strict=True))
        whole = int(counted + 1e-9)
        if whole >= 1 and prompted >= whole and generated >= whole:
            steps.append(Step(time - times[0], whole, prompted, generated))
            counted, prompted, generated = max(counted - whole, 0.0), 0.0, 0.0
    every = round((times[-1] - times[0]) / step_seconds) + 1
    return History(
        steps=steps, step_seconds=step_seconds, seconds=every * step_seconds, gaps=max(every - len(times), 0), begun=times[0] - step_seconds
    )


def synthesise(history: History, seed: int) -> Iterator[Request]:
    """Requests that make such counters, in order of arrival; the same seed, the same requests. Times count from the first request."""
    source = random.Random(seed)
    first: float | None = None
    for step in history.steps:
        times = sorted(source.random() for _ in range(step.requests))
        prompts, outputs = (_lengths(source, step.requests, total) for total in (step.prompts, step.outputs))
        for time, prompt, output in zip(times, prompts, outputs, strict=True):
            arrival = step.begin + time * history.step_seconds
            first = arrival if first is None else first
            yield Request(arrival - first, prompt, output)


def begun_at(history: History, seed: int) -> float | None:
    """When the first of the requests comes that `synthesise` makes, in seconds since 1970; None where there is none."""
    if history.begun is None or not history.steps:
        return None
    source, first = random.Random(seed), history.steps[0]
    return history.begun + first.begin + min(source.random() for _ in range(first.requests)) * history.step_seconds


def _lengths(source: random.Random, count: int, total: float) -> list[float]:
    """`count` lengths that add up to `total`, but for rounding: what one is rounded by, the next is drawn from."""
    drawn = [source.lognormvariate(0.0, SPREAD) for _ in range(count)]
    scale, kept, lengths = total / sum(drawn), 0.0, list[float]()
    for value in drawn:
        kept += value * scale
        length = float(min(max(1, round(kept)), MOST_TOKENS))
        lengths.append(length)
        kept -= length
    return lengths
