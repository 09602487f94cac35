"""The conditions: what each says, and why, in words that also reach the event, the log and `kubectl describe`."""

from __future__ import annotations

from collections.abc import Sequence

from llama_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from llama_operator.lifecycle.gangs import LOADING_STATES, Gang, GangState
from llama_operator.lifecycle.observed import Failures, Serve, Unknown, World, rfc3339
from llama_operator.lifecycle.plan import Plan
from llama_operator.planning.admission import Admission
from llama_operator.planning.gpus import GangShape
from llama_operator.planning.hardware.fragmentation import diagnose


def conditions(
    world: World, plan: Plan, scaling_: Sequence[Condition], admission: Admission, desired: int, revision: str | None, now: float
) -> list[Condition]:
    """All conditions, in the order of ConditionType."""
    return [
        accepted(admission),
        available(plan, desired, autoscaled=any(each.reason != Reason.DISABLED for each in scaling_)),
        progressing(world, plan, admission, desired, revision, now),
        *scaling_,
        degraded(world, plan, revision),
    ]


def accepted(admission: Admission) -> Condition:
    """Is the spec allowed, and does the model fit?"""
    status: ConditionStatus = "True" if admission.accepted else ("Unknown" if admission.verdict == "waits" else "False")
    return _condition(ConditionType.ACCEPTED, status, admission.reason, admission.message)


def available(plan: Plan, desired: int, *, autoscaled: bool = False) -> Condition:
    """Does anything serve?"""
    ready = [gang for gang in plan.gangs if gang.state is GangState.READY]
    kind = ConditionType.AVAILABLE
    if ready:
        return _condition(kind, "True", Reason.SERVING, f"{len(ready)} of {desired} wanted replicas serve")
    if desired == 0:
        asleep = "scaled to zero, since no request came: the next one is held at the head, and brings a replica"
        return _condition(kind, "False", Reason.SCALED_TO_ZERO, asleep if autoscaled else "no replica is wanted")
    cause = next((gang.cause for gang in plan.gangs if gang.cause), None)
    if cause:
        return _condition(kind, "False", cause.reason, cause.message)
    if plan.failures.attempts and plan.failures.reason:
        return _condition(kind, "False", plan.failures.reason, plan.failures.message)
    return _condition(kind, "False", Reason.NO_REPLICA_READY, f"none of {desired} wanted replicas serves yet")


def progressing(world: World, plan: Plan, admission: Admission, desired: int, revision: str | None, now: float) -> Condition:
    """What is the operator waiting for? The first thing that holds the others up is named."""
    kind = ConditionType.PROGRESSING
    if world.deleting:
        left = len(world.pods)
        return _condition(kind, "True", Reason.DELETING, f"{left} pods are still there" if left else "all pods are gone")
    if not admission.accepted and not revision:
        return _condition(kind, "False", Reason.NOT_ACCEPTED, "nothing is made until the spec is accepted")
    for verdict in (_failed(plan, now), _blocked(world, plan, desired), _leaving(plan), _head(world, revision), _loading(plan, desired)):
        if verdict:
            return verdict
    return _condition(kind, "False", Reason.COMPLETE, f"{desired} of {desired} replicas are ready")


def _failed(plan: Plan, now: float) -> Condition | None:
    failures: Failures = plan.failures
    if plan.exhausted:
        message = f"{failures.attempts} attempts failed, none follows until the spec changes; the last: {failures.message}"
        return _condition(ConditionType.PROGRESSING, "False", Reason.RETRIES_EXHAUSTED, message)
    if failures.next_retry is not None and now < failures.next_retry:
        message = f"attempt {failures.attempts} failed; the next comes at {rfc3339(failures.next_retry)}: {failures.message}"
        return _condition(ConditionType.PROGRESSING, "True", Reason.BACKING_OFF, message)
    return None


def _blocked(world: World, plan: Plan, desired: int) -> Condition | None:
    stuck = [gang for gang in plan.gangs if gang.state is GangState.PENDING and any(pod.unschedulable for pod in gang.pods)]
    if not stuck:
        return None
    return _condition(ConditionType.PROGRESSING, "True", Reason.WAITING_FOR_GPUS, placement_message(world, stuck, desired))


