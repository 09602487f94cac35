"""How many replicas are wanted, told as timelines: at each time so many requests, or blindness, and what comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llama_operator.scaling.costs import Costs
from llama_operator.scaling.forecast import BUCKET_SECONDS
from llama_operator.scaling.policy import Decision, Policy, Replicas, decide
from llama_operator.scaling.sane import recommend
from llama_operator.scaling.service import Service
from llama_operator.scaling.signals import Load, Missing
from llama_operator.scaling.votes import demand
from llama_operator.scaling.window import Window

START = 1_790_000_000.0
STEP = 5.0
BLIND = Missing(reason="PrometheusUnreachable", message="Prometheus does not answer")
POLICY = Policy(min_replicas=1, max_replicas=6, in_flight_per_replica=8, scale_up_seconds=0, scale_down_seconds=60)


def load(requests: float, held: float = 0) -> Load:
    return Load(in_flight=requests, held=held, replicas_seen=1)


def asked(seen: Load) -> float:
    return demand(seen, 1, POLICY.in_flight_per_replica, None, None, 0.95).replicas


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
    assert recommend(asked(load(requests))) == want


def test_requests_held_at_the_proxies_are_load() -> None:
    assert recommend(asked(load(4, held=12))) == 2


def test_a_request_counted_twice_between_two_scrapes_brings_no_replica_and_the_message_says_what_is_waited_for() -> None:
    seen = replace(load(17), before=16.0)
    decision = decide(POLICY, seen, Replicas(wanted=2, ready=2), {}, START)
    assert (decision.replicas, decision.reason) == (2, "Steady")
    assert decision.message == "17 requests in hand, at 8 a replica that is 3, if the next scrape says so too"
    assert decide(POLICY, replace(seen, before=17.0), Replicas(wanted=2, ready=2), decision.memory, START + STEP).replicas == 3


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
    assert changes <= 240 * STEP / BUCKET_SECONDS + 1
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


SERVICE = Service(prefill=5000, slots=64, itl=0.1, kv=640_000)
TIMELY = Policy(min_replicas=1, max_replicas=6, ttft_seconds=6, service=SERVICE, scale_down_seconds=60)


def busy(sequences: float, **over: float | None) -> Load:
    """Sequences that all run, with 50 prompt and 10 output tokens per second each."""
    rates: dict[str, Any] = {"prompt_rate": 20 * sequences, "output_rate": 10 * sequences, "kv_use": sequences / 500, "growth": 0.0}
    seen = {"running": sequences, "waiting": 0.0, "finish_rate": sequences / 20, **rates, **over}
    return Load(in_flight=sequences, held=0, replicas_seen=1, **seen)


def at(seen: Load, wanted: int, memory: Mapping[str, Any] | None = None, policy: Policy = TIMELY, now: float = START) -> Decision:
    return decide(policy, seen, Replicas(wanted=wanted, ready=wanted), memory or {}, now)


def test_with_a_time_to_first_token_the_highest_vote_counts_and_is_named() -> None:
    found = at(busy(150), 1)
    assert (found.replicas, [vote.signal for vote in found.votes]) == (3, ["slots", "prompts", "cache"])
    assert found.message == "150 requests in hand, slots ask for 2.34 replicas; from 1 to 3"
    assert at(busy(64, prompt_rate=12_000), 1).message.startswith("64 requests in hand, prompts ask for ")


def test_what_cannot_be_seen_keeps_the_replicas_and_does_not_hinder_more() -> None:
    memory: Mapping[str, Any] = {}
    for step in range(60):
        found = at(busy(10, prompt_rate=None), 3, memory, now=START + STEP * step)
        memory = found.memory
        assert found.replicas == 3
    assert found.message.endswith("3 stay: what prompts, cache ask for cannot be seen")
    assert at(busy(300, prompt_rate=None), 3, memory, now=START + 300).replicas == 5


def test_what_bursts_again_and_again_is_kept_ready_for_and_explained() -> None:
    line = Timeline(replace(POLICY, scale_down_seconds=30))
    for _ in range(20):
        line.run(8, 90)
        line.run(28, 30)
    assert set(line.run(8, 60)) == {4}
    assert line.last is not None
    assert "up to 4 are expected to be needed within the 5 s that a load takes" in line.last.message


@pytest.mark.parametrize(("short", "want"), [(0.05, 1), (4.0, 4)])
def test_what_a_replica_too_few_costs_decides_how_many_are_kept(short: float, want: int) -> None:
    line = Timeline(replace(POLICY, scale_down_seconds=30, costs=Costs(short=short)))
    for _ in range(20):
        line.run(8, 90)
        line.run(28, 30)
    assert line.run(8, 60)[-1] == want


def test_one_more_is_asked_for_while_a_load_has_stalled() -> None:
    memory = {"loads": {"wanted": 3, "orders": [START - 1000], "samples": [60, 70]}}
    found = decide(POLICY, load(24), Replicas(wanted=3, ready=2), memory, START)
    assert found.replicas == 4
    assert "one more, because 1 of the loads take far longer than those before" in found.message
    assert decide(POLICY, load(16), Replicas(wanted=3, ready=2), memory, START).replicas == 3


def test_where_nothing_ever_loaded_more_is_no_remedy() -> None:
    line = Timeline(ready=0)
    assert set(line.run(8, 2000)) == {1}


def test_without_a_given_down_window_it_follows_from_the_load_time() -> None:
    open_ended = replace(POLICY, scale_down_seconds=None)
    slow = {"loads": {"wanted": 3, "orders": [], "samples": [500.0]}}
    assert 590 <= Timeline(open_ended, wanted=3).seconds_until(2, 1) <= 620
    assert 155 <= Timeline(replace(open_ended, load_seconds=20), wanted=3).seconds_until(2, 1) <= 180
    assert 395 <= Timeline(replace(open_ended, load_seconds=100), wanted=3).seconds_until(2, 1) <= 420
    assert 740 <= Timeline(open_ended, wanted=3, memory=slow).seconds_until(2, 1) <= 770


def test_a_crowd_that_waits_too_long_is_believed_at_the_second_bucket_and_no_sooner() -> None:
    """Three replicas run 110 sequences; then as many come as 5 hold, and 130 wait: 5 at once, and what works the queue off beside them."""
    policy = replace(TIMELY, service=replace(SERVICE, prompt=300, output=200), max_replicas=12, load_seconds=20)
    crowd = {"running": 192.0, "waiting": 130.0, "output_rate": 1920.0, "prompt_rate": 3840.0, "finish_rate": 10.0, "growth": 6.0}
    memory: Mapping[str, Any] = {}
    asked = []
    for step in range(12):
        seen = busy(110) if step < 6 else replace(busy(192, **crowd), in_flight=322)
        found = at(seen, 3, memory, policy, START + STEP * step)
        memory = found.memory
        asked.append(found.asked or 0)
    assert asked == [2] * 6 + [5] * 2 + [7] * 4


def test_it_never_goes_below_what_runs_now_though_a_short_peak_may_exceed_the_slots() -> None:
    """138 sequences are 2.16 replicas of 64 slots: that orders no third one at once, and takes no third one away."""
    policy = replace(TIMELY, service=replace(SERVICE, prompt=300, output=200), scale_down_seconds=30)

    def after(last: float, wanted: int) -> int | None:
        memory: Mapping[str, Any] = {}
        for step in range(6):
            memory = at(busy(110, finish_rate=None), wanted, memory, policy, START + STEP * step).memory
        return at(busy(last, finish_rate=None), wanted, memory, policy, START + STEP * 6).replicas

    assert (after(110, 3), after(138, 3), after(138, 2)) == (2, 3, 2)


@pytest.mark.parametrize(
    "wrong", [{"in_flight_per_replica": None}, {"ttft_seconds": 6.0}, {"in_flight_per_replica": None, "ttft_seconds": 6.0}]
)
def test_a_policy_has_one_objective_and_what_it_needs(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"one objective|needs a service"):
        replace(POLICY, **wrong)
