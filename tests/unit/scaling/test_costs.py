"""What being wrong costs, and how long a replica is kept for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.scaling.costs import (
    LEAST_DOWN_SECONDS,
    MOST_DOWN_SECONDS,
    SIGHT_SECONDS,
    UNKNOWN_DOWN_SECONDS,
    Costs,
    DownWindow,
    down_window,
    keep_seconds,
)
from llama_operator.scaling.loads import Loads


@pytest.mark.parametrize(("load", "kept"), [(1, 84), (20, 160), (60, 320), (80, 400), (100, 400), (300, 450), (500, 750), (3600, 900)])
def test_what_is_back_soon_is_not_kept_for_long(load: float, kept: float) -> None:
    assert keep_seconds(Costs(), Loads(), load) == kept
    assert keep_seconds(Costs(), Loads(samples=(load,)), 7.0) == kept


def test_as_long_as_nobody_knows_how_long_a_load_takes_it_is_kept_for_long() -> None:
    assert keep_seconds(Costs(), Loads(), None) == UNKNOWN_DOWN_SECONDS


@pytest.mark.parametrize(
    ("given_", "samples", "told", "seconds", "why"),
    [
        (300.0, (20.0,), None, 300, "as scaleDownStabilizationSeconds says"),
        (None, (20.0,), 100.0, 160, "by what being wrong costs, at loads of 20 s"),
        (None, (), 300.0, 450, "by what being wrong costs, at loads of 300 s as planned; none was seen yet"),
        (None, (), None, 600, "by what being wrong costs, and no load was seen yet"),
    ],
)
def test_the_down_window_says_where_it_is_from(
    given_: float | None, samples: tuple[float, ...], told: float | None, seconds: float, why: str
) -> None:
    assert down_window(given_, Costs(), Loads(samples=samples), told) == DownWindow(seconds=seconds, why=why)


@given(load=st.floats(1, 7200), longer=st.floats(0, 3600), short=st.floats(0.01, 100))
def test_what_takes_longer_to_load_or_costs_more_when_missing_is_never_kept_for_less(load: float, longer: float, short: float) -> None:
    kept = keep_seconds(Costs(short=short), Loads(), load)
    assert 0 < kept <= MOST_DOWN_SECONDS
    assert kept <= keep_seconds(Costs(short=short), Loads(), load + longer)
    assert kept <= keep_seconds(Costs(short=2 * short), Loads(), load)


@given(load=st.floats(1, 7200))
def test_keeping_never_costs_more_than_letting_go_in_error(load: float) -> None:
    costs = Costs()
    assert costs.spare * keep_seconds(costs, Loads(), load) <= max(costs.short * (load + SIGHT_SECONDS), LEAST_DOWN_SECONDS)
