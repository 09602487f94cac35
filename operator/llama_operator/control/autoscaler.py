"""One look of the autoscaler: signals from Prometheus, the pure decision, and its words for the status."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llama_operator.api.conditions import Reason
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.gangs import GangState, gangs_of
from llama_operator.lifecycle.observed import NodeGpus, Unknown, World
from llama_operator.lifecycle.revision import revision_of
from llama_operator.lifecycle.scaling import asks_for_gpus, first_wanted, policy_of, replicas_of, room
from llama_operator.lifecycle.scaling_view import COUNTED, BoundsView, ScalingView, VoteView
from llama_operator.planning.hardware.requests import Holder
from llama_operator.ports import Metrics
from llama_operator.scaling.bounds import bounds_at
from llama_operator.scaling.costs import down_window
from llama_operator.scaling.first_token import quantile
from llama_operator.scaling.loads import Loads
from llama_operator.scaling.policy import Replicas, decide
from llama_operator.scaling.signals import Load, Missing, read_load, see_held
from llama_operator.scaling.votes import Vote
from llama_operator.telemetry import names as metric

Rooms = Callable[[str, float], Awaitable[tuple[Sequence[NodeGpus] | Unknown, Sequence[Holder]]]]
"""Looks up the free GPUs of a resource, and who holds the others, as of at most so many seconds ago."""
KNOWN_SECONDS, FRESH_SECONDS = 20.0, 0.0
"""How old the free GPUs may be that refuse one more replica, and that allow one. Deployments that lack room ask at every look, and must not
have all nodes and pods listed each time; one that is to grow asks once, and anew: a second ago its last gang had no pod yet."""


async def look(
    metrics: Metrics,
    spec: LlamaDeploymentSpec,
    world: World,
    previous: Mapping[str, Any],
    max_age: float,
    now: float,
    *,
    plan: Mapping[str, Any] | None = None,
    rooms: Rooms | None = None,
) -> ScalingView:
    """The wanted number of replicas, and why. `max_age` is the oldest sample that counts, in seconds; `plan` that of a replica.

    `rooms` is asked only where more replicas of several GPUs would be wanted.
    """
    if spec.autoscaling is None:
        return ScalingView(enabled=False, desired=spec.replicas)
    bounds = bounds_at(spec.autoscaling, now)
    policy = policy_of(spec, plan, bounds)
    before = previous.get("autoscaling") or {}
    gangs = gangs_of(world)
    ready = [gang for gang in gangs if gang.state is GangState.READY and gang.leader]
    wanted = before.get("desiredReplicas")
    # The first look at this deployment, or the first since autoscaling was switched on: start from what is there.
    wanted = first_wanted(gangs, policy) if wanted is None else int(wanted)
    families = {"first_tokens": policy.ttft_seconds is not None, "zero": policy.sleeps}
    answer = await metrics.newest(metric.selector(world.key.namespace, world.key.name, math.ceil(4 * max_age), **families))
    # A replica that only just became ready was not scraped yet; it is expected to be seen once a sample could have grown stale.
    expected = {gang.leader.name for gang in ready if gang.leader and now - (gang.leader.ready_since or now) > max_age}
    signals = read_load(answer, expected, {pod.name for pod in world.pods}, now, max_age)
    signals = see_held(signals) if policy.sleeps and wanted == 0 else signals
    replicas, memory = replicas_of(world, gangs, wanted, revision_of(spec)), before.get("memory") or {}
    decision = decide(policy, signals, replicas, memory, now)
    if decision.replicas is not None and decision.replicas > wanted and rooms is not None:
        for most_age in (KNOWN_SECONDS, FRESH_SECONDS):
            decision = decide(policy, signals, await _with_room(spec, world, replicas, rooms, most_age), memory, now)
            if decision.replicas is None or decision.replicas <= wanted:
                break
    desired = min(max(wanted, policy.min_replicas), policy.max_replicas) if decision.replicas is None else decision.replicas
    return ScalingView(
        enabled=True,
        desired=desired,
        reason=decision.reason,
        message=decision.message,
        metrics_reason=signals.reason if isinstance(signals, Missing) else Reason.FRESH.value,
        metrics_message=signals.message if isinstance(signals, Missing) else "all signals are there and fresh",
        signals=_signals(signals),
        memory=decision.memory,
        votes=_votes(decision.votes, signals, policy.percentile),
        asked=decision.asked,
        expected=decision.expected,
        down=down_window(policy.scale_down_seconds, policy.costs, Loads.of(decision.memory.get("loads")), policy.load_seconds),
        bounds=BoundsView(
            least=bounds.least, most=bounds.most, least_by=bounds.least_by, most_by=bounds.most_by, windows=tuple(bounds.windows)
        ),
    )


async def _with_room(spec: LlamaDeploymentSpec, world: World, replicas: Replicas, rooms: Rooms, most_age: float) -> Replicas:
    """What there is, with the place for more where that is known."""
    gang = asks_for_gpus(spec)
    if gang is None:
        return replicas
    nodes, holders = await rooms(spec.hardware.gpu_resource, most_age)
    if isinstance(nodes, Unknown):
        return replicas
    free, why = room(world, gang, nodes, holders)
    return replace(replicas, room=free, no_room=why)


def keep(previous: Mapping[str, Any]) -> ScalingView:
    """The view while the spec is refused: what was wanted stays wanted, as `ready` says it (1/2: two are), however many are there.

    What slept for want of requests has one again: without a spec nobody looks for the request that would bring it.
    """
    if (previous.get("autoscaling") or {}).get("desiredReplicas") == 0:
        return ScalingView(enabled=False, desired=1)
    _, _, wanted = str(previous.get("ready") or "").partition("/")
    return ScalingView(enabled=False, desired=int(wanted) if wanted.isascii() and wanted.isdigit() else 0)


def _votes(votes: Sequence[Vote], signals: Load | Missing, percentile: float) -> list[VoteView]:
    """The votes beside what was measured for each: what a vote makes of it is the policy's."""
    if isinstance(signals, Missing):
        return []
    measured = {
        "requests": signals.total,
        "slots": None if signals.running is None else signals.running + (signals.waiting or 0.0),
        "prompts": signals.prompt_rate,
        "cache": signals.kv_use,
        "firstToken": None if signals.first_tokens is None else quantile(signals.first_tokens, percentile),
    }
    return [
        VoteView(signal=vote.signal, value=measured.get(vote.signal), replicas=vote.replicas, age_seconds=_tenths(vote.age_seconds))
        for vote in votes
    ]


