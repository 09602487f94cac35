"""One look of the autoscaler: what it asks Prometheus, whom it expects to see, and what it wants while it is blind."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from tests.harness.builders import NEW, NOW, OLD, Scene, spec

from llama_operator.control import autoscaler
from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.observed import NodeGpus, Unknown
from llama_operator.lifecycle.scaling_view import ScalingView
from llama_operator.planning.hardware.requests import Holder
from llama_operator.scaling.signals import Missing, Series
from llama_operator.telemetry import names as metric

AUTO = {"minReplicas": 1, "maxReplicas": 4, "objective": {"inFlightPerReplica": 8}, "scaleDownStabilizationSeconds": 60}


class Answers:
    """A Prometheus that says what it is told to, and remembers what it was asked."""

    def __init__(self, *loads: tuple[str, float]) -> None:
        self.asked: list[str] = []
        self._series: Sequence[Series] | Missing = [
            Series(name=metric.SERVE_PROCESSING, pod=pod, revision=NEW, time=NOW - 1, value=value) for pod, value in loads
        ]

    def says(self, series: Sequence[Series]) -> None:
        self._series = series

    async def newest(self, selector: str) -> Sequence[Series] | Missing:
        self.asked.append(selector)
        return self._series


def look(answers: Answers, scene: Scene, previous: dict[str, Any] | None = None, **over: Any) -> ScalingView:
    made = spec(autoscaling=AUTO) if not over else spec(**over)
    return asyncio.run(autoscaler.look(answers, made, scene.world(), previous or {}, 15.0, NOW))


G0, G1 = f"demo-{NEW}-g0-0", f"demo-{NEW}-g1-0"


def test_without_autoscaling_the_spec_counts_and_nobody_is_asked() -> None:
    answers = Answers()
    assert look(answers, Scene(), replicas=3) == ScalingView(enabled=False, desired=3)
    assert answers.asked == []


def test_it_asks_for_this_deployment_in_this_namespace() -> None:
    answers = Answers((G0, 1))
    look(answers, Scene().gang(0, GangState.READY))
    assert 'namespace="llm",llama_operator_dev_deployment="demo"' in answers.asked[0]
    assert answers.asked[0].endswith("}[60s]")


def test_it_scales_up_and_reports_its_signals() -> None:
    view = look(Answers((G0, 20)), Scene().gang(0, GangState.READY), {"autoscaling": {"desiredReplicas": 1}})
    assert (view.desired, view.reason, view.metrics_reason) == (3, "ScaledUp", "Fresh")
    # No proxy says whether it holds any: that is not none.
    assert view.signals == [{"name": "requestsInFlight", "value": 20.0, "ageSeconds": 1.0}, {"name": "requestsHeld"}]


def test_each_signal_and_each_vote_has_the_age_of_what_it_is_made_of() -> None:
    answers, scene = Answers(), Scene().gang(0, GangState.READY)
    # Family: age, value, and value 10 s before.
    seen = {
        metric.SERVE_PROCESSING: (2, 9.0, 9.0),
        metric.VLLM_RUNNING: (3, 7.0, 7.0),
        metric.VLLM_WAITING: (4, 2.0, 2.0),
        metric.SERVE_QUEUED: (1, 1.0, 1.0),
        metric.VLLM_PROMPT_TOKENS: (6, 5000.0, 4000.0),
        metric.VLLM_OUTPUT_TOKENS: (7, 900.0, 800.0),
        metric.VLLM_KV_USE: (8, 0.12345, 0.1),
    }
    answers.says(
        [
            Series(name=name, pod=G0, revision=NEW, time=NOW - age, value=value, before=(NOW - age - 10, before))
            for name, (age, value, before) in seen.items()
        ]
    )
    view = look(answers, scene, autoscaling={"maxReplicas": 4, "objective": {"timeToFirstTokenSeconds": 6}})
    assert [(item["name"], item["value"], item["ageSeconds"]) for item in view.signals] == [
        ("requestsInFlight", 9.0, 4),
        ("requestsHeld", 1.0, 1),
        ("running", 7.0, 3),
        ("waiting", 2.0, 4),
        ("promptTokensPerSecond", 100.0, 6),
        ("outputTokensPerSecond", 10.0, 7),
        ("kvCacheUse", 0.123, 8),
    ]
    assert [(vote.signal, vote.age_seconds) for vote in view.votes] == [("slots", 4), ("prompts", 6), ("cache", 8)]


@pytest.mark.parametrize(("requests", "value"), [(40.0, 3.8), (19.0, None)])
def test_the_vote_of_the_first_token_tells_the_measured_time_or_that_too_few_came(requests: float, value: float | None) -> None:
    answers, scene = Answers(), Scene().gang(0, GangState.READY)
    working = {metric.VLLM_RUNNING: 4.0, metric.VLLM_PROMPT_TOKENS: 5000.0, metric.VLLM_OUTPUT_TOKENS: 900.0, metric.VLLM_KV_USE: 0.1}
    at: dict[str, Any] = {"pod": G0, "revision": NEW, "time": NOW - 2}
    buckets = {2.0: 0.0, 4.0: requests, math.inf: requests}
    answers.says(
        [Series(name=name, value=value, before=(NOW - 12, value), **at) for name, value in working.items()]
        + [
            Series(name=metric.VLLM_FIRST_TOKEN, bound=bound, value=rise, oldest=(NOW - 60, 0.0), **{**at, "time": NOW - 9})
            for bound, rise in buckets.items()
        ]
    )
    objective = {"timeToFirstTokenSeconds": 6, "percentile": 90}
    view = look(answers, scene, autoscaling={"maxReplicas": 4, "objective": objective})
    vote = view.votes[-1]
    assert (vote.signal, vote.value, vote.age_seconds) == ("firstToken", value if value is None else pytest.approx(value), 9)
    assert vote.replicas is not None


@pytest.mark.parametrize(
    ("given", "seconds", "why"),
    [
        ({"scaleDownStabilizationSeconds": 60}, 60, "as scaleDownStabilizationSeconds says"),
        ({}, 160, "by what being wrong costs, at loads of 20 s"),
    ],
)
def test_it_tells_the_down_window_that_holds_also_while_it_is_blind(given: dict[str, Any], seconds: float, why: str) -> None:
    auto = {"minReplicas": 1, "maxReplicas": 4, "objective": {"inFlightPerReplica": 8}, **given}
    kept = {"autoscaling": {"desiredReplicas": 1, "memory": {"loads": {"wanted": 1, "orders": [], "samples": [20.0]}}}}
    for answers in (Answers((G0, 1)), Answers()):
        view = look(answers, Scene().gang(0, GangState.READY), kept, autoscaling=auto)
        assert view.down is not None
        assert (view.down.seconds, view.down.why) == (seconds, why)


def test_at_the_first_look_it_starts_from_what_is_there_within_the_bounds() -> None:
    scene = Scene().gang(0, GangState.READY).gang(1, GangState.LOADING).gang(2, GangState.LOADING)
    assert look(Answers((G0, 1)), scene).desired == 3
    assert look(Answers((G0, 1)), Scene()).desired == 1
    crowd = Scene()
    for number in range(7):
        crowd.gang(number, GangState.LOADING)
    assert look(Answers((G0, 1)), crowd).desired == 4


def test_blind_it_keeps_what_was_wanted_and_says_why() -> None:
    scene = Scene().gang(0, GangState.READY)
    view = look(Answers(), scene, {"autoscaling": {"desiredReplicas": 3, "memory": {"since": 5.0}}})
    assert (view.desired, view.reason, view.metrics_reason, view.memory) == (3, "Holding", "MetricsMissing", {"since": 5.0})
    assert (view.metrics_message, view.signals) == (f"Prometheus has no request metric of pod {G0}, which serves", [])


def test_blind_it_still_obeys_bounds_that_were_narrowed() -> None:
    assert look(Answers(), Scene().gang(0, GangState.READY), {"autoscaling": {"desiredReplicas": 9}}).desired == 4


@pytest.mark.parametrize(("since", "reason"), [(NOW - 5, "Fresh"), (None, "Fresh"), (NOW - 16, "MetricsMissing")])
def test_a_replica_that_only_just_became_ready_need_not_be_seen_yet(since: float | None, reason: str) -> None:
    scene = Scene().gang(0, GangState.READY).gang(1, GangState.READY, ready_since=since)
    assert look(Answers((G0, 1)), scene).metrics_reason == reason


def test_replicas_of_the_old_revision_are_load_too() -> None:
    scene = Scene().gang(0, GangState.READY).gang(0, GangState.READY, OLD)
    view = look(Answers((G0, 9), (f"demo-{OLD}-g0-0", 9)), scene, {"autoscaling": {"desiredReplicas": 2}})
    assert view.desired == 3


@pytest.mark.parametrize(
    ("previous", "wanted"),
    [
        ({}, 0),
        ({"ready": "1/3"}, 3),
        ({"ready": "0/2", "replicaCount": 1, "autoscaling": {"desiredReplicas": 2}}, 2),
        ({"ready": "0/0"}, 0),
        # Nobody looks for the request that would bring one.
        ({"ready": "0/0", "autoscaling": {"desiredReplicas": 0}}, 1),
        ({"ready": "?"}, 0),
    ],
)
def test_while_the_spec_is_refused_what_was_wanted_stays_wanted(previous: dict[str, Any], wanted: int) -> None:
    assert autoscaler.keep(previous) == ScalingView(enabled=False, desired=wanted)


GPUS = {"hardware": {"accelerator": "nvidia-h100-80gb"}, "parallelism": {"tensor": 8}}


def looked_for_rooms(free: Sequence[int] | None, requests: float, **over: Any) -> tuple[ScalingView, list[str]]:
    """The view of a deployment with one ready replica of two wanted GPUs' worth, and what was looked up."""
    asked: list[str] = []

    async def rooms(resource: str, most_age: float) -> tuple[Sequence[NodeGpus] | Unknown, Sequence[Holder]]:
        asked.append(f"{resource} {most_age:.0f}")
        if free is None:
            return Unknown("forbidden"), ()
        return [NodeGpus(node=f"n{index}", total=8, free=count) for index, count in enumerate(free)], ()

    made = spec(autoscaling=AUTO, **{**GPUS, **over})
    world, previous = Scene().gang(0, GangState.READY).world(), {"autoscaling": {"desiredReplicas": 1}}
    return asyncio.run(autoscaler.look(Answers((G0, requests)), made, world, previous, 15.0, NOW, rooms=rooms)), asked


