"""What state a gang is in, which one a scale-down takes, and which numbers are free."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.builders import NEW, NOT_FOUND, NOW, OLD, Scene, a_head, a_pod

from llama_operator.lifecycle.gangs import GangState, free_numbers, gangs_of, victim_order
from llama_operator.lifecycle.observed import Agent, Pod, RootCause, Unknown

RUNS = {"ready": False, "ready_since": None}


@pytest.mark.parametrize("state", list(GangState))
def test_each_state_is_recognised_in_a_gang_of_two_pods(state: GangState) -> None:
    (gang,) = Scene(size=2).gang(3, state).gangs()
    assert (gang.state, gang.number, len(gang.pods)) == (state, 3, 2)


CASES: dict[str, tuple[list[Pod], dict[str, Agent | Unknown], GangState, str]] = {
    "pods that wait for a node are Pending, with the scheduler's words": (
        [a_pod(phase="Pending", unschedulable="0/2 nodes are available: 2 Insufficient nvidia.com/gpu", **RUNS), a_pod(0, 1)],
        {},
        GangState.PENDING,
        "pod demo-aaaaaaaaaa-g0-0: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu",
    ),
    "an image that cannot be pulled is said": (
        [a_pod(phase="Pending", waiting="ImagePullBackOff: no such image", **RUNS), a_pod(0, 1)],
        {},
        GangState.PENDING,
        "pod demo-aaaaaaaaaa-g0-0: ImagePullBackOff: no such image",
    ),
    "one pod that is still being started keeps the gang Pending": (
        [a_pod(**RUNS), a_pod(0, 1, phase="Pending", **RUNS)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="LoadingWeights")},
        GangState.PENDING,
        "",
    ),
    "a pod that was never made is made: the gang is not broken": (
        [a_pod(phase="Pending", **RUNS)],
        {},
        GangState.PENDING,
        "rank 1 is not made yet",
    ),
    "a running gang that lost a pod is broken": (
        [a_pod()],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Ready")},
        GangState.BROKEN,
        "the pod of rank 1 is gone",
    ),
    "a gang that lost its leader is broken": ([a_pod(0, 1)], {}, GangState.BROKEN, "the pod of rank 0 is gone"),
    "a pod that ended breaks the gang": (
        [a_pod(), a_pod(0, 1, phase="Failed", ended="Evicted: low on memory", **RUNS)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Ready")},
        GangState.BROKEN,
        "pod demo-aaaaaaaaaa-g0-1: Evicted: low on memory",
    ),
    "a failure that the agent explained is a failed load, even where the container has ended since": (
        [a_pod(phase="Failed", ended="Error", **RUNS), a_pod(0, 1)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Failed", root_cause=NOT_FOUND)},
        GangState.FAILED,
        NOT_FOUND.message,
    ),
    "the failure of a follower fails the gang": (
        [a_pod(**RUNS), a_pod(0, 1, **RUNS)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Starting"), "demo-aaaaaaaaaa-g0-1": Agent(phase="Failed", root_cause=NOT_FOUND)},
        GangState.FAILED,
        NOT_FOUND.message,
    ),
    "an agent that does not answer for a moment leaves a ready pod ready": (
        [a_pod(), a_pod(0, 1)],
        {"demo-aaaaaaaaaa-g0-0": Unknown("ConnectTimeout")},
        GangState.READY,
        "the agent does not answer",
    ),
    "a pod whose agent never answered is Starting": ([a_pod(**RUNS), a_pod(0, 1)], {}, GangState.STARTING, "the agent does not answer"),
    "an engine that is ready behind a proxy that is not is WarmingUp": (
        [a_pod(**RUNS), a_pod(0, 1)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Ready")},
        GangState.WARMING,
        "its engine is ready, its proxy is not yet",
    ),
    "a phase that this operator does not know counts as Starting": (
        [a_pod(**RUNS), a_pod(0, 1)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Compiling")},
        GangState.STARTING,
        "",
    ),
    "a pod that drains by itself, because it is being stopped, is leaving": (
        [a_pod(**RUNS), a_pod(0, 1)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Draining")},
        GangState.TERMINATING,
        "",
    ),
    "one pod on its way out takes the whole gang with it": (
        [a_pod(), a_pod(0, 1, deleting=True)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Ready")},
        GangState.TERMINATING,
        "",
    ),
    "a drain that reached one pod only is a drain": (
        [a_pod(drain_since=NOW), a_pod(0, 1)],
        {"demo-aaaaaaaaaa-g0-0": Agent(phase="Ready")},
        GangState.DRAINING,
        "",
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_gang_state(sentence: str) -> None:
    pods, agents, state, why = CASES[sentence]
    (gang,) = Scene(size=2, pods=list(pods), agents=agents).gangs()
    assert (gang.state, gang.why) == (state, why)


@pytest.mark.parametrize(
    ("joined", "seconds", "head", "state"),
    [
        (True, 241, {"ready_since": NOW - 900}, GangState.BROKEN),
        (True, 240, {"ready_since": NOW - 900}, GangState.STARTING),
        (False, 10_000, {"ready_since": NOW - 900}, GangState.STARTING),
        (True, 10_000, {"ready_since": NOW - 240}, GangState.STARTING),
        (True, 10_000, {"ready_since": None, "ready": False}, GangState.STARTING),
        (True, 10_000, None, GangState.STARTING),
    ],
    ids=["too long", "long", "it has not joined Ray, and so waits for its head", "the head is young", "the head is not ready", "no head"],
)
def test_a_gang_on_which_a_ready_head_places_nothing_is_replaced(
    joined: bool, seconds: float, head: dict[str, Any] | None, state: GangState
) -> None:
    agents: dict[str, Agent | Unknown] = {"demo-aaaaaaaaaa-g0-0": Agent(phase="Starting", joined=joined, since=NOW - seconds)}
    scene = Scene(pods=[a_pod(**RUNS)], agents=agents)
    (gang,) = (scene if head is None else scene.head(**head)).gangs(now=NOW)
    assert gang.state is state


def test_the_root_cause_travels_with_the_failed_gang() -> None:
    (gang,) = Scene().gang(0, GangState.FAILED).gangs()
    assert gang.cause == RootCause(reason="ModelNotFound", message="/models/x is not there; mount it", retryable=False)


def test_heads_are_no_gangs_and_gangs_come_by_revision_and_number() -> None:
    scene = Scene().head().gang(10, GangState.READY).gang(2, GangState.READY).gang(7, GangState.READY, OLD)
    assert [(gang.revision, gang.number) for gang in scene.gangs()] == [(NEW, 2), (NEW, 10), (OLD, 7)]


def test_only_gangs_that_are_or_will_be_of_use_count_as_replicas() -> None:
    scene = Scene()
    for number, state in enumerate(GangState):
        scene.gang(number, state)
    counted = {gang.state for gang in scene.gangs() if gang.counts}
    assert set(GangState) - counted == {GangState.FAILED, GangState.DRAINING, GangState.TERMINATING}


def test_a_gang_of_an_unknown_revision_is_judged_by_the_pods_it_has() -> None:
    (gang,) = Scene().gang(0, GangState.READY, OLD).gangs(pinned={})
    assert gang.state is GangState.READY


VICTIMS: dict[str, tuple[Scene, list[int]]] = {
    "those that serve nobody go first, the least advanced of them before the others": (
        Scene()
        .gang(0, GangState.READY)
        .gang(1, GangState.WARMING)
        .gang(2, GangState.PENDING)
        .gang(3, GangState.LOADING)
        .gang(4, GangState.STARTING),
        [2, 4, 3, 1, 0],
    ),
    "then the emptiest": (
        Scene()
        .gang(0, GangState.READY, in_flight=5)
        .gang(1, GangState.READY, in_flight=0, created=NOW - 900)
        .gang(2, GangState.READY, in_flight=3),
        [1, 2, 0],
    ),
    "one that does not say how busy it is goes last": (
        Scene().gang(0, GangState.READY, in_flight=None).gang(1, GangState.READY, in_flight=400),
        [1, 0],
    ),
    "of equally busy ones the youngest": (
        Scene()
        .gang(0, GangState.READY, created=NOW - 50)
        .gang(1, GangState.READY, created=NOW - 20)
        .gang(2, GangState.READY, created=NOW - 90),
        [1, 0, 2],
    ),
    "of equally old ones the one that is alone on its node, which then is free": (
        Scene().gang(0, GangState.READY, node="n1").gang(1, GangState.READY, node="n1").gang(2, GangState.READY, node="n2"),
        [2, 1, 0],
    ),
    "at last the highest number, so that the order is always the same": (
        Scene().gang(0, GangState.READY).gang(1, GangState.READY),
        [1, 0],
    ),
}


@pytest.mark.parametrize("sentence", VICTIMS)
def test_a_scale_down_takes(sentence: str) -> None:
    scene, order = VICTIMS[sentence]
    assert [gang.number for gang in victim_order(reversed(scene.gangs()))] == order


@pytest.mark.parametrize(
    ("taken", "count", "numbers"),
    [([], 3, [0, 1, 2]), ([0, 1], 2, [2, 3]), ([0, 2, 2], 2, [1, 3]), ([5], 0, []), ([1], 1, [0])],
)
def test_new_gangs_get_the_smallest_numbers_that_no_pod_bears(taken: list[int], count: int, numbers: list[int]) -> None:
    assert free_numbers(taken, count) == numbers


def test_a_gang_says_which_it_is() -> None:
    (gang,) = Scene().gang(4, GangState.READY).gangs()
    assert str(gang) == "gang 4 of revision aaaaaaaaaa"
    assert gang.leader is not None
    assert (gang.leader.rank, gang.created) == (0, NOW - 100)


def test_a_head_beside_it_changes_nothing() -> None:
    world = Scene().gang(0, GangState.READY).world()
    with_head = replace(world, pods=(*world.pods, a_head()))
    assert gangs_of(with_head) == gangs_of(world)
