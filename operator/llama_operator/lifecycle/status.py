"""What the status says: built anew from the snapshot, the plan and the scaling decision in every pass, and written only when it differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_operator.api.conditions import Condition, Reason, merge
from llama_operator.lifecycle import scaling_view, verdicts
from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.lifecycle.observed import Failures, World, rfc3339, timestamp
from llama_operator.lifecycle.plan import Plan
from llama_operator.lifecycle.plan_view import planned_and_observed
from llama_operator.lifecycle.scaling_view import ScalingView
from llama_operator.planning.admission import Admission
from llama_operator.rendering import names


def build_status(
    world: World, plan: Plan, scaling: ScalingView, admission: Admission, previous: Mapping[str, Any], revision: str | None, now: float
) -> dict[str, Any]:
    """The whole status, as JSON. `revision` is the one that should run, `admission` the verdict on the spec."""
    ready = [gang for gang in plan.gangs if gang.state is GangState.READY]
    counted = [gang for gang in plan.gangs if gang.counts]
    conditions = verdicts.conditions(world, plan, scaling_conditions(scaling), admission, scaling.desired, revision, now)
    phase, reason = verdicts.phase(conditions, plan, scaling.desired, deleting=world.deleting)
    status: dict[str, Any] = {
        "observedGeneration": world.generation,
        "phase": phase,
        "reason": reason,
        "ready": f"{len(ready)}/{scaling.desired}",
        "replicaCount": len(counted),
        "readyReplicas": len(ready),
        "selector": f"{names.LABEL_DEPLOYMENT}={world.key.name},{names.LABEL_COMPONENT}={names.REPLICA},{names.LABEL_RANK}=0",
        "replicas": [_replica(gang, plan.failures, previous, now) for gang in plan.gangs],
        "conditions": merge(previous.get("conditions") or [], conditions, generation=world.generation, now=rfc3339(now)),
    }
    # A Service of somebody else's under the name leads who knows where.
    if ("Service", names.service(world.key.name)) not in {(other.kind, other.name) for other in world.taken}:
        status["endpoint"] = f"http://{names.service(world.key.name)}.{world.key.namespace}.svc/v1"
    if revision:
        status["revision"] = revision
    if planned := planned_and_observed(world, admission, plan.gangs, previous, revision):
        status["plan"] = planned
    if plan.failures.attempts:
        status["failures"] = failures_to_json(plan.failures)
    if scaling.enabled:
        waiting = next((item.message for item in conditions if item.reason == Reason.WAITING_FOR_GPUS), "")
        loading = sum(gang.state is not GangState.READY for gang in counted)
        status["autoscaling"] = scaling_view.block(scaling, len(counted), loading, waiting, previous, now)
    return status


def scaling_conditions(scaling: ScalingView) -> list[Condition]:
    """Scaling, MetricsAvailable and ScalingContested."""
    return verdicts.scaling(
        enabled=scaling.enabled,
        reason=scaling.reason,
        message=scaling.message,
        metrics_reason=scaling.metrics_reason,
        metrics_message=scaling.metrics_message,
        foreign=scaling.foreign,
    )


def _replica(gang: Gang, failures: Failures, previous: Mapping[str, Any], now: float) -> dict[str, Any]:
    agent = gang.agent
    pods = [pod.name for pod in gang.pods]
    before: Mapping[str, Any] = next((item for item in previous.get("replicas") or [] if item.get("pods") == pods), {})
    entry: dict[str, Any] = {
        "gang": gang.number,
        "phase": gang.state.value,
        "message": gang.why or (agent.message if agent else ""),
        "pods": pods,
        "nodes": [pod.node for pod in gang.pods if pod.node],
        "attempts": failures.attempts if gang.revision == failures.revision else 0,
        "since": before.get("since") if before.get("phase") == gang.state.value else rfc3339(now),
    }
    if agent and agent.percent is not None and gang.state in (GangState.DOWNLOADING, GangState.LOADING):
        # Whole percents: the status is written when it says something new, not with every megabyte.
        entry["percent"] = float(int(agent.percent))
    return entry


def failures_to_json(failures: Failures) -> dict[str, Any]:
    """The memory of failed loads, for the status."""
    kept: dict[str, Any] = {
        "revision": failures.revision,
        "attempts": failures.attempts,
        "lastReason": failures.reason,
        "lastMessage": failures.message,
        "countedUntil": rfc3339(failures.counted_until),
    }
    if failures.next_retry is not None:
        kept["nextRetryTime"] = rfc3339(failures.next_retry)
    return kept


def failures_from_json(status: Mapping[str, Any]) -> Failures:
    """What `failures_to_json` kept in a status; an empty memory where there is none."""
    kept = status.get("failures") or {}
    return Failures(
        revision=str(kept.get("revision") or ""),
        attempts=int(kept.get("attempts") or 0),
        reason=str(kept.get("lastReason") or ""),
        message=str(kept.get("lastMessage") or ""),
        next_retry=timestamp(kept.get("nextRetryTime")),
        counted_until=timestamp(kept.get("countedUntil")) or 0.0,
    )


def ready_pods(status: Mapping[str, Any]) -> frozenset[str]:
    """Names of the pods of every gang that a status calls Ready."""
    ready = (entry for entry in status.get("replicas") or [] if entry.get("phase") == GangState.READY.value)
    return frozenset(str(name) for entry in ready for name in entry.get("pods") or [])
