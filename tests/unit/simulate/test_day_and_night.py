"""Sleep, time windows and limited places in the simulator: decided by the operator's own functions, and told as it tells them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.v1alpha1 import AutoscalingSpec, ScheduleSpec
from llama_operator.scaling.bounds import bounds_at
from llama_operator.scaling.policy import Policy
from llama_operator.simulate.compare import Contest, neighbours
from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.generate import CONVERSATION, flash_crowd
from llama_operator.simulate.lineup import Entry, Objective, scaler
from llama_operator.simulate.policies.ours import Ours
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.traffic import gather
from llama_operator.simulate.windows import Windows

LOAD = 60.0
WORLD = Setup(service=Service(), load=LoadTime(seconds=LOAD), initial=1, minimum=0, maximum=4)
POLICY = Policy(min_replicas=0, max_replicas=4, in_flight_per_replica=8)
IDLE = 600.0
SLEEPER = Ours(policy=POLICY, idle_seconds=IDLE)


def steady(begin: float, seconds: float, pause: float = 10.0) -> list[Request]:
    return [Request(begin + index * pause, 500.0, 50.0) for index in range(int(seconds / pause))]


def replicas(outcome: Outcome, begin: float, end: float) -> set[int]:
    """Of any state, as far as a scrape saw them."""
    return {point.ready + point.loading + point.draining for point in outcome.points if begin <= point.time < end}


def test_in_a_long_silence_the_last_replica_goes_and_the_first_request_after_it_is_held_and_served_after_a_load() -> None:
    before, silence = steady(0.0, 900.0), 4 * 3600.0
    back = before[-1].arrival + silence
    outcome = simulate([*before, *steady(back, 600.0)], SLEEPER, WORLD)
    asleep, awake = outcome.changes[-2:]
    assert (asleep.after, awake.before, awake.after) == (0, 0, 1)
    # The last answer takes 5 s; then the idle time, as a scrape and a look later see it.
    assert IDLE <= asleep.time - before[-1].arrival <= IDLE + 5.1 + 15 + 5
    assert "no request came for 10m" in asleep.message
    assert replicas(outcome, asleep.time + 15, back) == {0}
    # Held: seen by a scrape and a look, then one load.
    assert awake.time - back <= 15 + 5
    assert "held at the proxies" in awake.message
    first = outcome.ttft[len(before)]
    assert awake.time - back + LOAD <= first <= awake.time - back + LOAD + 1
    assert (outcome.unserved, outcome.requests) == (0, len(before) + 60)
    assert max(outcome.ttft[: len(before)]) < 1 > max(outcome.ttft[len(before) + 20 :])


def test_a_replica_with_a_request_in_hand_does_not_sleep_however_long_that_takes() -> None:
    long = Request(0.0, 500.0, 30_000.0)  # at 10 tokens a second, 50 minutes
    outcome = simulate([long, Request(1.5 * 3600, 500.0, 50.0)], SLEEPER, WORLD)
    assert outcome.changes[0].after == 0
    assert 3000 + IDLE <= outcome.changes[0].time <= 3000 + IDLE + 21


def test_where_the_minimum_is_not_zero_nothing_sleeps() -> None:
    outcome = simulate([Request(0.0, 500.0, 50.0), Request(7200.0, 500.0, 50.0)], SLEEPER, replace(WORLD, minimum=1))
    assert outcome.changes == []


def test_a_minimum_of_zero_among_the_changes_of_a_setting_sleeps_as_the_operator_would() -> None:
    traffic = gather([Request(0.0, 500.0, 50.0), Request(5400.0, 500.0, 50.0)])
    contest = Contest(
        traffic=traffic,
        entries=(Entry(name="ours"),),
        setup=replace(WORLD, minimum=1),
        objective=Objective(in_flight=8.0, idle_seconds=IDLE),
        ttft_seconds=6.0,
    )
    zero = next(run for run in neighbours(contest) if run.change == "min=0")
    assert zero.figures.replica_seconds < 1000
    assert [(change.before, change.after) for change in zero.changes] == [(1, 0), (0, 1)]


MORNING = {"name": "morning", "timezone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 9 * * 1-5", "minReplicas": 3}
NIGHT = {"name": "night", "timezone": "Europe/Berlin", "start": "0 22 * * *", "duration": "8h", "maxReplicas": 2}
SEVEN = datetime.fromisoformat("2026-11-23T07:00:00+01:00").timestamp()
"""A Monday."""


def windows(*given_: dict[str, Any], begin: float = SEVEN) -> Windows:
    return Windows(schedules=tuple(ScheduleSpec.model_validate(each) for each in given_), begin=begin)


def test_a_window_raises_the_minimum_in_the_morning_and_names_itself_and_its_replicas_go_after_it() -> None:
    setup = replace(WORLD, minimum=1, windows=windows(MORNING))
    outcome = simulate(steady(0.0, 2.5 * 3600, 30.0), replace(SLEEPER, policy=replace(POLICY, scale_down_seconds=300)), setup)
    up, down = outcome.changes
    assert (up.before, up.after, down.before, down.after) == (1, 3, 3, 1)
    assert 3600 <= up.time <= 3605
    assert "bounded to 3 by minReplicas of window morning" in up.message
    assert 2 * 3600 <= down.time <= 2 * 3600 + 305
    assert replicas(outcome, 0, 3600) == {1}
    assert replicas(outcome, 3700, 2 * 3600) == {3}


@pytest.mark.parametrize("policy", ["hpa", "keda", "kpa", "ray", "aibrix", "aibrix-kpa", "static:2"])
def test_windows_bound_every_policy(policy: str) -> None:
    name, _, number = policy.partition(":")
    entry = Entry(name=name, number=float(number) if number else None)
    setup = replace(WORLD, minimum=1, windows=windows(MORNING))
    outcome = simulate(steady(0.0, 5400, 30.0), scaler(entry, Objective(in_flight=8.0), setup), setup)
    assert replicas(outcome, 3700, 5400) == {3}


def test_a_maximum_that_falls_counts_at_once_for_one_that_says_nothing() -> None:
    begin = datetime.fromisoformat("2026-11-23T21:00:00+01:00").timestamp()
    setup = replace(WORLD, initial=4, minimum=1, windows=windows(NIGHT, begin=begin))
    outcome = simulate(steady(0.0, 5400), Static(replicas=4), setup)
    assert [(change.before, change.after) for change in outcome.changes] == [(4, 2)]
    assert 3600 <= outcome.changes[0].time <= 3615
    assert outcome.unserved == 0


def test_at_the_beginning_the_bounds_of_that_moment_count() -> None:
    begin = datetime.fromisoformat("2026-11-23T08:30:00+01:00").timestamp()
    setup = replace(WORLD, minimum=1, windows=windows(MORNING, begin=begin))
    assert replicas(simulate(steady(0.0, 600), Static(replicas=1), setup), 0, 600) == {3}


SCHEDULES: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        lambda minute, hour, long, least: {"start": f"{minute} {hour} * * *", "duration": long, "minReplicas": least},
        st.integers(0, 59),
        st.integers(0, 23),
        st.sampled_from(["8h", "45m", "90s", "1h30m30s"]),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=3,
)


@given(chosen=SCHEDULES, begin=st.floats(1_790_000_000, 1_800_000_000), looks=st.lists(st.floats(0, 900), min_size=1, max_size=40))
def test_the_simulated_bounds_are_the_operators_at_every_look(chosen: list[dict[str, Any]], begin: float, looks: Sequence[float]) -> None:
    """Also between two evaluations, which are a minute apart."""
    named = [each | {"name": f"w{index}"} for index, each in enumerate(chosen)]
    made = windows(*named, begin=begin)
    spec = AutoscalingSpec.model_validate({"minReplicas": 1, "maxReplicas": 4, "objective": {"inFlightPerReplica": 1}, "schedules": named})
    now, bounds, until = 0.0, *made.at(0.0, 1, 4)
    for pause in looks:
        now += pause
        if now >= until:
            bounds, until = made.at(now, 1, 4)
        assert bounds == bounds_at(spec, begin + now)


@pytest.mark.parametrize(("least", "most", "fits"), [(1, 4, True), (1, 2, False), (4, 4, True), (2, 9, True), (3, 3, True), (0, 4, True)])
def test_bounds_that_contradict_a_window_are_known(least: int, most: int, fits: bool) -> None:
    assert windows(MORNING, NIGHT | {"maxReplicas": 5}).fits(least, most) is fits


def test_a_window_of_none_goes_with_a_minimum_of_none_alone() -> None:
    assert windows(NIGHT | {"minReplicas": 0}).fits(0, 4)
    assert not windows(NIGHT | {"minReplicas": 0}).fits(1, 4)
    assert windows(NIGHT | {"minReplicas": 0}, MORNING | {"maxReplicas": 9}).widest(0, 4) == (0, 9)


CROWD = list(flash_crowd(CONVERSATION, 480, seed=2, at=200, times=3.0, lasts=100))
FULL = replace(WORLD, initial=2, minimum=1, maximum=12, places=4)


def test_ours_asks_for_no_replica_that_has_no_place_and_the_change_says_why() -> None:
    outcome = simulate(CROWD, Ours(policy=replace(POLICY, in_flight_per_replica=16, gpus=8)), replace(FULL, places=3))
    assert max(change.after for change in outcome.changes) == 3
    last = next(change for change in outcome.changes if change.after == 3)
    assert last.message.endswith("from 2 to 3; no more are asked for: the cluster's GPUs hold 1 more")
    assert 0 < outcome.cramped < outcome.end


@pytest.mark.parametrize("ours", [True, False])
def test_what_others_ask_for_beyond_it_waits_for_a_place_and_costs_nothing_until_then(ours: bool) -> None:
    asks = Ours(policy=replace(POLICY, in_flight_per_replica=16), looks_for_room=False)
    outcome = simulate(CROWD, asks if ours else scaler(Entry(name="hpa"), Objective(in_flight=16.0), FULL), FULL)
    assert max(change.after for change in outcome.changes) > 4
    assert max(replicas(outcome, 0, math.inf)) == 4
    assert outcome.cramped > 0
    assert outcome.replica_seconds <= 4 * outcome.end + 1e-6
    assert outcome.busy_seconds <= outcome.replica_seconds
    assert outcome.served == outcome.requests


def test_who_waits_for_a_place_loads_when_one_comes_free_and_goes_first_when_fewer_are_wanted() -> None:
    """Four of six find a place; with three wanted the two without one go first, then one that serves."""
    setup = replace(WORLD, initial=6, minimum=0, maximum=6, places=4)
    outcome = simulate(steady(0.0, 1200), Static(replicas=3), setup)
    assert replicas(outcome, 0, 1) == {4}
    assert replicas(outcome, 30, 1200) == {3}
    night = windows(NIGHT | {"start": "10 7 * * *", "minReplicas": 6, "maxReplicas": 6})
    grown = simulate(steady(0.0, 1200), Static(replicas=2), replace(setup, initial=2, windows=night))
    assert replicas(grown, 700, 1200) == {4}


def test_replicas_of_several_gpus_go_one_at_a_time() -> None:
    """Each only when the one before is gone."""
    load = [*CROWD, *steady(480, 900)]
    one, eight = (
        simulate(
            load, Ours(policy=replace(POLICY, in_flight_per_replica=16, gpus=gpus, scale_down_seconds=300)), replace(FULL, places=None)
        )
        for gpus in (1, 8)
    )
    assert max(change.before - change.after for change in one.changes) > 1
    assert max(change.before - change.after for change in eight.changes) == 1
