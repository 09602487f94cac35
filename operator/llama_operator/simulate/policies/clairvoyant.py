"""The reference: a scaler that knows every arrival, orders one load time ahead, and does not let go for less than a load time.

    demand of a bin    the larger of prompt tokens / (prefill * use) and sequences / (slots * use), the latter by Little's law
    level              gaps shorter than a load time are filled: a replica that is let go and loaded again costs as much
    wanted at t        the highest level from t to t + one load time

It is no proven optimum: one knob, `use`, moves it between cost and attainment. `schedules` gives a row of them to choose from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.view import Ask, Sight, View

BIN_SECONDS = 10.0
USES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True)
class Clairvoyant:
    """`levels` holds the replicas needed in each bin of BIN_SECONDS; `ahead` seconds it orders before."""

    levels: Sequence[int]
    ahead: float
    name: str = field(default="clairvoyant", init=False)

    @property
    def sight(self) -> Sight:
        """It need not see: it knows."""
        return Sight(every=BIN_SECONDS)

    def look(self, view: View, memory: Any) -> Ask:
        """The highest level until what is ordered now would be there."""
        del memory
        begin, end = int(view.now // BIN_SECONDS), int((view.now + self.ahead) // BIN_SECONDS) + 1
        return Ask(max(self.levels[begin : end + 1], default=None), None, "Known")


def schedules(requests: Iterable[Request], service: Service, load_seconds: float, uses: Sequence[float] = USES) -> list[Clairvoyant]:
    """One scaler for each use of capacity, from one reading of the trace."""
    prompts: list[float] = []
    residence: list[float] = []
    pace = 1 / service.rates(service.slots, prefilling=True)[1]
    for request in requests:
        index = int(request.arrival // BIN_SECONDS)
        missing = index + 1 - len(prompts)
        prompts.extend([0.0] * missing)
        residence.extend([0.0] * missing)
        prompts[index] += request.prompt
        left, at = request.output * pace, request.arrival - index * BIN_SECONDS
        while left > 0:
            if index == len(residence):
                prompts.append(0.0)
                residence.append(0.0)
            share = min(left, BIN_SECONDS - at)
            residence[index] += share
            left, at, index = left - share, 0.0, index + 1
    made = []
    for use in uses:
        needs = [
            math.ceil(max(tokens / (service.prefill * use), seconds / (service.slots * use)) / BIN_SECONDS)
            for tokens, seconds in zip(prompts, residence, strict=True)
        ]
        made.append(Clairvoyant(levels=fill(needs, int(load_seconds // BIN_SECONDS)), ahead=load_seconds))
    return made


def fill(needs: Sequence[int], shortest: int) -> list[int]:
    """The least levels that are never below `needs` and have no gap of `shortest` bins or fewer."""
    levels = list(needs)
    for level in range(1, max(needs, default=0) + 1):
        last: int | None = None
        for index, need in enumerate(needs):
            if need < level:
                continue
            if last is not None and 1 < index - last <= shortest + 1:
                levels[last + 1 : index] = [max(present, level) for present in levels[last + 1 : index]]
            last = index
    return levels