@pytest.mark.parametrize(
    ("free", "requests", "want", "reason", "asked"),
    [
        ([8, 8, 8], 20, 3, "ScaledUp", (20, 0)),
        ([8, 4], 20, 2, "ScaledUp", (20, 0)),
        ([4, 4], 20, 1, "NoRoom", (20,)),
        (None, 20, 3, "ScaledUp", (20, 0)),
        ([8], 4, 1, "Steady", ()),
    ],
)
def test_a_gang_that_has_no_place_is_not_asked_for_and_free_gpus_are_looked_up_only_before_a_scale_up(
    free: Sequence[int] | None, requests: float, want: int, reason: str, asked: Sequence[int]
) -> None:
    view, looked = looked_for_rooms(free, requests)
    assert (view.desired, view.reason, looked) == (want, reason, [f"nvidia.com/gpu {age}" for age in asked])
    if reason == "NoRoom":
        assert "8 GPUs are free, on 2 nodes (n0: 4, n1: 4); a gang needs 8 on one node" in view.message


def test_where_no_gpu_is_needed_nobody_looks_for_one() -> None:
    view, looked = looked_for_rooms([], 20, hardware={"accelerator": "cpu"}, parallelism={})
    assert (view.desired, looked) == (3, [])


def test_it_asks_for_a_histogram_and_for_the_last_request_only_where_they_are_needed() -> None:
    def asked(**scaling: Any) -> str:
        answers = Answers((G0, 1))
        look(answers, Scene().gang(0, GangState.READY), autoscaling={"maxReplicas": 4, **scaling})
        return answers.asked[0]

    plain = asked(objective={"inFlightPerReplica": 8})
    assert metric.VLLM_FIRST_TOKEN not in plain
    assert metric.LAST_REQUEST not in plain
    assert metric.VLLM_FIRST_TOKEN in asked(objective={"timeToFirstTokenSeconds": 6})
    assert metric.LAST_REQUEST in asked(objective={"inFlightPerReplica": 8}, minReplicas=0)


@pytest.mark.parametrize(
    ("series", "want", "reason", "metrics"),
    [
        ([], 0, "Holding", "MetricsMissing"),
        ([(metric.REQUESTS_IN_FLIGHT, 0.0)], 0, "Holding", "MetricsMissing"),
        ([(metric.SERVE_QUEUED, 0.0)], 0, "ScaledToZero", "Fresh"),
        ([(metric.SERVE_QUEUED, 1.0)], 1, "ScaledUp", "Fresh"),
    ],
)
def test_at_zero_what_the_head_holds_is_all_there_is_to_see(series: list[tuple[str, float]], want: int, reason: str, metrics: str) -> None:
    answers, scene = Answers(), Scene().head()
    answers.says([Series(name=name, pod=scene.pods[0].name, revision=NEW, time=NOW - 1, value=value) for name, value in series])
    view = look(answers, scene, {"autoscaling": {"desiredReplicas": 0}}, autoscaling={**AUTO, "minReplicas": 0})
    assert (view.desired, view.reason, view.metrics_reason) == (want, reason, metrics)
