"""The bounds of a simulated moment, as the operator has them at that moment: the very `bounds_at` (scaling/bounds.py), on a trace whose
beginning has a date.

Cron knows minutes, so what counts at a moment counts until the next full minute; only a window of odd seconds closes in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llama_operator.api.duration import seconds_of
from llama_operator.api.v1alpha1 import AutoscalingObjective, AutoscalingSpec, ScheduleSpec
from llama_operator.scaling.bounds import Bounds, bounds_at

MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Time windows that were accepted, and what 0 of the simulation is in seconds since 1970."""

    schedules: tuple[ScheduleSpec, ...]
    begin: float

    def at(self, now: float, least: int, most: int) -> tuple[Bounds, float]:
        """What counts at `now`, seconds of the simulation, and until when it surely does; outside of all windows `least` and `most` do."""
        objective = AutoscalingObjective(in_flight_per_replica=1)  # which says nothing of bounds
        spec = AutoscalingSpec(min_replicas=least, max_replicas=most, objective=objective, schedules=list(self.schedules))
        moment = self.begin + now
        until = (math.floor(moment / MINUTE) + 1) * MINUTE - self.begin
        return bounds_at(spec, moment), now if self._odd else until

    def fits(self, least: int, most: int) -> bool:
        """No window contradicts these bounds: in each its own, or these where it has none, leave a number; and only beside 0 is one 0."""
        pairs = [(_or(each.min_replicas, least), _or(each.max_replicas, most)) for each in self.schedules]
        return all(low <= high for low, high in pairs) and (least == 0 or all(low for low, _ in pairs))

    def widest(self, least: int, most: int) -> tuple[int, int]:
        """The least and the most that any moment may have."""
        lows = [_or(each.min_replicas, least) for each in self.schedules]
        highs = [_or(each.max_replicas, most) for each in self.schedules]
        return min([least, *lows]), max([most, *highs])

    @property
    def _odd(self) -> bool:
        return any(each.duration is not None and (seconds_of(each.duration) or 0) % MINUTE for each in self.schedules)


def _or(given: int | None, otherwise: int) -> int:
    return otherwise if given is None else given
