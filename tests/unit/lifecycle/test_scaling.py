"""What the autoscaler decides on: the policy of a spec and its plan, what speaks against taking away, and what has a place."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.builders import NEW, NOW, OLD, Scene, spec

from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.observed import NodeGpus
from llama_operator.lifecycle.scaling import asks_for_gpus, first_wanted, policy_of, replicas_of, room
from llama_operator.planning.gpus import GangShape
from llama_operator.planning.hardware.requests import Holder
from llama_operator.planning.replica import SHARE
from llama_operator.scaling.bounds import bounds_at
from llama_operator.scaling.policy import Policy, Replicas

PLAN = {"prefillTokensPerSecond": 10_000.0, "decodeFloorSeconds": 0.02, "kvCacheTokens": 500_000, "predictedLoadSeconds": 240.0}
GPUS: dict[str, Any] = {
    "model": {"source": "hf://meta-llama/Llama-3.1-405B-Instruct-FP8", "licenseAccepted": True},
    "hardware": {"accelerator": "nvidia-h100-80gb"},
    "parallelism": {"tensor": 8},
    "engine": {"type": "vllm"},
}


def policy(of: Any, plan: Any) -> Policy:
    """The policy of a spec within its own bounds."""
    return policy_of(of, plan, bounds_at(of.autoscaling, NOW))


def scaled(objective: dict[str, Any], **over: Any) -> Any:
    fields = over.pop("scaling", {})
    return spec(**{**GPUS, **over}, autoscaling={"maxReplicas": 4, "objective": objective, **fields})


def test_a_time_to_first_token_takes_its_service_and_its_load_time_from_the_plan() -> None:
    made = policy(scaled({"timeToFirstTokenSeconds": 6, "percentile": 99}), PLAN)
    assert made.service is not None
    assert (made.ttft_seconds, made.percentile, made.load_seconds, made.gpus) == (6, 0.99, 240, 8)
    service = made.service
    assert (service.prefill, service.itl, service.slots, service.kv) == (10_000 * SHARE, 0.02 / SHARE, 1024, 500_000)


def test_the_percentile_is_95_where_none_is_given_and_slots_are_the_engine_s_where_they_are() -> None:
    made = policy(scaled({"timeToFirstTokenSeconds": 6}, engine={"type": "vllm", "args": {"max_num_seqs": 48}}), PLAN)
    assert made.service is not None
    assert (made.percentile, made.service.slots) == (0.95, 48)


def test_the_simulated_engine_s_service_are_its_arguments() -> None:
    args = {"loadSeconds": 30, "tokensPerSecond": 10, "prefillTokensPerSecond": 500, "slots": 4}
    made = policy(spec(engine={"type": "simulated", "args": args}, autoscaling=scaling(timeToFirstTokenSeconds=2)), None)
    assert made.service is not None
    assert (made.service.prefill, made.service.itl, made.service.slots, made.load_seconds) == (500, 0.1, 4, 30)


def scaling(**objective: Any) -> dict[str, Any]:
    return {"maxReplicas": 4, "objective": objective}


def test_requests_in_flight_need_no_plan_and_take_its_load_time_where_there_is_one() -> None:
    assert policy(scaled({"inFlightPerReplica": 8}), None).load_seconds is None
    known = policy(scaled({"inFlightPerReplica": 8}), PLAN)
    assert (known.load_seconds, known.service) == (240, None)


@pytest.mark.parametrize("objective", [{"inFlightPerReplica": 8}, {"timeToFirstTokenSeconds": 6}])
def test_a_down_window_that_is_not_given_is_the_policys_own_whatever_the_objective(objective: dict[str, Any]) -> None:
    assert policy(scaled(objective), PLAN).scale_down_seconds is None
    assert policy(scaled(objective, scaling={"scaleDownStabilizationSeconds": 300}), PLAN).scale_down_seconds == 300


def test_an_objective_without_a_plan_cannot_come_this_far() -> None:
    with pytest.raises(TypeError, match="must have been refused"):
        policy(scaled({"timeToFirstTokenSeconds": 6}), None)


@pytest.mark.parametrize(
    ("fields", "idle"),
    [({}, None), ({"minReplicas": 0}, 1800), ({"minReplicas": 0, "scaleToZeroAfter": "1h30m"}, 5400), ({"minReplicas": 2}, None)],
)
def test_only_a_minimum_of_zero_lets_the_last_one_go(fields: dict[str, Any], idle: float | None) -> None:
    assert policy(scaled({"inFlightPerReplica": 8}, scaling=fields), None).idle_seconds == idle


def test_a_window_that_keeps_a_replica_keeps_it_awake() -> None:
    always = {"name": "day", "start": "0 0 * * *", "duration": "24h", "minReplicas": 1}
    made = policy(scaled({"inFlightPerReplica": 8}, scaling={"minReplicas": 0, "schedules": [always]}), None)
    assert (made.min_replicas, made.idle_seconds, made.sleeps) == (1, None, False)


def test_a_deployment_that_may_sleep_begins_with_one_replica() -> None:
    made = policy(scaled({"inFlightPerReplica": 8}, scaling={"minReplicas": 0}), None)
    assert first_wanted([], made) == 1
    assert first_wanted(Scene().gang(0, GangState.READY).gang(1, GangState.LOADING).gangs(), made) == 2


UNSETTLED: dict[str, tuple[Scene, str]] = {
    "all is well": (Scene().head().gang(0, GangState.READY), ""),
    "one drains": (Scene().head().gang(0, GangState.READY).gang(1, GangState.DRAINING), ""),
    "one loads": (Scene().head().gang(0, GangState.READY).gang(1, GangState.LOADING), ""),
    "an older revision": (Scene().head().gang(0, GangState.READY).gang(0, GangState.READY, OLD), "a rollout is under way"),
    "one broke": (Scene().head().gang(0, GangState.READY).gang(1, GangState.BROKEN), f"gang 1 of revision {NEW} is being repaired"),
    "one failed": (Scene().head().gang(0, GangState.READY).gang(1, GangState.FAILED), f"gang 1 of revision {NEW} is being repaired"),
    "the head is gone": (Scene().gang(0, GangState.READY), "the head is not ready"),
    "the head starts": (Scene().head(ready=False).gang(0, GangState.READY), "the head is not ready"),
    "the head is busy and answers": (Scene().head(ready=False).gang(0, GangState.READY).says(1, running=[0]), ""),
}


@pytest.mark.parametrize("sentence", UNSETTLED)
def test_nothing_is_taken_away_while(sentence: str) -> None:
    scene, why = UNSETTLED[sentence]
    assert replicas_of(scene.world(), scene.gangs(), 1, NEW).unsettled == why


@pytest.mark.parametrize(("late", "why"), [(0, "a rollout is under way"), (59, "a rollout is under way"), (61, "")])
def test_an_older_revision_on_a_dead_node_does_not_keep_a_rollout_under_way_for_ever(late: float, why: str) -> None:
    scene = Scene(size=2).head().gang(0, GangState.READY).gang(0, GangState.TERMINATING, OLD, delete_by=NOW - late)
    assert replicas_of(scene.world(now=NOW), scene.gangs(now=NOW), 1, NEW).unsettled == why


def test_what_there_is() -> None:
    scene = Scene().head().gang(0, GangState.READY).gang(1, GangState.READY, ready_since=NOW - 7).gang(2, GangState.DRAINING)
    found = replicas_of(scene.world(), scene.gangs(), 3, NEW)
    assert found == Replicas(wanted=3, ready=2, newest=NOW - 7, leaving=1)


@pytest.mark.parametrize(("late", "want"), [(0, 1), (59, 1), (61, 0), (3600, 0)])
def test_a_gang_on_a_dead_node_is_not_waited_for_longer_than_a_live_one_would_need(late: float, want: int) -> None:
    scene = Scene(size=2).head().gang(0, GangState.READY).gang(1, GangState.TERMINATING, delete_by=NOW - late)
    assert replicas_of(scene.world(now=NOW), scene.gangs(now=NOW), 1, NEW).leaving == want


@pytest.mark.parametrize(
    ("free", "gang", "pending", "want"),
    [
        ((8, 8), GangShape(pods=1, gpus_per_pod=8, stages_per_pod=1), 0, 2),
        ((7, 7, 7), GangShape(pods=1, gpus_per_pod=8, stages_per_pod=1), 0, 0),
        ((8, 8, 4), GangShape(pods=2, gpus_per_pod=8, stages_per_pod=1), 0, 1),
        ((8, 4), GangShape(pods=1, gpus_per_pod=4, stages_per_pod=1), 0, 3),
        ((8, 8), GangShape(pods=1, gpus_per_pod=8, stages_per_pod=1), 1, 1),
        ((8,), GangShape(pods=1, gpus_per_pod=8, stages_per_pod=1), 2, 0),
        ((), GangShape(pods=1, gpus_per_pod=8, stages_per_pod=1), 0, 0),
    ],
)
def test_room_is_counted_in_whole_gangs_on_whole_nodes_without_those_that_wait_already(
    free: tuple[int, ...], gang: GangShape, pending: int, want: int
) -> None:
    scene = Scene().head()
    for number in range(pending):
        scene.gang(number, GangState.PENDING)
    nodes = [NodeGpus(node=f"n{index}", total=8, free=count) for index, count in enumerate(free)]
    holders = [Holder(pod="other/x", node=f"n{index}", gpus=8 - count) for index, count in enumerate(free) if count < 8]
    found, why = room(scene.world(), gang, nodes, holders)
    assert found == want
    assert "where a node autoscaler runs, set spec.podTemplate.spec.priorityClassName" in why


def test_room_is_not_looked_for_where_no_gpu_is_asked_for_or_others_may_be_driven_away() -> None:
    assert asks_for_gpus(scaled({"inFlightPerReplica": 8})) is not None
    assert asks_for_gpus(spec(autoscaling=scaling(inFlightPerReplica=8))) is None
    urgent = {"spec": {"priorityClassName": "serving-first"}}
    assert asks_for_gpus(scaled({"inFlightPerReplica": 8}, podTemplate=urgent)) is None


def test_a_window_sets_the_bounds_while_it_is_open_and_one_with_a_minimum_of_zero_lets_the_last_one_go() -> None:
    always = {"start": "0 0 * * *", "duration": "24h"}
    day = [{"name": "day", "minReplicas": 2, "maxReplicas": 3, **always}]
    made = policy(scaled({"inFlightPerReplica": 8}, scaling={"minReplicas": 0, "schedules": day}), None)
    assert (made.min_replicas, made.max_replicas, made.sleeps) == (2, 3, False)
    assert made.bounded_by == ("minReplicas of window day", "maxReplicas of window day")
    night = [{"name": "night", "minReplicas": 0, **always}]
    assert policy(scaled({"inFlightPerReplica": 8}, scaling={"minReplicas": 0, "schedules": night}), None).sleeps
