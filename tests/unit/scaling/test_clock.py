"""A clock that ran ahead and was set back: what the memory dates later than now counts as of now, and nothing waits for that time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llama_operator.scaling.first_token import FADE_SECONDS, Correction
from llama_operator.scaling.loads import Loads
from llama_operator.scaling.policy import Policy, Replicas, decide
from llama_operator.scaling.signals import Load
from llama_operator.scaling.window import Window

START = 1_790_000_000.0
STEP = 5.0
AHEAD = st.floats(min_value=1.0, max_value=1e8) | st.just(3600.0)
TIMES = st.lists(AHEAD.map(lambda ahead: START + ahead), max_size=4).map(sorted)


@st.composite
def memories(draw: st.DrawFn) -> dict[str, Any]:
    """What an operator may have written whose clock ran ahead."""
    a_time = AHEAD.map(lambda ahead: START + ahead)
    return {
        "points": [[time, draw(st.integers(1, 6))] for time in draw(TIMES)],
        "since": draw(a_time),
        "aboveSince": draw(a_time),
        "aboveLeast": draw(st.integers(1, 6)),
        "idleSince": draw(a_time),
        "loads": {"wanted": 2, "orders": draw(TIMES), "samples": draw(st.lists(st.floats(1, 600), max_size=3))},
        "correction": {"factor": draw(st.floats(1, 2)), "since": draw(a_time), "lateSince": draw(a_time)},
        "history": {"begun": draw(a_time), "open": 1.0, "seen": [1.0] * 20, "forecasts": [1.0] * 8, "errors": [0.0] * 8},
    }


def hour_ahead() -> dict[str, Any]:
    ahead = START + 3600
    return {"points": [[ahead, 3]], "since": ahead, "aboveSince": ahead, "aboveLeast": 3}


@given(memory=memories(), up=st.sampled_from([0.0, 20.0, 60.0]), gpus=st.sampled_from([1, 8]), least=st.sampled_from([0, 1]))
@example(memory=hour_ahead(), up=0.0, gpus=1, least=1)
def test_more_is_given_within_the_up_window_whatever_times_of_the_future_are_remembered(
    memory: dict[str, Any], up: float, gpus: int, least: int
) -> None:
    policy = Policy(
        min_replicas=least,
        max_replicas=8,
        in_flight_per_replica=8,
        scale_up_seconds=up,
        scale_down_seconds=60,
        gpus=gpus,
        idle_seconds=None if least else 300,
    )
    now, taken = START, False
    while now <= START + up + STEP and not taken:
        decision = decide(policy, Load(in_flight=40, held=0, replicas_seen=2), Replicas(wanted=2, ready=2), memory, now)
        memory, now = dict(decision.memory), now + STEP
        taken = decision.replicas is not None and decision.replicas > 2
    assert taken, decision.message


def test_a_need_of_the_future_begins_now() -> None:
    window = Window(up_seconds=30, down_seconds=60, above_since=START + 3600, above_least=2)
    seen = window.add(START, 4, 1)
    assert (seen.above_since, seen.above_least) == (START, 4)
    assert [seen.up_covered(START + after) for after in (0, 29, 30)] == [False, False, True]


@pytest.mark.parametrize("ahead", [600, 3600, 1e7])
def test_a_load_that_was_ordered_in_the_future_stalls_and_is_missed_as_any_other(ahead: float) -> None:
    known = Loads(wanted=2, orders=(START - 10, START + ahead), samples=(60.0,)).see(2, 0, START)
    assert known.orders == (START - 10, START)
    assert (known.stalled(START + 200), known.absent(START + 100)) == (2, 2)


def test_a_load_that_was_ordered_in_the_future_teaches_nothing_when_it_is_there() -> None:
    assert Loads(wanted=2, orders=(START + 3600,), samples=(60.0,)).see(2, 2, START).samples == (60.0,)


def test_a_correction_of_the_future_fades_from_now_on() -> None:
    kept = Correction.of({"factor": 2.0, "since": START + 1e6, "lateSince": START + 1e6}).as_of(START)
    assert (kept.since, kept.late_since) == (START, START)
    assert kept.at(START + FADE_SECONDS) < 1.4
