"""The bounds of a moment: a window's while it is open, the spec's otherwise, and of several windows the highest."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.v1alpha1 import AutoscalingSpec
from llama_operator.scaling.bounds import Bounds, bounds_at

DAY = {"name": "day", "timezone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "minReplicas": 3}
NIGHT = {"name": "night", "timezone": "Europe/Berlin", "start": "0 22 * * *", "duration": "8h", "maxReplicas": 2}
ALL = {"name": "all", "start": "0 0 1 1 *", "duration": "8760h", "minReplicas": 2, "maxReplicas": 6}


def spec(*schedules: dict[str, Any]) -> AutoscalingSpec:
    given_ = {"minReplicas": 1, "maxReplicas": 4, "objective": {"inFlightPerReplica": 8}, "schedules": list(schedules)}
    return AutoscalingSpec.model_validate(given_)


def at(text: str, *schedules: dict[str, Any]) -> Bounds:
    return bounds_at(spec(*schedules), datetime.fromisoformat(text).timestamp())


def test_without_windows_the_spec_counts() -> None:
    assert at("2026-11-20T12:00:00+01:00") == Bounds(least=1, most=4)


@pytest.mark.parametrize(
    ("now", "least"),
    [
        ("2026-11-20T07:59:59+01:00", 1),
        ("2026-11-20T08:00:00+01:00", 3),
        ("2026-11-20T17:59:59+01:00", 3),
        ("2026-11-20T18:00:00+01:00", 1),
        ("2026-11-21T12:00:00+01:00", 1),  # a Saturday
        # The hours are the zone's, in winter and in summer.
        ("2026-07-01T08:00:00+02:00", 3),
        ("2026-07-01T07:30:00+02:00", 1),
        ("2026-03-30T08:00:00+02:00", 3),
        ("2026-10-26T08:00:00+01:00", 3),
    ],
)
def test_a_window_bounds_from_its_start_until_its_end(now: str, least: int) -> None:
    bounds = at(now, DAY)
    assert (bounds.least, bounds.most, bounds.windows) == (least, 4, ("day",) if least == 3 else ())
    assert bounds.least_by == ("minReplicas of window day" if least == 3 else "minReplicas")
    assert bounds.most_by == "maxReplicas"


@pytest.mark.parametrize(
    ("now", "most"),
    [
        ("2026-11-20T23:00:00+01:00", 2),
        ("2026-11-21T05:59:59+01:00", 2),
        ("2026-11-21T06:00:00+01:00", 4),
        # A duration is of real hours: the night of 29 March ends at 07:00, that of 25 October at 05:00.
        ("2026-03-29T06:59:00+02:00", 2),
        ("2026-03-29T07:00:00+02:00", 4),
        ("2026-10-25T04:59:00+01:00", 2),
        ("2026-10-25T05:00:00+01:00", 4),
    ],
)
def test_a_window_over_midnight_and_by_duration(now: str, most: int) -> None:
    assert at(now, NIGHT).most == most


def test_an_end_in_the_hour_that_is_left_out_comes_right_after_it() -> None:
    early = {"name": "early", "timezone": "Europe/Berlin", "start": "0 1 * * *", "end": "30 2 * * *", "minReplicas": 3}
    assert at("2026-03-29T01:59:00+01:00", early).least == 3
    assert at("2026-03-29T03:00:00+02:00", early).least == 1


def test_of_overlapping_windows_the_highest_of_each_bound_counts_and_is_named() -> None:
    bounds = at("2026-11-20T12:00:00+01:00", DAY, ALL)
    assert (bounds.least, bounds.least_by) == (3, "minReplicas of window day")
    assert (bounds.most, bounds.most_by) == (6, "maxReplicas of window all")
    assert bounds.windows == ("day", "all")


def test_a_window_that_gives_one_bound_alone_stands_for_the_specs_other_one() -> None:
    """So that a low maximum of one window cannot fall below the minimum of another."""
    low = {"name": "low", "start": "0 0 1 1 *", "duration": "8760h", "maxReplicas": 2}
    bounds = at("2026-11-20T12:00:00+01:00", DAY, low)
    assert (bounds.least, bounds.most) == (3, 4)


WINDOWS = st.lists(
    st.builds(
        lambda hour, hours, least, more: {
            "start": f"0 {hour} * * *",
            "duration": f"{hours}h",
            "minReplicas": least,
            "maxReplicas": least + more,
        },
        st.integers(0, 23),
        st.integers(1, 23),
        st.integers(1, 9),
        st.integers(0, 9),
    ),
    max_size=4,
)


@given(windows=WINDOWS, now=st.integers(1_790_000_000, 1_800_000_000))
def test_the_least_is_never_above_the_most(windows: list[dict[str, Any]], now: int) -> None:
    named = [window | {"name": f"w{index}"} for index, window in enumerate(windows)]
    bounds = bounds_at(spec(*named), now)
    assert bounds.least <= bounds.most
    assert set(bounds.windows) <= {window["name"] for window in named}
