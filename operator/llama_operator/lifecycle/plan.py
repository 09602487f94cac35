"""One pass: from the snapshot and the wish to an ordered list of actions.

deleting            pods away, then the finalizer; the garbage collector takes the rest
spec refused        nothing new is made; what runs is kept running
otherwise           shared objects -> revision and head -> gangs -> Serve -> traffic -> leftovers of old revisions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.lifecycle import foundation, retry, rollout, serving
from llama_operator.lifecycle.actions import Action, AddFinalizer, Delete, RemoveFinalizer
from llama_operator.lifecycle.gangs import Gang, GangState, gangs_of
from llama_operator.lifecycle.observed import Failures, World
from llama_operator.lifecycle.retry import RetryPolicy
from llama_operator.rendering import names
from llama_operator.rendering.revision import Pinned

DELETE_GRACE_SECONDS = 15
"""A deleted LlamaDeployment is gone within a minute: its pods get this long, not the time of the longest stream."""

BUSY_SECONDS = 2.0
"""Look again soon while something is on its way."""
REST_SECONDS = 20.0
"""Look again at agents and Serve when all is as it should be; changes of pods wake the pass anyway."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What should be, once the spec is accepted."""

    pinned: Pinned
    record: Mapping[str, Any] | None
    """The ControllerRevision to make; None where it is kept already."""
    shared: Sequence[Mapping[str, Any]]
    """Service, disruption budget, network policy."""
    replicas: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do, and what the status should remember."""

    actions: Sequence[Action]
    gangs: Sequence[Gang]
    failures: Failures
    exhausted: bool = False
    moving: bool = False
    finished_deleting: bool = False


def plan(world: World, wish: Wish | None, policy: RetryPolicy, now: float) -> Plan:
    """The steps of this pass. `wish` is None when the spec was refused and nothing ever ran."""
    gangs = gangs_of(world)
    if world.deleting:
        return _deletion(world, gangs, now)
    if wish is None:
        return Plan(actions=[], gangs=gangs, failures=world.failures)
    pinned = wish.pinned
    failures = _failures(world, gangs, wish, policy, now)
    exhausted = retry.is_exhausted(failures, policy)
    may_try = retry.may_try(failures, policy, now)
    steps = rollout.plan_gangs(world, gangs, pinned, wish.replicas, may_create=may_try, exhausted=exhausted, now=now)
    actions: list[Action] = []
    if names.FINALIZER not in world.finalizers:
        actions.append(AddFinalizer(why="children must be gone before the LlamaDeployment is"))
    actions += foundation.shared_objects(world, wish.shared)
    actions += foundation.ended_heads(world, now)
    actions += foundation.revision_objects(world, pinned, wish.record)
    actions += foundation.old_heads(world, pinned.revision)
    actions += foundation.lost_token(world, actions, steps.actions)
    actions += steps.actions
    actions += serving.serve_steps(world, gangs, steps.victims, pinned, steps.serving, may_try=may_try)
    actions += serving.traffic_steps(world, gangs, steps.victims, pinned.revision)
    actions += foundation.clear_old_revisions(world, pinned.revision, now)
    return Plan(actions=actions, gangs=gangs, failures=failures, exhausted=exhausted, moving=steps.moving)


def _failures(world: World, gangs: Sequence[Gang], wish: Wish, policy: RetryPolicy, now: float) -> Failures:
    revision = wish.pinned.revision
    mine = [gang for gang in gangs if gang.revision == revision]
    failures = retry.count(world.failures, revision, mine, policy, now, lost_working=_lost_working(world, gangs))
    message = serving.gave_up(world, revision)
    if message and not retry.waits(failures, policy, now) and not retry.is_exhausted(failures, policy):
        return retry.count_refusal(failures, revision, message, policy, now)
    # An application that Serve refuses, or has yet to take, is sent at zero too: its series goes on.
    return retry.anew(failures) if wish.replicas == 0 and serving.has_taken(world, revision) else failures


def _lost_working(world: World, gangs: Sequence[Gang]) -> bool:
    """A pod that the last status called Ready is gone, broken, or deleted by somebody else: those that we dismiss drain first."""
    gone = (GangState.BROKEN, GangState.TERMINATING)
    there = {pod.name for gang in gangs if gang.state not in gone for pod in gang.pods}
    return bool(world.were_ready - there)


def _deletion(world: World, gangs: Sequence[Gang], now: float) -> Plan:
    actions: list[Action] = [
        Delete(why="the LlamaDeployment is being deleted", kind="Pod", name=pod.name, uid=pod.uid, grace_seconds=DELETE_GRACE_SECONDS)
        for pod in world.pods
        # Whoever deletes the namespace deletes the pods too, each with the time of the longest stream: a later request shortens that.
        if not pod.deleting or (pod.delete_by is not None and pod.delete_by > now + DELETE_GRACE_SECONDS)
    ]
    finished = not world.pods
    if finished and names.FINALIZER in world.finalizers:
        actions.append(RemoveFinalizer(why="no pod is left"))
    return Plan(actions=actions, gangs=gangs, failures=world.failures, finished_deleting=finished)


def look_again_in(plan_: Plan, wanted: int) -> float:
    """Seconds until the next pass, when nothing wakes it earlier."""
    if plan_.finished_deleting:
        return REST_SECONDS
    gangs = [gang for gang in plan_.gangs if not gang.stuck]
    at_rest = not plan_.actions and not plan_.moving and len(gangs) == wanted
    return REST_SECONDS if at_rest and all(gang.state is GangState.READY for gang in gangs) else BUSY_SECONDS
