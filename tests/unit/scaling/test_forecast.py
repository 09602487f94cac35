"""What demand will be within a load time: level, trend, and how wrong that was before."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.scaling import forecast as forecast_module
from llama_operator.scaling.costs import PART, Costs
from llama_operator.scaling.forecast import (
    BUCKET_SECONDS,
    KEPT,
    KEPT_ERRORS,
    MIN_ERRORS,
    MOST_AHEAD,
    MOST_SIGNALS,
    History,
    expect,
    expect_whole,
    lasted,
    level,
    quantile,
    trend,
)
from llama_operator.scaling.sane import recommend

START = 1_790_000_010.0
AHEAD = 8


def after(values: Iterable[float], ahead: int = AHEAD) -> History:
    history = History()
    for index, value in enumerate(values):
        history = history.add(START + BUCKET_SECONDS * index, value, ahead)
    return history


def test_a_constant_demand_is_expected_to_stay() -> None:
    assert expect(after([2.5] * 300), AHEAD, 0.9, 0.0) == 2.5


def test_before_anything_was_seen_nothing_is_expected() -> None:
    assert (expect(History(), AHEAD, 0.9, 0.0), level(History())) == (0.0, 0.0)


@pytest.mark.parametrize("before", [1, 5, 20, 100, 300])
@pytest.mark.parametrize("since", [1, 4, 9, 16, 40])
def test_a_step_is_answered_at_once_and_not_exceeded(before: int, since: int) -> None:
    assert expect(after([1.0] * before + [4.0] * since), AHEAD, 0.8, 0.0) == 4.0


@pytest.mark.parametrize(("values", "found"), [([], 0.0), ([4.0], 0.0), ([1.0, 4.0], 1.0), ([1.0, 4.0, 3.0], 3.0), ([4.0, 4.0, 1.0], 1.0)])
def test_what_lasted_is_what_two_buckets_have_seen(values: list[float], found: float) -> None:
    assert lasted(after(values)) == found


def test_a_steady_climb_is_expected_to_go_on() -> None:
    climb = [1 + 0.05 * index for index in range(60)]
    assert expect(after(climb), AHEAD, 0.5, 0.0) == pytest.approx(climb[-1] + 0.05 * AHEAD, abs=0.15)


def both(slots: Iterable[float], prompts: Iterable[float]) -> History:
    """The demand is the higher of two signals at each look."""
    history = History()
    for index, (one, other) in enumerate(zip(slots, prompts, strict=True)):
        history = history.add(START + BUCKET_SECONDS * index, max(one, other), AHEAD, {"slots": one, "prompts": other})
    return history


def test_a_signal_that_climbs_below_another_is_seen_before_it_is_the_highest() -> None:
    climb = [2 + 0.1 * index for index in range(30)]
    history = both([5.0] * 30, climb)
    assert history.now[-1] == 5.0
    assert expect(history, AHEAD, 0.5, 0.0) == pytest.approx(climb[-1] + 0.1 * AHEAD, abs=0.3)
    assert level(history) == 5.0


def test_signals_that_stay_below_the_highest_change_nothing() -> None:
    history = both([5.0] * 60, [2.0, 3.0] * 30)
    assert expect(history, AHEAD, 0.5, 0.0) == 5.0


def test_a_signal_that_is_not_seen_for_a_while_is_taken_to_be_as_it_was() -> None:
    history = both([5.0] * 3, [2.0, 2.1, 2.2])
    unseen = history.add(history.begun + BUCKET_SECONDS, 5.0, AHEAD, {"slots": 5.0})
    assert unseen.signals == {"prompts": (2.0, 2.1, 2.2, 2.2), "slots": (5.0,) * 4}
    begun = unseen.add(unseen.begun + 1, 5.0, AHEAD, {"cache": 1.0})
    assert begun.signals["cache"] == (1.0,)


def test_a_fall_is_not_believed_before_it_is_there() -> None:
    fall = [5 - 0.05 * index for index in range(60)]
    assert expect(after(fall), AHEAD, 0.5, 0.0) == pytest.approx(fall[-1], abs=0.01)


def test_noise_is_no_trend() -> None:
    source = random.Random(1)  # noqa: S311 - reproducible noise
    found = [trend([5 + source.gauss(0, 0.3) for _ in range(16)], 16) for _ in range(200)]
    assert sum(slope > 0.01 for slope in found) < 20


def test_bursts_that_come_again_are_kept_ready_for() -> None:
    bursts = ([1.0] * 6 + [3.0]) * 20
    assert expect(after([*bursts, 1.0]), AHEAD, 0.8, 0.0) == 3.0
    assert expect(after([*bursts, 1.0]), AHEAD, 0.8, 0.2) == 2.5


def test_one_surprise_is_no_habit() -> None:
    assert expect(after([1.0] * 60 + [3.0] + [1.0] * 8), AHEAD, 0.8, 0.0) == 1.0


def test_the_costs_choose_the_quantile() -> None:
    errors = [number / 100 for number in range(100)]
    assert [quantile(errors, share) for share in (0.5, 0.8, 0.95, 1.0)] == [0.49, 0.79, 0.94, 0.99]
    assert quantile([-1.0] * 100, 0.9) == 0.0


def steady_at(level: float, peak: float, errors: Sequence[float]) -> History:
    """The demand stays at `level`, was once at `peak`, and forecasts were wrong by `errors`."""
    return History(begun=START, open=level, seen=(peak, *[level] * 30), errors=tuple(errors))


@pytest.mark.parametrize(
    ("short", "wanted"),
    [
        (0.2, 2),  # a tenth of a replica missing for half of the time is not worth a whole one
        (0.5, 2),
        (4.0, 2),  # 0.05 of one on average, less than the ninth that the costs allow
        (20.0, 3),
    ],
)
def test_a_whole_replica_is_not_asked_for_a_tenth_of_one(short: float, wanted: int) -> None:
    history = steady_at(1.8, 4.0, [0.3, 0.0] * MIN_ERRORS)
    costs = Costs(short=short)
    assert math.ceil(expect_whole(history, AHEAD, 1.0, costs.whole_share, 0.0)) == wanted
    assert math.ceil(expect(history, AHEAD, Costs().share, 0.0)) == 3


def test_what_the_forecast_itself_needs_is_asked_for_however_little_of_a_replica_it_is() -> None:
    history = steady_at(2.01, 2.01, [0.0] * MIN_ERRORS)
    assert expect_whole(history, AHEAD, Costs().share, Costs().whole_share, 0.2) == pytest.approx(2.01)


def test_a_surprise_rarer_than_the_quantile_brings_no_replica_however_large_it_was() -> None:
    history = steady_at(1.8, 9.0, [0.0] * 85 + [7.0] * 15)
    assert expect_whole(history, AHEAD, Costs().share, Costs().whole_share, 0.0) == expect(history, AHEAD, Costs().share, 0.0) == 1.8


@given(
    level=st.floats(0, 20),
    above=st.floats(0, 10),
    errors=st.lists(st.floats(-5, 10), min_size=MIN_ERRORS, max_size=KEPT_ERRORS),
    short=st.floats(0.1, 100),
    patience=st.floats(0, 0.2),
)
def test_no_other_whole_number_costs_less_on_the_average_of_the_errors(
    level: float, above: float, errors: list[float], short: float, patience: float
) -> None:
    history, costs = steady_at(level, level + above, errors), Costs(short=short)
    forecast = history.ahead(AHEAD)
    found = math.ceil(round(expect_whole(history, AHEAD, 1.0, costs.whole_share, patience), 6))
    peaks = [min(forecast + max(error, 0.0), max(forecast, *history.now)) / (1 + patience) for error in errors]
    peaks = [max(peak, history.now[-1] / (1 + patience)) for peak in peaks]

    def paid(replicas: int) -> float:
        return fmean(costs.short / PART * max(peak - replicas, 0.0) + costs.spare * max(replicas - peak, 0.0) for peak in peaks)

    least = math.ceil(round(forecast, 6))
    assert least <= found
    assert all(paid(found) <= paid(other) + 1e-4 for other in range(least, least + 15))


@given(
    level=st.floats(0, 20),
    above=st.floats(0, 10),
    errors=st.lists(st.floats(-5, 10), max_size=KEPT_ERRORS),
    short=st.floats(0.01, 100),
    more=st.floats(0, 100),
)
def test_whole_replicas_lie_between_the_forecast_and_the_quantile_and_grow_with_the_costs(
    level: float, above: float, errors: list[float], short: float, more: float
) -> None:
    history = steady_at(level, level + above, errors)
    less, dear = Costs(short=short), Costs(short=short + more)
    found = expect_whole(history, AHEAD, less.share, less.whole_share, 0.1)
    assert history.ahead(AHEAD) <= found <= expect(history, AHEAD, less.share, 0.1)
    assert found <= expect_whole(history, AHEAD, dear.share, dear.whole_share, 0.1)


def test_after_a_gap_that_nobody_saw_it_begins_anew() -> None:
    history = after([3.0] * 50)
    assert history.add(START + 51 * BUCKET_SECONDS, 1.0, AHEAD).seen
    assert history.add(START + 90 * BUCKET_SECONDS, 1.0, AHEAD).now == (1.0,)
    assert history.add(START - 3600, 1.0, AHEAD).now == (1.0,)


def test_looks_within_a_bucket_change_nothing_under_a_constant_load() -> None:
    history = after([3.0] * 5)
    assert history.add(history.begun + 7, 3.0, AHEAD) == history


def test_what_is_known_is_read_back_as_it_was_and_is_bounded() -> None:
    source = random.Random(2)  # noqa: S311 - reproducible noise
    history = after(source.expovariate(0.3) for _ in range(600))
    assert History.of(history.memory()) == history
    assert (len(history.seen), len(history.errors)) == (KEPT, KEPT_ERRORS)
    several = both([5.0] * 200, [2.0] * 200)
    assert History.of(several.memory()) == several
    assert {name: len(values) for name, values in several.signals.items()} == {"prompts": MOST_AHEAD, "slots": MOST_AHEAD}


@pytest.mark.parametrize("signals", [None, 3, {"slots": None}, {"slots": ["x"]}, {"slots": []}, {"slots": [float("nan")]}])
def test_signals_that_cannot_be_read_are_left_out(signals: object) -> None:
    assert History.of({**GOOD, "signals": signals}) == History.of(GOOD)


def test_no_memory_makes_more_signals_than_there_are() -> None:
    assert len(History.of({**GOOD, "signals": {str(number): [1.0] for number in range(100)}}).signals) == MOST_SIGNALS


GOOD: dict[str, Any] = {"begun": START, "open": 1.0, "seen": [1.0], "forecasts": [1.0], "errors": [0.0]}


@pytest.mark.parametrize(
    "change", [{"begun": None}, {"open": "x"}, {"seen": 3}, {"errors": [float("nan")]}, {"forecasts": [None]}, {"open": float("inf")}]
)
def test_a_memory_that_cannot_be_read_counts_as_none(change: dict[str, Any]) -> None:
    assert History.of(GOOD) != History()
    assert History.of({**GOOD, **change}) == History()
    assert History.of(None) == History()


@given(
    now=st.lists(st.floats(0, 40), min_size=1, max_size=8),
    errors=st.lists(st.floats(-5, 30), max_size=60),
    share=st.floats(0.5, 0.95),
    patience=st.floats(0, 0.5),
)
def test_the_whole_number_is_the_first_that_suffices(now: list[float], errors: list[float], share: float, patience: float) -> None:
    """Found by halving; counted here one by one, which a demand of a million replicas would make a matter of minutes."""
    history, whole_share = History(begun=START, seen=now[:-1], open=now[-1], errors=errors), 8 / 9
    enough, forecast = expect(history, 4, share, patience), history.ahead(4)
    known = [*errors, *([0.0] * (MIN_ERRORS - len(errors)))]
    peaks = [max(now[-1], min(forecast + max(error, 0.0), max(forecast, *now))) / (1 + patience) for error in known]
    whole = recommend(forecast)
    while whole < enough and fmean(min(max(peak - whole, 0.0), 1.0) for peak in peaks) > 1 - whole_share:
        whole += 1
    assert expect_whole(history, 4, share, whole_share, patience) == min(enough, max(forecast, float(whole)))


def test_a_demand_of_a_million_replicas_is_answered_in_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[float] = []

    def mean(values: Iterable[float]) -> float:
        steps.append(fmean(values))
        return steps[-1]

    monkeypatch.setattr(forecast_module, "fmean", mean)
    history = History(begun=START, seen=(1.0,) * 7, open=1_000_000.0, errors=(1_000_000.0,) * 60)
    assert expect_whole(history, 4, 0.8, 8 / 9, 0.0) == 1_000_000
    assert len(steps) < 50
