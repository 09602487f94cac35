"""To zero when no request came for as long as the user said, and back for the first that is held. Told as timelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llama_operator.scaling.idle import UNKNOWN, clock, idle_since
from llama_operator.scaling.policy import Decision, Policy, Replicas, decide
from llama_operator.scaling.signals import Load, Missing

START = 1_790_000_000.0
STEP = 5.0
BLIND = Missing(reason="PrometheusUnreachable", message="Prometheus does not answer")
POLICY = Policy(min_replicas=0, max_replicas=4, in_flight_per_replica=8, scale_down_seconds=60, idle_seconds=600)


@dataclass
class Sleeper:
    """A deployment whose replicas tell when a request last came; `wanted` follows the decisions."""

    policy: Policy = POLICY
    wanted: int = 1
    ready: int | None = None
    unsettled: str = ""
    now: float = START
    last_request: float | None = START
    memory: Mapping[str, Any] = field(default_factory=dict)
    last: Decision = field(default_factory=lambda: Decision(replicas=None, reason="", message=""))

    def look(self, in_flight: float | None = 0, held: float = 0, *, holder: bool = True) -> int:
        ready = self.wanted if self.ready is None else self.ready
        if in_flight:
            self.last_request = self.now
        told = self.last_request if ready else None
        load = Load(in_flight=in_flight or 0, held=held, replicas_seen=ready, last_request=told, holder_seen=holder)
        replicas = Replicas(wanted=self.wanted, ready=ready, unsettled=self.unsettled)
        self.last = decide(self.policy, BLIND if in_flight is None else load, replicas, self.memory, self.now)
        self.memory = self.last.memory
        self.wanted = self.wanted if self.last.replicas is None else self.last.replicas
        self.now += STEP
        return self.wanted

    def run(self, seconds: float, **load: Any) -> set[int]:
        return {self.look(**load) for _ in range(int(seconds / STEP))}


def test_the_last_replica_goes_when_no_request_came_for_as_long_as_was_said_and_not_before() -> None:
    sleeper = Sleeper()
    assert sleeper.run(600) == {1}
    assert sleeper.look() == 0
    assert (sleeper.last.reason, sleeper.last.message.split("; ")[-1]) == ("ScaledDown", "from 1 to 0: no request came for 10m")


def test_while_it_waits_it_says_since_when_and_its_words_and_memory_stay_the_same() -> None:
    sleeper = Sleeper()
    sleeper.run(30)
    said, kept = sleeper.last.message, dict(sleeper.memory)
    sleeper.run(300)
    assert (sleeper.last.message, sleeper.memory) == (said, kept)
    assert said == f"0 requests in hand, at 8 a replica that is 0; no request since {clock(START)}, the last replica goes 10m after"
    assert kept == {"idleSince": START}


def test_one_short_request_that_no_scrape_saw_starts_the_time_anew() -> None:
    sleeper = Sleeper()
    sleeper.run(500)
    sleeper.last_request = sleeper.now - 2
    assert sleeper.run(595) == {1}
    assert 0 in sleeper.run(10)


@pytest.mark.parametrize(
    ("why", "change", "load"),
    [
        ("a request runs", {}, {"in_flight": 1}),
        ("a request is held", {}, {"held": 1}),
        ("nobody can say whether any is held", {}, {"holder": False}),
        ("nothing can be seen", {}, {"in_flight": None}),
        ("a rollout is under way", {"unsettled": "a rollout is under way"}, {}),
        ("it still loads", {"ready": 0}, {}),
        ("a replica does not say when its last request came", {"last_request": None}, {}),
    ],
)
def test_it_stays_while(why: str, change: dict[str, Any], load: dict[str, Any]) -> None:
    sleeper = replace(Sleeper(), **change)
    assert sleeper.run(1500, **load) == {1}, why


def test_one_that_never_came_keeps_the_others_from_no_zero() -> None:
    large = replace(POLICY, gpus=8)
    assert 0 in Sleeper(policy=large, wanted=3, ready=2).run(1500)


def test_pods_of_an_earlier_operator_keep_the_last_replica_and_the_message_says_so() -> None:
    sleeper = Sleeper(last_request=None)
    sleeper.look()
    assert sleeper.last.message.endswith(UNKNOWN)
    sleeper.look(in_flight=1)
    assert UNKNOWN not in sleeper.last.message
    sleeper.ready, sleeper.last_request = 0, None
    sleeper.look()
    assert UNKNOWN not in sleeper.last.message


@pytest.mark.parametrize("away", [10, 300, 900])
@pytest.mark.parametrize("blind", [False, True])
def test_idle_time_is_neither_forgotten_nor_invented_while_nobody_looks(away: float, blind: bool) -> None:
    """Restarted or blind for a while: the replicas remember when the last request came."""
    quiet, busy = Sleeper(), Sleeper()
    for sleeper in (quiet, busy):
        sleeper.run(100)
        sleeper.run(away, in_flight=None) if blind else None
        sleeper.now = START + 100 + away
    busy.last_request = busy.now - 5
    assert quiet.run(max(500 - away, 0)) <= {1}
    assert quiet.look() == 0
    assert busy.run(590) == {1}


def test_a_replica_that_went_takes_its_memory_with_it_and_the_status_keeps_it() -> None:
    sleeper = Sleeper(wanted=2)
    sleeper.run(60, in_flight=12)
    last = sleeper.last_request
    assert last is not None
    sleeper.run(10)
    sleeper.last_request = START  # the one that is left had its last request long before
    sleeper.run(60)
    assert sleeper.memory["idleSince"] == last
    assert sleeper.wanted == 1
    assert sleeper.run(last + 600 - sleeper.now) == {1}
    assert sleeper.look() == 0


def test_at_zero_nothing_is_remembered_but_how_long_loads_take() -> None:
    sleeper = Sleeper(wanted=0, memory={"loads": {"wanted": 1, "orders": [], "samples": [40]}, "history": {"x": 1}, "points": [[1, 2]]})
    assert sleeper.run(3600) == {0}
    assert sleeper.last.reason == "ScaledToZero"
    assert sleeper.memory == {"loads": {"wanted": 0, "orders": [], "samples": [40]}}


def test_a_held_request_brings_a_replica_at_once_whatever_the_window() -> None:
    sleeper = Sleeper(replace(POLICY, scale_up_seconds=60), wanted=0)
    sleeper.run(60)
    assert sleeper.look(held=1) == 1
    assert (sleeper.last.reason, sleeper.last.message.split("; ")[0]) == (
        "ScaledUp",
        "1 requests in hand, 1 of them held at the proxies, at 8 a replica that is 1",
    )


def test_a_crowd_at_zero_brings_as_many_as_it_asks_for() -> None:
    assert Sleeper(wanted=0).look(held=20) == 3


def test_while_the_first_loads_it_stays_whoever_gave_up() -> None:
    sleeper = Sleeper(wanted=0)
    assert sleeper.look(held=1) == 1
    sleeper.ready = 0
    assert sleeper.run(1200) == {1}


def test_blind_at_zero_it_holds_and_says_what_that_means() -> None:
    sleeper = Sleeper(wanted=0)
    assert sleeper.look(in_flight=None) == 0
    assert sleeper.last.holds
    assert sleeper.last.message == "holding at 0: Prometheus does not answer; a request that comes now is held until it can be seen"
    sleeper.look(holder=False)
    assert sleeper.last.message.startswith("holding at 0: Prometheus has no series of a proxy that says whether it holds requests")


@pytest.mark.parametrize(
    ("memory", "last", "want"),
    [
        (None, START, START),
        (START - 9, START - 50.5, START - 9),
        (START - 99, START - 50.5, START - 50),
        ("x", START - 5, START - 5),
        (float("inf"), START - 5, START - 5),
        (START + 1e9, START - 5, START + 10),
        (None, START + 3600, START + 10),
    ],
)
def test_a_moment_in_the_future_is_now(memory: Any, last: float, want: float) -> None:
    load = Load(in_flight=0, held=0, replicas_seen=1, last_request=last, holder_seen=True)
    assert idle_since(memory, load, START + 10) == want
