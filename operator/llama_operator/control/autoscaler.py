"""One look of the autoscaler: signals from Prometheus, the pure decision, and its words for the status."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.api.conditions import Reason
from llama_operator.api.v1alpha1 import AutoscalingSpec, LlamaDeploymentSpec
from llama_operator.lifecycle.gangs import GangState, gangs_of
from llama_operator.lifecycle.observed import World
from llama_operator.lifecycle.scaling_view import BoundsView, ScalingView, VoteView
from llama_operator.ports import Metrics
from llama_operator.scaling.bounds import Bounds, bounds_at
from llama_operator.scaling.policy import Policy, Replicas, decide
from llama_operator.scaling.signals import Load, Missing, read_load
from llama_operator.scaling.votes import Vote
from llama_operator.telemetry.names import selector


async def look(
    metrics: Metrics, spec: LlamaDeploymentSpec, world: World, previous: Mapping[str, Any], max_age: float, now: float
) -> ScalingView:
    """The wanted number of replicas, and why. `max_age` is the oldest sample that counts, in seconds."""
    if spec.autoscaling is None:
        return ScalingView(enabled=False, desired=spec.replicas)
    bounds = bounds_at(spec.autoscaling, now)
    policy = _policy(spec.autoscaling, bounds)
    before = previous.get("autoscaling") or {}
    gangs = gangs_of(world)
    ready = [gang for gang in gangs if gang.state is GangState.READY and gang.leader]
    wanted = before.get("desiredReplicas")
    if wanted is None:
        # The first look at this deployment, or the first since autoscaling was switched on: start from what is there.
        wanted = min(max(len([gang for gang in gangs if gang.counts]), policy.min_replicas), policy.max_replicas)
    answer = await metrics.newest(selector(world.key.namespace, world.key.name, math.ceil(4 * max_age)))
    # A replica that only just became ready was not scraped yet; it is expected to be seen once a sample could have grown stale.
    expected = {gang.leader.name for gang in ready if gang.leader and now - (gang.leader.ready_since or now) > max_age}
    signals = read_load(answer, expected, {pod.name for pod in world.pods}, now, max_age)
    decision = decide(policy, signals, Replicas(wanted=int(wanted), ready=len(ready)), before.get("memory") or {}, now)
    desired = min(max(int(wanted), policy.min_replicas), policy.max_replicas) if decision.replicas is None else decision.replicas
    return ScalingView(
        enabled=True,
        desired=desired,
        reason=decision.reason,
        message=decision.message,
        metrics_reason=signals.reason if isinstance(signals, Missing) else Reason.FRESH.value,
        metrics_message=signals.message if isinstance(signals, Missing) else "all signals are there and fresh",
        signals=_signals(signals),
        memory=decision.memory,
        votes=_votes(decision.votes, signals),
        asked=decision.asked,
        expected=decision.expected,
        bounds=BoundsView(
            least=bounds.least, most=bounds.most, least_by=bounds.least_by, most_by=bounds.most_by, windows=tuple(bounds.windows)
        ),
    )


def keep(previous: Mapping[str, Any]) -> ScalingView:
    """The view while the spec is refused: what was wanted stays wanted, as `ready` says it (1/2: two are), however many are there."""
    _, _, wanted = str(previous.get("ready") or "").partition("/")
    return ScalingView(enabled=False, desired=int(wanted) if wanted.isascii() and wanted.isdigit() else 0)


def _policy(spec: AutoscalingSpec, bounds: Bounds) -> Policy:
    each = spec.objective.in_flight_per_replica
    if each is None:
        raise TypeError("a spec without inFlightPerReplica must have been refused: no other objective is served yet")
    return Policy(
        min_replicas=bounds.least,
        max_replicas=bounds.most,
        bounded_by=(bounds.least_by, bounds.most_by),
        in_flight_per_replica=float(each),
        scale_up_seconds=float(spec.scale_up_stabilization_seconds),
        scale_down_seconds=float(spec.scale_down_stabilization_seconds),
    )


def _votes(votes: Sequence[Vote], signals: Load | Missing) -> list[VoteView]:
    """The votes beside what was measured for each: what a vote makes of it is the policy's."""
    if isinstance(signals, Missing):
        return []
    measured = {
        "requests": signals.total,
        "slots": None if signals.running is None else signals.running + (signals.waiting or 0.0),
        "prompts": signals.prompt_rate,
        "cache": signals.kv_use,
    }
    return [
        VoteView(signal=vote.signal, value=measured.get(vote.signal), replicas=vote.replicas, age_seconds=round(vote.age_seconds, 1))
        for vote in votes
    ]


def _signals(signals: Load | Missing) -> list[dict[str, Any]]:
    if isinstance(signals, Missing):
        return []
    age = round(signals.age_seconds, 1)
    return [
        {"name": "requestsInFlight", "value": signals.in_flight, "ageSeconds": age},
        {"name": "requestsHeld", "value": signals.held, "ageSeconds": age},
    ]
