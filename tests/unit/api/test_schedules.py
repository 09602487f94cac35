"""Time windows: what is refused, at its field and in words, and when a cron expression was last due, also around summer time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.builders import raw_deployment, raw_spec

from llama_operator.api import cron
from llama_operator.api.validation import validate

DAY = {"name": "day", "timezone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "minReplicas": 2}
AT = "spec.autoscaling.schedules.0"


def problems(*schedules: Any, **autoscaling: Any) -> list[Any]:
    scaling = {"minReplicas": 1, "maxReplicas": 4, "objective": {"inFlightPerReplica": 8}, "schedules": list(schedules)} | autoscaling
    return validate(raw_deployment(raw_spec(autoscaling=scaling)))


def without(name: str, **over: Any) -> dict[str, Any]:
    return {key: value for key, value in DAY.items() if key != name} | over


@pytest.mark.parametrize(
    "schedule",
    [
        DAY,
        without("end", duration="10h"),
        without("timezone"),
        without("minReplicas", maxReplicas=2),
        DAY | {"minReplicas": 8, "maxReplicas": 12},
        DAY | {"start": "0 22 * * *", "end": "0 6 * * *"},
        DAY | {"start": "*/5 * * * *", "end": "2-59/5 * * * *"},
        DAY | {"start": "0 0 29 2 *", "end": "0 0 1 3 *"},
    ],
)
def test_a_window_that_makes_sense_is_accepted(schedule: dict[str, Any]) -> None:
    assert problems(schedule) == []


@pytest.mark.parametrize(
    ("schedule", "field", "says"),
    [
        (DAY | {"start": "0 25 * * *"}, "start", "a cron expression of five fields"),
        (DAY | {"start": "at eight o'clock"}, "start", "a cron expression of five fields"),
        (DAY | {"start": "0 0 8 * * 1"}, "start", "a cron expression of five fields"),
        (DAY | {"end": "0 0 30 2 *"}, "end", "that is due some day"),
        (DAY | {"timezone": "Europe/Berln"}, "timezone", "Did you mean Europe/Berlin?"),
        (DAY | {"timezone": "../../etc/passwd"}, "timezone", "an IANA time zone"),
        (DAY | {"end": DAY["start"]}, "end", "closes as it opens is given; allowed is an end that leaves the window open for a while"),
        (without("end", duration="0s"), "duration", "of more than 0"),
        (without("end", duration="9000h"), "duration", "at most a year"),
        (without("end", duration="10 hours"), "duration", "as in 10h or 1h30m"),
        (without("end"), "", "no end is given; allowed is one of end and duration"),
        (DAY | {"duration": "10h"}, "", "both end and duration is given"),
        (without("minReplicas"), "", "no bound is given; allowed is minReplicas, maxReplicas or both"),
        (DAY | {"minReplicas": 5}, "minReplicas", "5 with maxReplicas 4 of spec.autoscaling is given; allowed is at most maxReplicas"),
        (DAY | {"minReplicas": 5, "maxReplicas": 3}, "minReplicas", "5 with maxReplicas 3 is given"),
        (DAY | {"minReplicas": 0}, "minReplicas", "0 is given; allowed is 0 where spec.autoscaling.minReplicas is 0 too"),
        (DAY | {"name": "Day time"}, "name", "lower-case letters, digits and dashes"),
        (DAY | {"timeZone": "Europe/Berlin"}, "timeZone", "Did you mean timezone?"),
        (DAY | {"minReplicas": "2"}, "minReplicas", "a whole number"),
    ],
)
def test_each_way_to_get_it_wrong_is_refused_at_its_field_with_a_remedy(schedule: dict[str, Any], field: str, says: str) -> None:
    (problem,) = problems(schedule)
    assert problem.field == (f"{AT}.{field}" if field else AT)
    assert says in problem.message


def test_a_window_that_lowers_the_most_below_the_least_is_refused_where_it_says_so() -> None:
    (problem,) = problems(without("minReplicas", maxReplicas=1), minReplicas=2)
    assert problem.message.startswith(
        f"{AT}.maxReplicas: 1 with minReplicas 2 of spec.autoscaling is given; allowed is at least minReplicas"
    )


def test_two_windows_of_one_name_are_refused() -> None:
    (problem,) = problems(DAY, DAY)
    assert problem.field == "spec.autoscaling.schedules.1.name"


@pytest.mark.parametrize("junk", [None, 3, "x", [], [[]], [None], {"name": 1}, [{"name": []}], [{"start": {}}]])
def test_what_is_no_list_of_windows_is_refused_and_never_a_traceback(junk: Any) -> None:
    scaling = {"maxReplicas": 4, "objective": {"inFlightPerReplica": 8}, "schedules": junk}
    found = validate(raw_deployment(raw_spec(autoscaling=scaling)))
    assert bool(found) == (junk != [])


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("expression", "now", "due"),
    [
        # Ordinary days.
        ("0 8 * * *", "2026-06-01T08:00:00+02:00", "2026-06-01T08:00:00+02:00"),
        ("0 8 * * *", "2026-06-01T07:59:59+02:00", "2026-05-31T08:00:00+02:00"),
        ("0 0 29 2 *", "2026-06-01T00:00:00+02:00", "2024-02-29T00:00:00+01:00"),
        # 29 March 2026: 02:00 becomes 03:00. What falls in between comes at once after.
        ("30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T03:00:00+02:00"),
        ("30 2 * * *", "2026-03-29T01:59:59+01:00", "2026-03-28T02:30:00+01:00"),
        ("0 8 * * *", "2026-03-29T08:00:00+02:00", "2026-03-29T08:00:00+02:00"),
        # 25 October 2026: 03:00 becomes 02:00. What falls into the doubled hour comes the first time, and not again.
        ("30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+02:00"),
        ("30 2 * * *", "2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+02:00"),
        ("45 2 * * *", "2026-10-25T02:10:00+01:00", "2026-10-25T02:45:00+02:00"),
        ("45 2 * * *", "2026-10-25T02:44:00+02:00", "2026-10-24T02:45:00+02:00"),
        # A star follows the clock through both hours.
        ("*/30 * * * *", "2026-10-25T02:10:00+01:00", "2026-10-25T02:00:00+01:00"),
    ],
)
def test_when_an_expression_was_last_due(expression: str, now: str, due: str) -> None:
    assert cron.last_due(expression, ZoneInfo("Europe/Berlin"), at(now)) == at(due)


@given(
    expression=st.sampled_from(["0 8 * * *", "30 2 * * *", "*/15 * * * *", "0 0 1 * *", "0 9 * * 1-5", "15 1,3 * * 0"]),
    place=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Etc/UTC"]),
    now=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1)),  # noqa: DTZ001 - the zone comes with `place`
)
def test_nothing_was_due_between_the_last_time_and_now(expression: str, place: str, now: datetime) -> None:
    zone = ZoneInfo(place)
    moment = now.replace(tzinfo=zone).timestamp()
    last = cron.last_due(expression, zone, moment)
    assert last is not None
    assert last <= moment
    following = next(cron.due(expression, zone, last + timedelta(seconds=1).total_seconds()))
    assert following > moment or following == last  # the first of a doubled hour is told again by the second


RARE = DAY | {"start": "0 0 * 2 1#5", "end": "0 0 * 2 1#5"}
"""A fifth Monday in February: the next ones are in 2044 and 2072."""


def test_a_spec_that_was_checked_is_not_thought_over_in_the_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def counted(expression: str, *args: Any, **named: Any) -> Any:
        begun.append(expression)
        return CronSim(expression, *args, **named)

    monkeypatch.setattr(cron, "CronSim", counted)
    cron.is_cron.cache_clear()
    cron.ever_apart.cache_clear()
    first = problems(RARE)
    # The two expressions are one; and of the moments at which both are due only the first is looked at, as the next is decades away.
    assert begun == [RARE["start"]] * 3
    assert problems(*({**RARE, "name": f"rare-{index}"} for index in range(8)))[0].allowed == first[0].allowed
    assert len(begun) == 3


@pytest.mark.parametrize(("start", "end"), [("0 0 * 2 1#5", "0 0 1 3 *"), ("* * * * *", "* 0 * * *"), ("0 0 29 2 *", "0 0 * 2 1#5")])
def test_a_window_that_opens_late_or_seldom_is_a_window(start: str, end: str) -> None:
    assert cron.ever_apart(start, end, ZoneInfo("Europe/Berlin"))
