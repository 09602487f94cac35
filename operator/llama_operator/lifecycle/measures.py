"""What a pass lets Prometheus know of one LlamaDeployment: its gauges, and what happened since the last pass.

Gauges are made anew from the status and the spec, so that the metrics can say nothing that `kubectl describe` does not. What happened
(restarts, cut streams) is found by comparing two looks; the memory of the last look lives in the operator's process, so that what happens
while no operator runs is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.api.conditions import ConditionType, find
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec, Objectives
from llama_operator.lifecycle.actions import Delete
from llama_operator.lifecycle.causes import bounded
from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.lifecycle.observed import World, timestamp
from llama_operator.lifecycle.plan import Plan
from llama_operator.lifecycle.scaling_view import ScalingView
from llama_operator.planning.gpus import GangShape, gang_shape
from llama_operator.rendering import names
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry.catalogue import look_up
from llama_operator.telemetry.exposition import Sample
from llama_operator.telemetry.metric import Metric
from llama_operator.telemetry.names import VLLM_ITL, VLLM_TTFT

RESTARTED = "EngineRestarted"
DRAIN_DEADLINE, REPLICA_LOST = "drain_deadline", "replica_lost"
_STARTS_ANEW = frozenset({GangState.STARTING, GangState.DOWNLOADING, GangState.LOADING})


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The last look at one gang's leader."""

    serving: bool
    in_flight: int


@dataclass(frozen=True, kw_only=True)
class Happened:
    """Since the last pass. `leaders` is the memory for the next one, by the uid of each gang's leader."""

    restarts: Sequence[str] = ()
    cut: Mapping[str, int] = field(default_factory=dict)
    leaders: Mapping[str, Seen] = field(default_factory=dict)


def happened(before: Mapping[str, Seen], world: World, plan: Plan) -> Happened:
    """What changed between the last look (`before`) and this one."""
    restarts, lost = [], 0
    failures, earlier = plan.failures, world.failures
    same = failures.revision == earlier.revision
    if failures.attempts and (not same or failures.attempts > earlier.attempts or failures.counted_until > earlier.counted_until):
        restarts.append(bounded(failures.reason))
    leaders = {}
    for gang in plan.gangs:
        if gang.leader is None:
            continue
        seen = before.get(gang.leader.uid, Seen(serving=False, in_flight=0))
        anew = seen.serving and gang.agent is not None and gang.state in _STARTS_ANEW
        if anew:
            restarts.append(RESTARTED)
        if anew or (seen.serving and gang.state in (GangState.BROKEN, GangState.FAILED)):
            lost += seen.in_flight
        leaders[gang.leader.uid] = _look(gang, Seen(serving=False, in_flight=0) if anew else seen)
    if not world.deleting:
        gone = (seen for uid, seen in before.items() if uid not in leaders)
        lost += sum(seen.in_flight for seen in gone if seen.serving)
    cut = {REPLICA_LOST: lost}
    if any(gang.state is GangState.DRAINING for gang in plan.gangs):
        # Told from the moment a drain begins, minutes before its deadline: the rise of a series that was not there is not seen.
        cut[DRAIN_DEADLINE] = _cut_by_deadline(plan)
    return Happened(restarts=restarts, cut=cut, leaders=leaders)


def _look(gang: Gang, seen: Seen) -> Seen:
    """A gang that drains or ends in order serves no more in this sense: its streams have their time, their deadline is counted apart."""
    if gang.state is GangState.READY:
        known = gang.agent.in_flight if gang.agent else None
        return Seen(serving=True, in_flight=seen.in_flight if known is None else known)
    return seen if gang.state in (GangState.STARTING, GangState.WARMING) and gang.agent is None else Seen(serving=False, in_flight=0)


def _cut_by_deadline(plan: Plan) -> int:
    dismissed = {action.name for action in plan.actions if isinstance(action, Delete) and action.announce == "DrainDeadline"}
    gangs = (gang for gang in plan.gangs if gang.leader and gang.leader.name in dismissed)
    return sum(gang.agent.in_flight or 0 for gang in gangs if gang.agent)