def _signals(signals: Load | Missing) -> list[dict[str, Any]]:
    """What was seen, each with the age of its oldest sample. Requests in flight and held are named in any case: with no number, unseen."""
    if isinstance(signals, Missing):
        return []
    seen = {
        "requestsInFlight": (signals.in_flight, signals.age_of(*metric.REPLICA_FAMILIES)),
        "requestsHeld": (signals.held, signals.age_of(*metric.HELD_FAMILIES)),
        "running": (signals.running, signals.age_of(metric.VLLM_RUNNING)),
        "waiting": (signals.waiting, signals.age_of(metric.VLLM_WAITING)),
        "promptTokensPerSecond": (signals.prompt_rate, signals.age_of(metric.VLLM_PROMPT_TOKENS)),
        "outputTokensPerSecond": (signals.output_rate, signals.age_of(metric.VLLM_OUTPUT_TOKENS)),
        "kvCacheUse": (signals.kv_use, signals.age_of(metric.VLLM_KV_USE)),
    }
    told: list[dict[str, Any]] = []
    for name, (value, age) in seen.items():
        if value is not None and age is not None:
            told.append({"name": name, "value": round(value, 3), "ageSeconds": _tenths(age)})
        elif name in COUNTED:
            told.append({"name": name})
    return told


def _tenths(age: float | None) -> float | None:
    return None if age is None else round(age, 1)
