"""The operator's own metrics: what they say, how many they are, and that they go with their owner."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.actions import Delete
from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.lifecycle.measures import Happened, Seen, gauges, happened
from llama_operator.lifecycle.observed import Agent, Failures, Pod, World
from llama_operator.lifecycle.plan import Plan
from llama_operator.lifecycle.scaling_view import BoundsView, ScalingView, VoteView
from llama_operator.rendering.names import Key
from llama_operator.telemetry import cost_metrics
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry.catalogue import look_up
from llama_operator.telemetry.exposition import Sample

MOST_SERIES = 5_000
DEPLOYMENTS = 200
KEY = Key("llm", "chat")
SPEC: dict[str, Any] = {
    "model": {"source": "file:///m", "servedName": "chat"},
    "hardware": {"accelerator": "nvidia-h100-80gb"},
    "parallelism": {"tensor": 8},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 4, "objective": {"inFlightPerReplica": 8}},
    "objectives": {"timeToFirstTokenSeconds": 2, "interTokenSeconds": 0.1},
}
CONDITIONS = {
    "Accepted": "Fits",
    "Available": "Serving",
    "Progressing": "Complete",
    "Scaling": "Steady",
    "MetricsAvailable": "Fresh",
    "Degraded": "Healthy",
}
ASKED = {"slots": 1.5, "prompts": 0.5, "cache": 0.25, "requests": None}
VOTES = [VoteView(signal=signal, value=1.0, replicas=replicas, age_seconds=3.0) for signal, replicas in ASKED.items()]
VIEW = ScalingView(enabled=True, desired=2, votes=VOTES, asked=2, expected=1.5, bounds=BoundsView(least=1, most=4))


def status(replicas: int = 2, *, loading: bool = True, **changes: Any) -> dict[str, Any]:
    """What a busy LlamaDeployment says: one replica ready, the others loading, or ready too."""
    entries = [
        {"gang": number, "phase": "LoadingWeights" if number and loading else "Ready", "pods": [f"chat-0123456789-g{number}-0"],
         "since": "2026-01-01T00:00:00Z", **({"percent": 40.0} if number and loading else {})}
        for number in range(replicas)
    ]  # fmt: skip
    return {
        "phase": "Scaling",
        "revision": "0123456789",
        "readyReplicas": 1,
        "replicas": entries,
        "conditions": [{"type": kind, "reason": reason} for kind, reason in CONDITIONS.items()],
        "plan": {"observed": {"ratio": 0.99, "weightRatio": 1.0, "memoryRatio": 1.01}},
        **changes,
    }


def shown(keys: list[Key], said: dict[str, Any] | None = None, model: str = "chat") -> OwnMetrics:
    metrics, spec = OwnMetrics(), LlamaDeploymentSpec.model_validate(SPEC)
    for key in keys:
        metrics.happened(key, Happened(restarts=["PodLost"]))
        price = [Sample(metric=metric, labels=(key.namespace, key.name), value=8.0) for metric in cost_metrics.PER_DEPLOYMENT]
        metrics.show(key, [*gauges(key, spec, model, said or status(), VIEW), *price])
    return metrics


def samples(metrics: OwnMetrics) -> list[Any]:
    return [sample for group in text_string_to_metric_families(metrics.exposition().decode()) for sample in group.samples]


def test_two_hundred_deployments_stay_within_the_bound_of_series() -> None:
    """Each with everything switched on: autoscaling, both latency objectives, a plan, a price, a restart, two replicas; the three votes
    of an objective in seconds. A replica that loads has one series more while it does, and a deployment from its first drain on.
    """
    metrics = shown([Key(f"team-{number % 20}", f"llama-{number}") for number in range(DEPLOYMENTS)], status(loading=False))
    found = samples(metrics)
    assert len(found) <= MOST_SERIES
    assert metrics.board.count() <= MOST_SERIES - 100


def test_series_grow_with_deployments_and_replicas_and_with_nothing_else() -> None:
    one, two = shown([KEY]).board.count(), shown([KEY], status(3)).board.count()
    assert two - one == 2  # a phase and a progress of the third replica
    assert shown([KEY, Key("llm", "other")]).board.count() == 2 * one


def test_every_series_is_in_the_catalogue_with_those_labels() -> None:
    metrics = shown([KEY])
    metrics.passed("ok", 0.2)
    metrics.wrote("create", "Pod")
    metrics.refused("GET", 503)
    for sample in samples(metrics):
        metric = look_up(sample.name)
        le = {"le"} if metric.kind == "histogram" else set()
        assert set(sample.labels) - le == set(metric.labels)


def test_the_series_of_a_deleted_deployment_go_and_no_other() -> None:
    other = Key("other-namespace", KEY.name)
    metrics = shown([KEY, other])
    metrics.forget(KEY)
    left = {sample.labels[own.LABEL_NAMESPACE] for sample in samples(metrics) if own.LABEL_NAMESPACE in sample.labels}
    assert left == {other.namespace}
    assert metrics.leaders(KEY) == {}


def test_a_replica_that_is_gone_takes_its_series_along() -> None:
    metrics, spec = OwnMetrics(), LlamaDeploymentSpec.model_validate(SPEC)
    for count in (3, 1):
        metrics.show(KEY, gauges(KEY, spec, "chat", status(count), VIEW))
    gangs = Counter(sample.labels["gang"] for sample in samples(metrics) if "gang" in sample.labels)
    assert gangs == {"0": 1}


@pytest.mark.parametrize("model", ['a"b', "back\\slash", "two\nlines", "лама 🦙 {}", '\\"'])
def test_names_that_users_chose_come_back_as_they_were(model: str) -> None:
    (info,) = [sample for sample in samples(shown([KEY], model=model)) if sample.name == own.INFO.name]
    assert info.labels["model"] == model


def test_a_root_cause_that_a_pod_made_up_is_one_label_value() -> None:
    conditions = [{"type": "Available", "reason": f"made-up-{number}"} for number in range(1)]
    (said,) = [sample for sample in samples(shown([KEY], status(conditions=conditions))) if sample.name == own.STATE.name]
    assert said.labels["available"] == "Other"
    assert said.labels["accepted"] == ""


def test_an_objective_names_its_bucket_in_both_spellings() -> None:
    found = [sample for sample in samples(shown([KEY])) if sample.name == own.OBJECTIVE_BUCKET.name]
    bounds = {(sample.labels["objective"], sample.labels["le"], sample.value) for sample in found}
    assert bounds == {("time_to_first_token", "2.5", 2.0), ("inter_token", "0.1", 0.1)}
    assert re.search(r'objective_bucket\{[^}]*le="2.5"', shown([KEY]).exposition().decode())


def gang(state: GangState, in_flight: int | None = 0, uid: str = "u1", agent_phase: str = "Ready") -> Gang:
    pod = Pod(name="chat-r-g0-0", uid=uid, revision="r", component="replica", gang=0)
    agent = None if in_flight is None else Agent(phase=agent_phase, in_flight=in_flight)
    return Gang(revision="r", number=0, pods=[pod], state=state, agent=agent)


def world(failures: Failures | None = None, **changes: Any) -> World:
    return World(key=KEY, uid="x", generation=1, deleting=False, finalizers=(), failures=failures or Failures(), **changes)


def plan(*gangs: Gang, failures: Failures | None = None, actions: tuple[Delete, ...] = ()) -> Plan:
    return Plan(actions=actions, gangs=gangs, failures=failures or Failures())


SERVING = {"u1": Seen(serving=True, in_flight=3)}
DISMISSED = Delete(why="x", announce="DrainDeadline", kind="Pod", name="chat-r-g0-0")
FAILED = Failures(revision="r", attempts=1, reason="OutOfMemory", counted_until=5.0)


@pytest.mark.parametrize(
    ("before", "now", "restarts", "cut"),
    [
        ({}, plan(gang(GangState.READY, 3)), [], {}),
        (SERVING, plan(gang(GangState.READY, 2)), [], {}),
        (SERVING, plan(gang(GangState.BROKEN)), [], {"replica_lost": 3}),
        (SERVING, plan(), [], {"replica_lost": 3}),
        (SERVING, plan(gang(GangState.STARTING, 0, agent_phase="Starting")), ["EngineRestarted"], {"replica_lost": 3}),
        (SERVING, plan(gang(GangState.STARTING, None)), [], {}),
        (SERVING, plan(gang(GangState.DRAINING, 2)), [], {}),
        ({"u1": Seen(serving=False, in_flight=0)}, plan(), [], {}),
        (SERVING, plan(gang(GangState.DRAINING, 2), actions=(DISMISSED,)), [], {"drain_deadline": 2}),
        ({}, plan(gang(GangState.FAILED), failures=FAILED), ["OutOfMemory"], {}),
    ],
    ids=["first look", "steady", "lost", "gone", "engine anew", "agent silent", "drains", "drained", "deadline", "failed load"],
)
def test_what_happened_between_two_looks_is_counted_once(
    before: dict[str, Seen], now: Plan, restarts: list[str], cut: dict[str, int]
) -> None:
    found = happened(before, world(), now)
    assert list(found.restarts) == restarts
    assert {cause: count for cause, count in found.cut.items() if count} == cut
    again = happened(found.leaders, world(failures=now.failures), plan(*now.gangs, failures=now.failures))
    assert not again.restarts
    assert not any(again.cut.values())


def test_what_its_owner_deletes_was_not_cut_by_us() -> None:
    gone = World(key=KEY, uid="x", generation=1, deleting=True, finalizers=())
    assert not any(happened(SERVING, gone, plan()).cut.values())