def gauges(
    key: names.Key, spec: LlamaDeploymentSpec | None, served_name: str, status: Mapping[str, Any], scaling: ScalingView
) -> list[Sample]:
    """Every gauge of one LlamaDeployment. `spec` is None where it was refused: what it says of objectives and bounds is then left out."""
    owner = (key.namespace, key.name)

    def one(metric: Metric, value: float, *labels: str) -> Sample:
        return Sample(metric=metric, labels=(*owner, *labels), value=value)

    samples = [
        one(own.STATE, 1, str(status.get("phase") or ""), *_reasons(status)),
        one(own.DESIRED, scaling.desired),
        one(own.READY, float(status.get("readyReplicas") or 0)),
    ]
    if spec is not None:
        samples.append(one(own.INFO, 1, str(status.get("revision") or ""), spec.hardware.accelerator, spec.engine.type, served_name))
        shape = gang_shape(spec)
        if isinstance(shape, GangShape):
            samples.append(one(own.REPLICA_GPUS, shape.gpus))
        if scaling.bounds is not None:
            samples += [one(own.MINIMUM, scaling.bounds.least), one(own.MAXIMUM, scaling.bounds.most)]
        samples += [one(metric, value, *labels) for metric, value, labels in _objectives(spec)]
    samples += [one(own.VOTES, vote.replicas, vote.signal) for vote in scaling.votes if vote.replicas is not None]
    if scaling.expected is not None:
        samples.append(one(own.EXPECTED, scaling.expected))
    observed = (status.get("plan") or {}).get("observed") or {}
    samples += [
        one(own.PLAN_RATIO, float(observed[name]), quantity)
        for name, quantity in (("ratio", "kv_cache"), ("memoryRatio", "memory"))
        if name in observed
    ]
    for replica in status.get("replicas") or []:
        samples += [one(metric, value, *labels) for metric, value, labels in _replica(replica)]
    return samples


def _reasons(status: Mapping[str, Any]) -> list[str]:
    """Reason of each condition of STATE's labels. Available's may be a root cause, which the pod's agent names: it is bounded."""
    conditions = status.get("conditions") or []
    said = []
    for kind in (
        *(ConditionType.ACCEPTED, ConditionType.AVAILABLE, ConditionType.PROGRESSING),
        *(ConditionType.SCALING, ConditionType.METRICS_AVAILABLE, ConditionType.DEGRADED),
    ):
        found = find(conditions, kind)
        reason = str(found["reason"]) if found else ""
        good = kind is not ConditionType.AVAILABLE or reason in ("Serving", "NoReplicaReady", "ScaledToZero", "")
        said.append(reason if good else bounded(reason))
    return said


def _objectives(spec: LlamaDeploymentSpec) -> list[tuple[Metric, float, tuple[str, ...]]]:
    wanted = spec.objectives or Objectives()
    scaled = spec.autoscaling.objective if spec.autoscaling else None
    ttft, percent = wanted.time_to_first_token_seconds, wanted.latency_percent
    if ttft is None and scaled is not None and scaled.time_to_first_token_seconds is not None:
        ttft, percent = scaled.time_to_first_token_seconds, float(scaled.percentile or wanted.latency_percent)
    made: list[tuple[Metric, float, tuple[str, ...]]] = [(own.OBJECTIVE_RATIO, wanted.success_percent / 100, (own.SUCCESS,))]
    for objective, family, seconds, share in (
        (own.TTFT, VLLM_TTFT, ttft, percent),
        (own.ITL, VLLM_ITL, wanted.inter_token_seconds, wanted.latency_percent),
    ):
        if seconds is not None:
            made.append((own.OBJECTIVE_RATIO, share / 100, (objective,)))
            made += [(own.OBJECTIVE_BUCKET, seconds, (objective, le)) for le in bounds_as_text(look_up(family).bucket_of(seconds))]
    return made


def bounds_as_text(bound: float) -> list[str]:
    """A bucket's bound as Prometheus may have stored it: as it was exposed, or, since Prometheus 3, as a float."""
    return list(dict.fromkeys((f"{bound:g}", repr(bound))))


def _replica(replica: Mapping[str, Any]) -> list[tuple[Metric, float, tuple[str, ...]]]:
    pods = replica.get("pods") or []
    which = (_revision(str(pods[0])) if pods else "", str(replica["gang"]))
    made: list[tuple[Metric, float, tuple[str, ...]]] = []
    if (since := timestamp(replica.get("since"))) is not None:
        made.append((own.REPLICA_PHASE, since, (*which, str(replica.get("phase")))))
    if (percent := replica.get("percent")) is not None:
        made.append((own.REPLICA_PROGRESS, float(percent) / 100, which))
    return made


def _revision(pod: str) -> str:
    """The revision in the name of a gang's pod, NAME-REVISION-gGANG-RANK."""
    return pod.rsplit("-", 3)[1] if pod.count("-") >= 3 else ""