def placement_message(world: World, stuck: Sequence[Gang], desired: int) -> str:
    """How many GPUs are wanted, where how many are free, and what would have to move. Starts by itself when they come free: the scheduler
    waits with the pods.
    """
    first = stuck[0]
    pinned = world.pinned.get(first.revision)
    whole = f"{len(stuck)} of {desired} replicas wait for a place"
    if pinned is None or pinned.gpus_per_pod == 0:
        return f"{whole}: {first.why}"
    # Pods that found their node hold its GPUs already; only the others still need a place.
    left = sum(pod.node is None for pod in first.pods) or len(pinned.gang)
    gang = GangShape(pods=left, gpus_per_pod=pinned.gpus_per_pod, stages_per_pod=pinned.split[1] // len(pinned.gang))
    if isinstance(world.gpus, Unknown):
        shape = f"{gang.gpus_per_pod} GPUs on one node" if gang.pods == 1 else f"{gang.gpus_per_pod} GPUs on each of {gang.pods} nodes"
        why = f"each needs {shape}; free GPUs are not known ({world.gpus.reason}); the scheduler says: {first.why}"
        return f"{whole}; {why}; it starts by itself when they come free"
    cordoned = {node.node for node in world.gpus if node.cordoned}
    found = diagnose(world.gpus, world.holders, gang, cordoned, namespace=world.key.namespace)
    if found.fits:
        return f"{whole}; {found.message} would do, and the scheduler says: {first.why}"
    return f"{whole}; {found.message}; it starts by itself when they come free"


def _leaving(plan: Plan) -> Condition | None:
    kind = ConditionType.PROGRESSING
    if plan.moving:
        said = ", ".join(f"{gang}: {gang.state}" for gang in plan.gangs)
        return _condition(kind, "True", Reason.ROLLING_OUT, f"gangs move to the new revision one at a time ({said})")
    broken = [gang for gang in plan.gangs if gang.state is GangState.BROKEN]
    if broken:
        return _condition(kind, "True", Reason.REPLACING_GANG, "; ".join(f"{gang}: {gang.why}" for gang in broken))
    draining = [gang for gang in plan.gangs if gang.state is GangState.DRAINING]
    if draining:
        said = ", ".join(f"{gang} has {gang.agent.in_flight if gang.agent else '?'} requests left" for gang in draining)
        return _condition(kind, "True", Reason.DRAINING, said)
    return None


def _head(world: World, revision: str | None) -> Condition | None:
    head, view = (world.head(revision), world.serve.get(revision)) if revision else (None, None)
    # A busy head misses a probe now and then; one that answers for the application is up.
    if head is not None and (head.ready or (isinstance(view, Serve) and view.deployed)):
        return None
    if head is None:
        return _condition(ConditionType.PROGRESSING, "True", Reason.HEAD_STARTING, "the head pod is not there yet")
    agent = world.agent(head)
    failed = agent.root_cause.message if agent and agent.root_cause and agent.phase == "Failed" else None
    doing = f" ({agent.message})" if agent and agent.message else ""
    why = failed or head.unschedulable or head.waiting or f"pod {head.name} is {head.phase}, not ready yet{doing}"
    return _condition(ConditionType.PROGRESSING, "True", Reason.HEAD_STARTING, f"the head starts: {why}")


def _loading(plan: Plan, desired: int) -> Condition | None:
    coming = [gang for gang in plan.gangs if gang.state in LOADING_STATES or gang.state is GangState.FAILED]
    ready = [gang for gang in plan.gangs if gang.state is GangState.READY]
    if not coming and len(ready) >= desired:
        return None
    said = "; ".join(f"gang {gang.number}: {describe(gang)}" for gang in coming) or "gangs are being made"
    return _condition(ConditionType.PROGRESSING, "True", Reason.LOADING, f"{len(ready)} of {desired} replicas are ready; {said}")


def describe(gang: Gang) -> str:
    """What a gang is doing, in a few words."""
    if gang.agent and gang.agent.message and not gang.why:
        return f"{gang.state} ({gang.agent.message})"
    return f"{gang.state} ({gang.why})" if gang.why else gang.state.value


def scaling(
    *, enabled: bool, reason: str, message: str, metrics_reason: str, metrics_message: str, foreign: str | None = None
) -> list[Condition]:
    """Scaling, MetricsAvailable and ScalingContested."""
    if not enabled:
        return [_condition(ConditionType.SCALING, "False", Reason.DISABLED, "spec.autoscaling is absent; spec.replicas counts")]
    status: ConditionStatus = "False" if reason == Reason.HOLDING else "True"
    fresh = metrics_reason == Reason.FRESH
    return [
        _condition(ConditionType.SCALING, status, reason, message),
        _condition(ConditionType.METRICS_AVAILABLE, "True" if fresh else "False", metrics_reason, metrics_message),
        _contested(foreign),
    ]


def _contested(foreign: str | None) -> Condition:
    kind = ConditionType.SCALING_CONTESTED
    if foreign is None:
        return _condition(kind, "False", Reason.SOLE_WRITER, "nobody else sets the number of replicas")
    return _condition(kind, "True", Reason.FOREIGN_WRITER, foreign)


def degraded(world: World, plan: Plan, revision: str | None) -> Condition:
    """Is something broken while the rest goes on?"""
    kind = ConditionType.DEGRADED
    ready = [gang for gang in plan.gangs if gang.state is GangState.READY]
    broken = [gang for gang in plan.gangs if gang.state is GangState.BROKEN]
    failed = [gang for gang in plan.gangs if gang.state is GangState.FAILED]
    if broken:
        return _condition(kind, "True", Reason.GANG_INCOMPLETE, "; ".join(f"{gang}: {gang.why}" for gang in broken))
    if failed and ready:
        return _condition(kind, "True", Reason.REPLICA_FAILED, "; ".join(f"{gang}: {gang.why}" for gang in failed))
    if ready and revision and not world.deleting:
        head = world.head(revision)
        if head is None or head.deleting or head.ended:
            return _condition(kind, "True", Reason.HEAD_LOST, "the Ray head is gone: requests are served, scaling waits for a new one")
        view = world.serve.get(revision)
        if isinstance(view, Unknown):
            message = f"the Ray head does not answer ({view.reason}): requests are served, scaling waits"
            return _condition(kind, "True", Reason.HEAD_LOST, message)
    # Last: the others end by themselves or have alerts of their own, this one stays until somebody acts.
    taken = [str(other) for other in world.taken if not other.leaving]
    if taken and not world.deleting:
        return _condition(kind, "True", Reason.NAME_TAKEN, "; ".join(taken))
    return _condition(kind, "False", Reason.HEALTHY, "nothing is known to be broken")


def phase(decided: Sequence[Condition], plan: Plan, desired: int, *, deleting: bool) -> tuple[str, str]:
    """The one word for `kubectl get`, and the reason beside it."""
    by_type = {condition.type: condition for condition in decided}
    if deleting:
        return "Deleting", Reason.DELETING.value
    if by_type[ConditionType.ACCEPTED].status == "False":
        return "Invalid", by_type[ConditionType.ACCEPTED].reason
    if by_type[ConditionType.PROGRESSING].reason == Reason.NOT_ACCEPTED:
        return "Pending", by_type[ConditionType.ACCEPTED].reason
    progress, serving = by_type[ConditionType.PROGRESSING], by_type[ConditionType.AVAILABLE]
    if plan.exhausted or progress.reason == Reason.BACKING_OFF:
        return ("Degraded" if serving.status == "True" else "Failed"), plan.failures.reason or progress.reason
    if progress.status == "False":
        return ("Ready" if desired else "Idle"), serving.reason
    if plan.moving:
        return "Updating", progress.reason
    if serving.status == "True":
        return "Scaling", progress.reason
    return ("Pending" if progress.reason in (Reason.HEAD_STARTING, Reason.WAITING_FOR_GPUS) else "Loading"), progress.reason


def _condition(kind: ConditionType, status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=str(reason), message=message)
