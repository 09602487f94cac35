"""The bounds that count at a moment: those of `spec.autoscaling`, or of its time windows that are open then.

a window is open      from each start until its end, or for its duration
it bounds             by what it gives, and by spec.autoscaling where it gives nothing
several are open      the highest minReplicas and the highest maxReplicas of them count, as KEDA takes the highest of its triggers
                      (https://keda.sh/docs/latest/concepts/scaling-deployments/); so the least is never above the most
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_operator.api import cron
from llama_operator.api.duration import seconds_of
from llama_operator.api.v1alpha1 import AutoscalingSpec, ScheduleSpec


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Least and most replicas, and the fields that say so, as messages name them."""

    least: int
    most: int
    least_by: str = "minReplicas"
    most_by: str = "maxReplicas"
    windows: Sequence[str] = ()
    """Names of the windows that are open."""


def bounds_at(spec: AutoscalingSpec, now: float) -> Bounds:
    """The bounds at `now`, seconds since 1970, of a spec whose schedules were accepted."""
    open_ = [schedule for schedule in spec.schedules if is_open(schedule, now)]
    if not open_:
        return Bounds(least=spec.min_replicas, most=spec.max_replicas)
    least, least_by = max((_own(item.min_replicas, spec.min_replicas, "minReplicas", item.name) for item in open_), key=_number)
    most, most_by = max((_own(item.max_replicas, spec.max_replicas, "maxReplicas", item.name) for item in open_), key=_number)
    return Bounds(least=least, most=most, least_by=least_by, most_by=most_by, windows=tuple(item.name for item in open_))


def is_open(schedule: ScheduleSpec, now: float) -> bool:
    """A start came, and neither its end nor the end of its duration yet."""
    place = cron.zone(schedule.timezone)
    if place is None:
        return False  # refused at admission; a newer operator may know fewer zones
    begun = cron.last_due(schedule.start, place, now)
    if begun is None:
        return False
    if schedule.duration is not None:
        return now < begun + (seconds_of(schedule.duration) or 0)
    ended = cron.last_due(schedule.end or "", place, now)
    return ended is None or ended < begun


def _own(given: int | None, otherwise: int, field: str, window: str) -> tuple[int, str]:
    return (otherwise, field) if given is None else (given, f"{field} of window {window}")


def _number(pair: tuple[int, str]) -> int:
    return pair[0]
