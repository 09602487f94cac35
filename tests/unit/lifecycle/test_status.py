"""The status: each condition's reason and words in the stories that users meet, and what is remembered in it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.builders import NEW, NOT_FOUND, NOW, OLD, Scene, a_pod, context

from llama_operator.api.conditions import MESSAGE_LIMIT, Condition, ConditionType, Reason, find, merge
from llama_operator.api.problems import Problem
from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.observed import Agent, Failures, Unknown, World
from llama_operator.lifecycle.plan import plan
from llama_operator.lifecycle.retry import RetryPolicy
from llama_operator.lifecycle.revision import make_wish
from llama_operator.lifecycle.scaling_view import ScalingView, says_something_new
from llama_operator.lifecycle.status import build_status, failures_from_json, failures_to_json
from llama_operator.planning.admission import Admission, refuse
from llama_operator.planning.parallelism import Parallelism

READY, LOADING, FAILED, BROKEN, PENDING = GangState.READY, GangState.LOADING, GangState.FAILED, GangState.BROKEN, GangState.PENDING
FIXED = ScalingView(enabled=False, desired=2)
ALLOWED = Admission(verdict="unknown", reason=Reason.VALID, message="every field is allowed", split=Parallelism(tensor=1, pipeline=1))
WRONG = [Problem(field=name, given="1", allowed="2", remedy="Correct it.") for name in ("spec.x", "spec.y")]
N = NEW


def status_of(
    world: World, scaling: ScalingView = FIXED, *, admission: Admission = ALLOWED, previous: Any = None, now: float = NOW
) -> dict[str, Any]:
    wish = make_wish(world, context(), scaling.desired)
    decided = plan(world, wish, RetryPolicy(), now)
    return build_status(world, decided, scaling, admission, previous or {}, NEW, now)


def headless() -> World:
    scene = Scene().head().gang(0, READY).gang(1, READY)
    scene.serve[NEW] = Unknown("ConnectTimeout")
    return scene.world()


def busy_head() -> World:
    scene = Scene().head(ready=False)
    scene.agents[f"demo-{N}-head"] = Agent(phase="Starting", message="Ray starts")
    return scene.world()


def percent_story() -> World:
    scene = Scene().head().gang(0, READY).gang(1, LOADING).says(2, running=[0])
    scene.agents[f"demo-{N}-g1-0"] = Agent(phase="LoadingWeights", percent=42.7, message="loading weights: 42 % of 269 MB")
    return scene.world()


A = ConditionType
STORIES: dict[str, tuple[World, ConditionType, str, str, str]] = {
    "before anything runs": (
        Scene().world(),
        A.PROGRESSING,
        "True",
        "HeadStarting",
        "the head pod is not there yet",
    ),
    "a head that cannot be scheduled": (
        Scene().head(ready=False, phase="Pending", unschedulable="0/2 nodes are available").world(),
        A.PROGRESSING,
        "True",
        "HeadStarting",
        "the head starts: 0/2 nodes are available",
    ),
    "a head whose container starts": (
        Scene().head(ready=False).world(),
        A.PROGRESSING,
        "True",
        "HeadStarting",
        f"the head starts: pod demo-{N}-head is Running, not ready yet",
    ),
    "a head that says what it does": (
        busy_head(),
        A.PROGRESSING,
        "True",
        "HeadStarting",
        f"the head starts: pod demo-{N}-head is Running, not ready yet (Ray starts)",
    ),
    "a head that missed a probe and answers all the same": (
        Scene().head(ready=False, ready_since=None).gang(0, READY).gang(1, READY).says(2, running=[0, 1]).world(),
        A.PROGRESSING,
        "False",
        "Complete",
        "2 of 2 replicas are ready",
    ),
    "a load, with its percent": (
        percent_story(),
        A.PROGRESSING,
        "True",
        "Loading",
        "1 of 2 replicas are ready; gang 1: LoadingWeights (loading weights: 42 % of 269 MB)",
    ),
    "gangs that are made in this pass": (
        Scene().head().says(0).world(),
        A.PROGRESSING,
        "True",
        "Loading",
        "0 of 2 replicas are ready; gangs are being made",
    ),
    "a CPU replica without a place": (
        Scene().head().gang(0, PENDING, unschedulable="Insufficient memory").world(),
        A.PROGRESSING,
        "True",
        "WaitingForGpus",
        f"1 of 2 replicas wait for a place: pod demo-{N}-g0-0: Insufficient memory",
    ),
    "a load that failed": (
        Scene().head().gang(0, FAILED).world(),
        A.PROGRESSING,
        "True",
        "BackingOff",
        "attempt 1 failed; the next comes at 2026-09-21T14:13:30Z: /models/x is not there; mount it",
    ),
    "a load that failed, for users": (Scene().head().gang(0, FAILED).world(), A.AVAILABLE, "False", "ModelNotFound", NOT_FOUND.message),
    "a load that failed for the last time": (
        Scene().head().gang(0, FAILED).world(failures=Failures(revision=NEW, attempts=5)),
        A.PROGRESSING,
        "False",
        "RetriesExhausted",
        "6 attempts failed, none follows until the spec changes; the last: /models/x is not there; mount it",
    ),
    "a failure whose pod is gone is still the reason": (
        Scene().head().world(failures=Failures(revision=NEW, attempts=6, reason="OutOfMemory", message="too big")),
        A.AVAILABLE,
        "False",
        "OutOfMemory",
        "too big",
    ),
    "a lost pod": (
        Scene().head().gang(0, READY).gang(1, BROKEN).world(),
        A.PROGRESSING,
        "True",
        "ReplacingGang",
        f"gang 1 of revision {N}: pod demo-{N}-g1-0: Evicted: the node was low on memory",
    ),
    "a lost pod beside one that serves": (
        Scene().head().gang(0, READY).gang(1, BROKEN).world(),
        A.DEGRADED,
        "True",
        "GangIncomplete",
        f"gang 1 of revision {N}: pod demo-{N}-g1-0: Evicted: the node was low on memory",
    ),
    "a failed replica beside one that serves": (
        Scene().head().gang(0, READY).gang(1, FAILED).world(),
        A.DEGRADED,
        "True",
        "ReplicaFailed",
        f"gang 1 of revision {N}: {NOT_FOUND.message}",
    ),
    "a replica that finishes its streams": (
        Scene().head().gang(0, READY).gang(1, READY).gang(2, GangState.DRAINING, in_flight=3).says(3, running=[0, 1, 2]).world(),
        A.PROGRESSING,
        "True",
        "Draining",
        f"gang 2 of revision {N} has 3 requests left",
    ),
    "a new revision": (
        Scene().head().head(OLD).gang(0, READY, OLD).gang(0, LOADING).world(),
        A.PROGRESSING,
        "True",
        "RollingOut",
        f"gangs move to the new revision one at a time (gang 0 of revision {N}: LoadingWeights, gang 0 of revision {OLD}: Ready)",
    ),
    "the head is lost": (
        Scene().gang(0, READY).gang(1, READY).world(),
        A.DEGRADED,
        "True",
        "HeadLost",
        "the Ray head is gone: requests are served, scaling waits for a new one",
    ),
    "the head does not answer": (
        headless(),
        A.DEGRADED,
        "True",
        "HeadLost",
        "the Ray head does not answer (ConnectTimeout): requests are served, scaling waits",
    ),
    "all serve": (Scene().head().gang(0, READY).gang(1, READY).world(), A.PROGRESSING, "False", "Complete", "2 of 2 replicas are ready"),
    "all serve, for users": (
        Scene().head().gang(0, READY).gang(1, READY).world(),
        A.AVAILABLE,
        "True",
        "Serving",
        "2 of 2 wanted replicas serve",
    ),
    "none serves yet": (Scene().head().world(), A.AVAILABLE, "False", "NoReplicaReady", "none of 2 wanted replicas serves yet"),
    "nothing is broken": (Scene().head().gang(0, READY).world(), A.DEGRADED, "False", "Healthy", "nothing is known to be broken"),
    "a deletion": (Scene().head().gang(0, READY).world(deleting=True), A.PROGRESSING, "True", "Deleting", "2 pods are still there"),
    "the end of a deletion": (Scene().world(deleting=True), A.PROGRESSING, "True", "Deleting", "all pods are gone"),
    "a fixed number": (Scene().world(), A.SCALING, "False", "Disabled", "spec.autoscaling is absent; spec.replicas counts"),
    "an accepted spec": (Scene().world(), A.ACCEPTED, "True", "Valid", "every field is allowed"),
}


@pytest.mark.parametrize("story", STORIES)
def test_condition(story: str) -> None:
    world, kind, status, reason, message = STORIES[story]
    found = find(status_of(world)["conditions"], kind)
    assert found is not None
    assert (found["status"], found["reason"], found["message"]) == (status, reason, message)


def test_none_wanted_is_no_failure() -> None:
    status = status_of(Scene().head(traffic=True).says(0).world(), ScalingView(enabled=False, desired=0))
    found = find(status["conditions"], A.AVAILABLE)
    assert found is not None
    assert (found["reason"], status["phase"], status["ready"]) == ("ScaledToZero", "Idle", "0/0")


def test_a_refused_spec_says_what_is_wrong_and_what_runs_goes_on() -> None:
    world = Scene().head().gang(0, READY).world()
    decided = plan(world, None, RetryPolicy(), NOW)
    first = build_status(world, decided, ScalingView(enabled=False, desired=1), refuse(WRONG), {}, None, NOW)
    by_type = {item["type"]: (item["status"], item["reason"], item["message"]) for item in first["conditions"]}
    assert by_type["Accepted"] == ("False", "Invalid", "; ".join(problem.message for problem in WRONG))
    assert by_type["Progressing"] == ("False", "NotAccepted", "nothing is made until the spec is accepted")
    assert by_type["Available"][0] == "True"
    assert (first["phase"], first["reason"]) == ("Invalid", "Invalid")


PHASES: dict[str, tuple[World, tuple[str, str]]] = {
    "Pending until the head is there": (Scene().world(), ("Pending", "HeadStarting")),
    "Pending without GPUs": (Scene().head().gang(0, PENDING, unschedulable="x").world(), ("Pending", "WaitingForGpus")),
    "Loading": (Scene().head().gang(0, LOADING).world(), ("Loading", "Loading")),
    "Scaling while some serve and others come": (percent_story(), ("Scaling", "Loading")),
    "Ready": (Scene().head().gang(0, READY).gang(1, READY).world(), ("Ready", "Serving")),
    "Updating": (Scene().head().head(OLD).gang(0, READY, OLD).world(), ("Updating", "RollingOut")),
    "Failed with the root cause": (Scene().head().gang(0, FAILED).world(), ("Failed", "ModelNotFound")),
    "Degraded where others serve": (Scene().head().gang(0, READY).gang(1, FAILED).world(), ("Degraded", "ModelNotFound")),
    "Deleting": (Scene().head().world(deleting=True), ("Deleting", "Deleting")),
}


@pytest.mark.parametrize("story", PHASES)
def test_phase(story: str) -> None:
    world, want = PHASES[story]
    status = status_of(world)
    assert (status["phase"], status["reason"]) == want


def test_the_replicas_are_listed_with_pods_nodes_whole_percents_and_since_when() -> None:
    status = status_of(percent_story())
    assert status["replicas"][1] == {
        "gang": 1,
        "phase": "LoadingWeights",
        "percent": 42.0,
        "message": "loading weights: 42 % of 269 MB",
        "pods": [f"demo-{N}-g1-0"],
        "nodes": ["node-1"],
        "attempts": 0,
        "since": "2026-09-21T14:13:20Z",
    }
    assert (status["ready"], status["replicaCount"], status["readyReplicas"], status["revision"]) == ("1/2", 2, 1, NEW)
    assert status["endpoint"] == "http://demo.llm.svc/v1"


def test_a_status_stays_the_same_while_nothing_happens() -> None:
    world = percent_story()
    first = status_of(world)
    assert status_of(world, previous=first, now=NOW + 500) == first


def test_a_phase_that_changes_begins_now() -> None:
    first = status_of(percent_story())
    after = Scene().head().gang(0, READY).gang(1, READY).world()
    later = status_of(after, previous=first, now=NOW + 60)
    assert [replica["since"] for replica in later["replicas"]] == ["2026-09-21T14:13:20Z", "2026-09-21T14:14:20Z"]


def scaled(age: float) -> dict[str, Any]:
    signals = [{"name": "requestsInFlight", "value": 4.0, "ageSeconds": age}]
    view = ScalingView(
        enabled=True,
        desired=2,
        reason="Steady",
        message="m",
        metrics_reason="Fresh",
        metrics_message="f",
        signals=signals,
        memory={"since": 1.0},
    )
    return status_of(percent_story(), view)


def test_ages_of_measurements_are_no_news() -> None:
    """What else of scaling is news and what is not: test_scaling_view.py."""
    assert not says_something_new(scaled(1.0), scaled(6.0))
    assert says_something_new({}, scaled(1.0))


def test_the_autoscalers_block_remembers_when_it_last_scaled() -> None:
    first = scaled(1.0)
    assert "lastScaleTime" not in first["autoscaling"]
    view = ScalingView(enabled=True, desired=3, reason="ScaledUp", message="m", metrics_reason="Fresh", metrics_message="f")
    up = status_of(percent_story(), view, previous=first, now=NOW + 60)
    assert up["autoscaling"]["lastScaleTime"] == "2026-09-21T14:14:20Z"
    assert "memory" not in up["autoscaling"]  # an empty one would become null in a server-side apply
    same = status_of(percent_story(), view, previous=up, now=NOW + 90)
    assert same["autoscaling"]["lastScaleTime"] == "2026-09-21T14:14:20Z"


@pytest.mark.parametrize(
    ("reason", "metrics", "want"),
    [
        ("Holding", "PrometheusUnreachable", [("Scaling", "False", "Holding"), ("MetricsAvailable", "False", "PrometheusUnreachable")]),
        ("ScaledUp", "Fresh", [("Scaling", "True", "ScaledUp"), ("MetricsAvailable", "True", "Fresh")]),
    ],
)
def test_the_conditions_of_scaling(reason: str, metrics: str, want: list[tuple[str, str, str]]) -> None:
    view = ScalingView(enabled=True, desired=2, reason=reason, message="m", metrics_reason=metrics, metrics_message="f")
    conditions = status_of(percent_story(), view)["conditions"]
    assert [
        (item["type"], item["status"], item["reason"]) for item in conditions if item["type"] in ("Scaling", "MetricsAvailable")
    ] == want


@pytest.mark.parametrize(
    "failures",
    [
        Failures(revision=NEW, attempts=2, reason="OutOfMemory", message="x", next_retry=NOW + 20, counted_until=NOW),
        Failures(revision=NEW, attempts=6, reason="OutOfMemory", message="x"),
    ],
)
def test_the_memory_of_failures_survives_the_status(failures: Failures) -> None:
    assert failures_from_json({"failures": failures_to_json(failures)}) == failures


def test_no_status_is_an_empty_memory() -> None:
    assert failures_from_json({}) == Failures()


def condition(status: Any, reason: str = "R", message: str = "m") -> Condition:
    return Condition(type=A.AVAILABLE, status=status, reason=reason, message=message)


def test_a_condition_keeps_its_transition_time_while_its_status_stays() -> None:
    first = merge([], [condition("False")], generation=1, now="T1")
    same = merge(first, [condition("False", "Other", "words")], generation=2, now="T2")
    turned = merge(same, [condition("True")], generation=2, now="T3")
    assert [step[0]["lastTransitionTime"] for step in (first, same, turned)] == ["T1", "T1", "T3"]
    assert (same[0]["reason"], same[0]["observedGeneration"]) == ("Other", 2)


def test_conditions_that_are_no_longer_decided_are_dropped_and_broken_ones_replaced() -> None:
    merged = merge([{"type": "Old"}, {"type": "Available", "status": "False"}, {}], [condition("False")], generation=1, now="T")
    assert [(item["type"], item["lastTransitionTime"]) for item in merged] == [("Available", "T")]


def test_a_long_message_is_cut_with_a_mark() -> None:
    (item,) = merge([], [condition("False", message="x" * 5000)], generation=1, now="T")
    assert (len(item["message"]), item["message"][-1]) == (MESSAGE_LIMIT, "…")


def test_only_one_gang_is_described_for_a_pod_that_was_replaced() -> None:
    scene = Scene(size=2).head().gang(0, READY)
    scene.pods.append(a_pod(1, 0, phase="Pending", ready=False))
    status = status_of(scene.world())
    assert [(item["gang"], item["phase"], item["message"]) for item in status["replicas"]] == [
        (0, "Ready", ""),
        (1, "Pending", "rank 1 is not made yet"),
    ]
