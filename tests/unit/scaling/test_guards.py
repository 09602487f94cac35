"""What a decision does not do, whatever is asked for: repairs, gangs of several GPUs, and clusters without a place."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.scaling.policy import Decision, Policy, Replicas, decide
from llama_operator.scaling.signals import Load

START = 1_790_000_000.0


def load(requests: float) -> Load:
    return Load(in_flight=requests, held=0, replicas_seen=1)


def after(requests: float, replicas: Replicas, *, gpus: int = 1) -> Decision:
    """The first change under `requests`, with a window of a minute; after two minutes what is said of there being none."""
    rules = Policy(min_replicas=1, max_replicas=8, in_flight_per_replica=8, scale_down_seconds=60, gpus=gpus)
    memory: Any = {}
    for step in range(24):
        decision = decide(rules, load(requests), replicas, memory, START + 5 * step)
        if decision.replicas != replicas.wanted:
            break
        memory = decision.memory
    return decision


@pytest.mark.parametrize(
    ("sentence", "requests", "replicas", "gpus", "want", "says"),
    [
        ("all at once, of one GPU", 8, Replicas(wanted=4, ready=4), 1, 1, "from 4 to 1"),
        ("one at a time, of eight", 8, Replicas(wanted=4, ready=4), 8, 3, "from 4 to 3"),
        ("the next when the former is gone", 8, Replicas(wanted=3, ready=3, leaving=1), 8, 3, "they go one at a time"),
        ("those that never came go at once, before any that serves", 8, Replicas(wanted=5, ready=3), 8, 3, "from 5 to 3"),
        ("also while another goes", 8, Replicas(wanted=3, ready=2, leaving=1), 8, 2, "from 3 to 2"),
        ("never below what is needed", 30, Replicas(wanted=6, ready=1), 8, 4, "from 6 to 4"),
        (
            "none during a rollout",
            8,
            Replicas(wanted=4, ready=4, unsettled="a rollout is under way"),
            1,
            4,
            "4 stay: a rollout is under way",
        ),
        ("up during a rollout", 30, Replicas(wanted=1, ready=1, unsettled="a rollout is under way"), 1, 4, "from 1 to 4"),
        (
            "no place at all",
            30,
            Replicas(wanted=2, ready=2, room=0, no_room="8 GPUs are free"),
            8,
            2,
            "no more are asked for: 8 GPUs are free",
        ),
        (
            "place for one",
            40,
            Replicas(wanted=2, ready=2, room=1, no_room="the rest is held"),
            8,
            3,
            "no more are asked for: the rest is held",
        ),
        ("place for all", 40, Replicas(wanted=2, ready=2, room=9), 8, 5, "from 2 to 5"),
        ("what is measured comes while others load", 40, Replicas(wanted=2, ready=1), 8, 5, "from 2 to 5"),
    ],
)
def test_a_guard(sentence: str, requests: float, replicas: Replicas, gpus: int, want: int, says: str) -> None:
    found = after(requests, replicas, gpus=gpus)
    assert (found.replicas, says in found.message) == (want, True), f"{sentence}: {found.message}"


def test_large_replicas_that_miss_a_probe_together_are_not_let_go_together() -> None:
    rules = Policy(min_replicas=1, max_replicas=8, in_flight_per_replica=8, scale_down_seconds=60, gpus=8)
    memory: Any = {}
    for step in range(12):
        memory = decide(rules, load(8), Replicas(wanted=6, ready=6), memory, START + 5 * step).memory
    for step in range(12, 24):
        decision = decide(rules, load(8), Replicas(wanted=6, ready=1), memory, START + 5 * step)
        memory = decision.memory
        assert decision.replicas == 6
    assert "they go one at a time" in decision.message


def test_without_a_place_the_reason_says_so() -> None:
    assert after(30, Replicas(wanted=2, ready=2, room=0)).reason == "NoRoom"


def test_the_first_replica_is_asked_for_even_without_a_place_and_waits_with_the_scheduler() -> None:
    rules = Policy(min_replicas=0, max_replicas=8, in_flight_per_replica=8, idle_seconds=600)
    held = Load(in_flight=0, held=20, replicas_seen=0, holder_seen=True)
    assert decide(rules, held, Replicas(wanted=0, ready=0, room=0), {}, START).replicas == 1


def test_what_is_only_expected_waits_for_large_replicas_that_still_load() -> None:
    """Bursts of 30 that come again: one GPU is ordered for the next burst at once, eight only when those on their way are there."""

    def bursts(gpus: int, ready: int) -> int:
        rules = Policy(min_replicas=1, max_replicas=8, in_flight_per_replica=8, scale_down_seconds=60, gpus=gpus)
        memory: Any = {}
        for step in range(210):
            requests = 30 if step % 21 >= 18 else 4
            memory = decide(rules, load(requests), Replicas(wanted=2, ready=2), memory, START + 5 * step).memory
        memory = {key: value for key, value in memory.items() if key != "loads"}
        found = decide(rules, load(4), Replicas(wanted=2, ready=ready), memory, START + 1050)
        assert found.replicas is not None
        return found.replicas

    assert bursts(1, 1) == bursts(8, 2) > 2
    assert bursts(8, 1) == 2
