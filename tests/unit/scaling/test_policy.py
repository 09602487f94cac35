"""How many replicas are wanted, told as timelines: at each time so many requests, or blindness, and what comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llama_operator.scaling.policy import Decision, Policy, Replicas, decide, recommend
from llama_operator.scaling.signals import Load, Missing
from llama_operator.scaling.window import Window

START = 1_790_000_000.0
STEP = 5.0
BLIND = Missing(reason="PrometheusUnreachable", message="Prometheus does not answer")
POLICY = Policy(min_replicas=1, max_replicas=6, in_flight_per_replica=8, scale_up_seconds=0, scale_down_seconds=60)


def load(requests: float, held: float = 0) -> Load:
    return Load(in_flight=requests, held=held, age_seconds=1, replicas_seen=1)


@dataclass
class Timeline:
    """Lets the autoscaler look every STEP seconds; `wanted` follows its decisions as the status does."""

    policy: Policy = POLICY
    wanted: int = 1
    ready: int | None = None
    now: float = START
    memory: Mapping[str, Any] = field(default_factory=dict)
    last: Decision | None = None

    def look(self, requests: float | None) -> int:
        signals = BLIND if requests is None else load(requests)
        replicas = Replicas(wanted=self.wanted, ready=self.wanted if self.ready is None else self.ready)
        self.last = decide(self.policy, signals, replicas, self.memory, self.now)
        self.memory = self.last.memory
        self.wanted = self.wanted if self.last.replicas is None else self.last.replicas
        self.now += STEP
        return self.wanted

    def run(self, requests: float | None, seconds: float) -> list[int]:
        return [self.look(requests) for _ in range(int(seconds / STEP))]

    def seconds_until(self, requests: float, wanted: int, limit: float = 2000) -> float:
        begun = self.now
        while self.now - begun < limit:
            if self.look(requests) == wanted:
                return self.now - STEP - begun
        raise AssertionError(f"{wanted} was not reached in {limit} s, {self.wanted} are wanted")


@pytest.mark.parametrize(("requests", "want"), [(0, 0), (1, 1), (8, 1), (8.0000001, 1), (8.1, 2), (16, 2), (17, 3), (400, 50)])
def test_the_load_asks_for(requests: float, want: int) -> None:
    assert recommend(POLICY, load(requests)) == want


def test_requests_held_at_the_proxies_are_load() -> None:
    assert recommend(POLICY, load(4, held=12)) == 2


def test_up_at_once_when_no_stabilisation_is_asked_for() -> None:
    line = Timeline()
    assert line.look(20) == 3
    assert line.last is not None
    assert (line.last.reason, line.last.message) == ("ScaledUp", "20 requests in hand, at 8 a replica that is 3; from 1 to 3")


def test_up_is_bounded_and_says_so() -> None:
    line = Timeline()
    assert line.look(4000) == 6
    assert line.look(4000) == 6
    assert line.last is not None
    assert (line.last.reason, "bounded to 6 by maxReplicas" in line.last.message) == ("AtMaximum", True)


def test_up_only_after_the_need_has_lasted() -> None:
    line = Timeline(replace(POLICY, scale_up_seconds=30))
    assert line.run(20, 30) == [1] * 6
    assert line.last is not None
    assert line.last.reason == "Stabilizing"
    assert line.look(20) == 3


def test_a_short_peak_does_not_scale_up() -> None:
    line = Timeline(replace(POLICY, scale_up_seconds=30))
    line.run(20, 25)
    line.look(3)
    assert set(line.run(20, 30)) == {1}


def test_up_goes_to_the_least_need_of_the_window_and_then_on() -> None:
    line = Timeline(replace(POLICY, scale_up_seconds=30))
    line.run(12, 15)
    assert line.run(40, 20)[-1] == 2
    assert line.seconds_until(40, 5) <= 30


def test_a_replica_that_still_loads_is_counted_and_asks_for_no_further_one() -> None:
    line = Timeline(ready=1)
    assert line.look(16) == 2
    assert set(line.run(16, 300)) == {2}
    assert line.last is not None
    assert line.last.message.endswith("1 of 2 still load and are counted")


def test_down_only_after_the_whole_window() -> None:
    line = Timeline(wanted=3)
    line.run(20, 120)
    assert 55 <= line.seconds_until(2, 1) <= 75


def test_down_goes_to_the_most_that_was_needed_in_the_window() -> None:
    line = Timeline(wanted=5)
    line.run(40, 120)
    line.run(24, 30)
    line.run(8, 20)
    assert 5 in line.run(8, 5)
    assert line.seconds_until(8, 3) <= 15
    assert line.seconds_until(8, 1) <= 75


def test_a_peak_within_the_window_keeps_the_replicas() -> None:
    line = Timeline(wanted=3)
    for _ in range(20):
        assert set(line.run(4, 40)) == {3}
        assert line.look(24) == 3


def test_blind_changes_nothing_and_forgets_nothing() -> None:
    line = Timeline(wanted=3)
    line.run(20, 60)
    before = line.memory
    assert set(line.run(None, 300)) == {3}
    assert line.memory == before
    assert line.last is not None
    assert line.last.holds
    assert (line.last.reason, line.last.message) == ("Holding", "holding at 3: Prometheus does not answer")


def test_after_an_outage_the_down_window_begins_anew() -> None:
    line = Timeline(wanted=3)
    line.run(20, 120)
    line.run(2, 40)
    line.run(None, 300)
    assert line.seconds_until(2, 1) >= 55


def test_without_a_memory_a_scale_down_takes_the_whole_window() -> None:
    line = Timeline(wanted=3)
    assert line.seconds_until(0, 1) >= 60


@pytest.mark.parametrize("moment", range(0, 200, 5))
def test_an_operator_that_is_restarted_at_any_moment_never_scales_down_faster(moment: int) -> None:
    def script() -> Iterator[float]:
        for second in range(0, 400, 5):
            yield 40 if second < 60 else 20 if second < 90 else 2

    def run(away: float) -> list[tuple[float, int]]:
        line, seen = Timeline(wanted=5), []
        for index, requests in enumerate(script()):
            if moment <= index * STEP < moment + away:
                line.now += STEP
                continue
            line.memory = dict(line.memory)
            seen.append((line.now, line.look(requests)))
        return seen

    steady, restarted = dict(run(0)), dict(run(40))
    assert all(restarted[time] >= steady[time] for time in restarted)


def test_at_the_minimum_there_is_nothing_to_remember() -> None:
    line = Timeline()
    line.run(3, 300)
    assert line.memory == {}


def test_the_memory_changes_once_a_bucket_at_most_under_constant_load() -> None:
    line = Timeline(replace(POLICY, scale_down_seconds=300), wanted=3)
    memories = []
    for _ in range(240):
        line.look(20)
        memories.append(str(line.memory))
    changes = sum(a != b for a, b in itertools.pairwise(memories))
    assert changes <= 240 * STEP / 30 + 1
    assert len(line.memory["points"]) <= 12


@pytest.mark.parametrize(("wanted", "requests", "want"), [(9, 40, 6), (0, 0, 1), (9, 0, 6)])
def test_bounds_that_were_narrowed_take_hold_at_once(wanted: int, requests: float, want: int) -> None:
    assert Timeline(wanted=wanted).look(requests) == want


def test_less_load_is_explained_while_it_waits() -> None:
    line = Timeline(wanted=3)
    line.look(8)
    assert line.last is not None
    assert (line.last.reason, line.last.message) == (
        "Stabilizing",
        "8 requests in hand, at 8 a replica that is 1; 3 stay until 60 s were seen without a gap",
    )
    line.run(24, 60)
    line.run(8, 30)
    assert line.last.message.endswith("3 stay: the need was 3 within the last 60 s")


def test_less_than_the_minimum_is_bounded_and_steady() -> None:
    line = Timeline(replace(POLICY, min_replicas=2), wanted=2)
    line.look(0)
    assert line.last is not None
    assert (line.last.replicas, line.last.reason) == (2, "Steady")
    assert "bounded to 2 by minReplicas" in line.last.message


def test_a_clock_that_jumps_back_begins_the_window_anew() -> None:
    line = Timeline(wanted=3)
    line.run(20, 120)
    line.now -= 3600
    assert line.seconds_until(2, 1) >= 60


@pytest.mark.parametrize(
    "memory", [{"points": 3}, {"points": [["x", 1]]}, {"points": [[1]]}, {"since": "x"}, {"aboveLeast": None}, {"points": None}]
)
def test_a_memory_that_cannot_be_read_counts_as_none(memory: dict[str, Any]) -> None:
    assert Window.of(memory, 0, 60) == Window(up_seconds=0, down_seconds=60)
    assert decide(POLICY, load(2), Replicas(wanted=3, ready=3), memory, START).replicas == 3


def test_the_memory_is_read_back_as_it_was() -> None:
    window = Window(up_seconds=30, down_seconds=60).add(START, 3, 1).add(START + 7, 2, 1)
    assert Window.of(window.memory(), 30, 60) == window


def test_no_down_window_means_down_at_once() -> None:
    line = Timeline(replace(POLICY, scale_down_seconds=0), wanted=3)
    line.look(24)
    assert line.seconds_until(2, 1) <= 10
