"""What is wrong with `spec.autoscaling.schedules`. The API server cannot read a cron expression: the operator alone refuses these.

Each schedule is looked at for itself: its name, when it opens and closes, and what it bounds. Overlaps need no rule here: they have one in
`llama_operator.scaling.bounds`, under which no two schedules can contradict each other.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_operator.api import cron, duration
from llama_operator.api.problems import Problem, show

FIELD = "spec.autoscaling.schedules"
NAME = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LONGEST_SECONDS = 366 * 86_400
CRON = "a cron expression of five fields (minute, hour, day of month, month, day of week), as in 0 8 * * 1-5, that is due some day"
DURATION = "a time in hours, minutes and seconds, as in 10h or 1h30m, of more than 0 and at most a year"


def check_schedules(autoscaling: Mapping[str, Any]) -> list[Problem]:
    """Every problem of the schedules in a raw `spec.autoscaling` whose types are right, in the order of the list."""
    schedules = autoscaling.get("schedules")
    if not isinstance(schedules, list):
        return []
    return [problem for index, item in enumerate(schedules) if isinstance(item, dict) for problem in _of(index, schedules, autoscaling)]


def _of(index: int, schedules: Sequence[Mapping[str, Any]], autoscaling: Mapping[str, Any]) -> Iterator[Problem]:
    schedule, at = schedules[index], f"{FIELD}.{index}"
    yield from _name(schedule, schedules[:index], at)
    yield from _bounds(schedule, autoscaling, at)
    times = [*_times(schedule, at)]
    yield from times
    if not times and schedule.get("end") is not None:
        yield from _never_open(schedule, at)


def _name(schedule: Mapping[str, Any], before: Sequence[Any], at: str) -> Iterator[Problem]:
    name = str(schedule.get("name"))
    if re.fullmatch(NAME, name) is None:
        allowed = "lower-case letters, digits and dashes, as in business-hours"
        yield Problem(field=f"{at}.name", given=show(name), allowed=allowed, remedy="Choose such a name; messages say it.")
    elif any(isinstance(other, dict) and other.get("name") == name for other in before):
        remedy = "Rename one of the two; messages tell windows apart by it."
        yield Problem(field=f"{at}.name", given=f"{show(name)} once more", allowed="a name of its own", remedy=remedy)


def _bounds(schedule: Mapping[str, Any], autoscaling: Mapping[str, Any], at: str) -> Iterator[Problem]:
    least, most = schedule.get("minReplicas"), schedule.get("maxReplicas")
    if least is None and most is None:
        remedy = "Say what the window bounds, or remove it."
        yield Problem(field=at, given="no bound", allowed="minReplicas, maxReplicas or both", remedy=remedy)
        return
    below, above = autoscaling.get("minReplicas"), autoscaling.get("maxReplicas")
    below = 1 if below is None else below
    low, high = below if least is None else least, above if most is None else most
    if isinstance(low, int) and isinstance(high, int) and low > high:
        field, other = ("minReplicas", "maxReplicas") if least is not None else ("maxReplicas", "minReplicas")
        theirs = f"{other} {high if least is not None else low}"
        whose = "" if least is not None and most is not None else " of spec.autoscaling"
        yield Problem(
            field=f"{at}.{field}",
            given=f"{schedule[field]} with {theirs}{whose}",
            allowed=f"{'at most' if field == 'minReplicas' else 'at least'} {other}",
            remedy=f"Correct it, or set {other} in the window too.",
        )
    if least == 0 and below != 0:
        remedy = "Set spec.autoscaling.minReplicas to 0, and raise it in the windows in which replicas must stay."
        yield Problem(field=f"{at}.minReplicas", given="0", allowed="0 where spec.autoscaling.minReplicas is 0 too", remedy=remedy)


def _times(schedule: Mapping[str, Any], at: str) -> Iterator[Problem]:
    given = [name for name in ("end", "duration") if schedule.get(name) is not None]
    if len(given) != 1:
        remedy = "Say when the window closes as cron, or how long it stays open."
        yield Problem(field=at, given="both end and duration" if given else "no end", allowed="one of end and duration", remedy=remedy)
    for name in ("start", "end"):
        text = schedule.get(name)
        if isinstance(text, str) and not cron.is_cron(text):
            yield Problem(field=f"{at}.{name}", given=show(text), allowed=CRON, remedy="Correct it; crontab(5) has the form.")
    text = schedule.get("duration")
    seconds = duration.seconds_of(text) if isinstance(text, str) else 1
    if not seconds or seconds > LONGEST_SECONDS:
        yield Problem(field=f"{at}.duration", given=show(text), allowed=DURATION, remedy="Write it in that form.")
    place = schedule.get("timezone")
    if isinstance(place, str) and cron.zone(place) is None:
        near = difflib.get_close_matches(place, sorted(zoneinfo.available_timezones()), n=1)
        remedy = f"Did you mean {near[0]}?" if near else "See https://en.wikipedia.org/wiki/List_of_tz_database_time_zones."
        yield Problem(field=f"{at}.timezone", given=show(place), allowed="an IANA time zone, as in Europe/Berlin", remedy=remedy)


def _never_open(schedule: Mapping[str, Any], at: str) -> Iterator[Problem]:
    place = cron.zone(schedule.get("timezone") or "Etc/UTC")
    if place is not None and not cron.ever_apart(schedule["start"], schedule["end"], place):
        given = f"{show(schedule['end'])}, at which {show(schedule['start'])} closes as it opens"
        remedy = "Let it end later than it starts, or give a duration."
        yield Problem(field=f"{at}.end", given=given, allowed="an end that leaves the window open for a while", remedy=remedy)
