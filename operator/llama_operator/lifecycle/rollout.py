"""Which gangs to make, drain and delete in this pass.

Without another revision around:

    wanted 3, there 1   make two, when no pause after a failure is running
    wanted 1, there 3   drain two that serve (emptiest, youngest first), delete at once what does not serve yet
    one gang broken     delete all its pods; a new one takes its place when they are gone

With an older revision around, its gangs are moved over one at a time, so that no more GPUs are used than before:

    old 2 ready, new 0            drain one old
    old 1 ready, new 0, 1 leaving wait for its GPUs
    old 1 ready, new 1 loading    wait
    old 1 ready, new 1 ready      drain the other
    old 1 ready, new 1 failed     stop: the old one serves on

A gang that left its pods behind still holds its GPUs, so it counts as room taken until its pods are gone. One whose pods do not go, on a
node that is dead, would count for ever: the others move on without it, and only its number stays taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_operator.lifecycle.actions import Action, Create, Delete, Drain, Mark
from llama_operator.lifecycle.gangs import Gang, GangState, free_numbers, victim_order
from llama_operator.lifecycle.observed import Serve, World, rfc3339
from llama_operator.rendering import names
from llama_operator.rendering.revision import Pinned

GONE_GRACE_SECONDS = 5
"""For pods that serve nobody: Ray needs a moment to leave, nothing else does."""

DRAIN_MARGIN_SECONDS = 15
"""After the drain's own deadline: the pod is deleted even if its agent or the head cannot say that it is empty."""


@dataclass(frozen=True, kw_only=True)
class GangSteps:
    """What to do with the gangs, and how many of each revision Serve should run."""

    actions: Sequence[Action]
    kept: Sequence[Gang]
    """Gangs of the current revision that stay."""
    victims: Sequence[Gang]
    """Gangs that begin to leave in this pass."""
    serving: int
    """Replicas that Serve should run for the current revision, those that still drain not counted."""
    moving: bool
    """Another revision still has gangs."""


def plan_gangs(
    world: World, gangs: Sequence[Gang], pinned: Pinned, target: int, *, may_create: bool, exhausted: bool, now: float
) -> GangSteps:
    """The gang steps of one pass. `target` is the wanted number of replicas of the current revision `pinned`."""
    current = [gang for gang in gangs if gang.revision == pinned.revision]
    old = [gang for gang in gangs if gang.revision != pinned.revision and not gang.stuck]
    actions: list[Action] = []
    for gang in gangs:
        actions += _see_off(world, gang, now)
    for gang in current:
        if gang.state is GangState.FAILED and (may_create or exhausted):
            actions += _delete(gang, f"{gang} failed to load: {gang.why}", "GangDeleted")
    kept = [gang for gang in current if gang.counts or (gang.state is GangState.FAILED and not (may_create or exhausted))]
    leaving = [gang for gang in current if gang not in kept and not gang.stuck]
    live_old = [gang for gang in old if gang.state not in (GangState.DRAINING, GangState.TERMINATING)]
    victims = _victims(world, kept, old, live_old, pinned, target)
    for gang in victims:
        if gang.state is GangState.BROKEN:
            continue  # seen off already
        actions += _dismiss(gang, now, "another revision takes its place" if gang in live_old else f"{target} replicas are wanted")
    kept = [gang for gang in kept if gang not in victims]
    for gang in kept:
        actions += _complete(gang, pinned)
    # A gang that left its pods behind holds its GPUs; while a revision is replaced, nothing is made on top of it.
    held = len(kept) + (len(old) + len(leaving) if old else 0)
    created = free_numbers((gang.number for gang in current), max(0, target - held)) if may_create else []
    why = f"{target} replicas are wanted, {len(kept)} are there"
    for number in created:
        for rank, manifest in enumerate(pinned.gang_pods(number)):
            actions.append(Create(why=why, announce="GangCreated" if rank == 0 else None, manifest=manifest))
    healthy = [gang for gang in kept if gang.state is not GangState.FAILED and (gang.state is not GangState.BROKEN or may_create)]
    return GangSteps(actions=actions, kept=kept, victims=victims, serving=len(healthy) + len(created), moving=bool(old))


def _victims(world: World, kept: Sequence[Gang], old: Sequence[Gang], live_old: Sequence[Gang], pinned: Pinned, target: int) -> list[Gang]:
    """Gangs to dismiss in this pass."""
    if not old:
        return victim_order(kept)[: max(0, len(kept) - target)]
    idle_old = [gang for gang in live_old if gang.state is not GangState.READY]
    if idle_old:
        return idle_old
    head = world.head(pinned.revision)
    if not live_old or head is None or not head.ready:
        return []
    excess = len(live_old) + len(kept) - target
    if excess > 0:
        return victim_order(live_old)[:excess]
    # An open slot (a pause after a failure, an attempt too many) or a gang on its way, in or out, stops the move: what serves goes on.
    moving = any(gang.state is not GangState.READY for gang in kept)
    if excess < 0 or moving or len(live_old) < len(old):
        return []
    return victim_order(live_old)[:1]


def _complete(gang: Gang, pinned: Pinned) -> list[Action]:
    """Pods of a gang that were never made, because the API failed half way."""
    if gang.state is not GangState.PENDING or len(gang.pods) >= len(pinned.gang):
        return []
    present = {pod.rank for pod in gang.pods}
    return [
        Create(why=f"{gang} lacks rank {rank}", manifest=manifest)
        for rank, manifest in enumerate(pinned.gang_pods(gang.number))
        if rank not in present
    ]


def _see_off(world: World, gang: Gang, now: float) -> list[Action]:
    """Steps for a gang that is already on its way out, or must be replaced."""
    if gang.state is GangState.TERMINATING:
        return _delete(gang, f"{gang} is replaced whole", None)
    if gang.state is GangState.BROKEN:
        return _delete(gang, f"{gang}: {gang.why}; it is replaced whole", "GangIncomplete")
    if gang.state is not GangState.DRAINING:
        return []
    pinned = world.pinned.get(gang.revision)
    if gang.leader is None or any(pod.ended for pod in gang.pods) or (pinned and len(gang.pods) < len(pinned.gang)):
        return _delete(gang, f"{gang} lost a pod while it drained", "GangDeleted")
    leader, seconds = gang.leader, drain_seconds(world, gang)
    begun = next(pod.drain_since for pod in gang.pods if pod.drain_since is not None)
    if is_drained(world, gang):
        return _delete(gang, f"{gang} finished its streams", "GangDrained")
    if begun > now + DRAIN_MARGIN_SECONDS:
        # The clock ran ahead when it was marked: its GPUs must not be held until the clock gets there.
        return _marks(gang, now, f"{gang} drains since now, not since a time to come", None)
    if now > begun + seconds + DRAIN_MARGIN_SECONDS:
        return _delete(gang, f"{gang} did not finish within {seconds} s", "DrainDeadline")
    if leader.ip and (gang.agent is None or gang.agent.phase != "Draining"):
        return [Drain(why=f"{gang} lets its streams finish", pod=leader.name, ip=leader.ip, deadline_seconds=seconds)]
    return []


def drain_seconds(world: World, gang: Gang) -> int:
    """How long a stream of this gang may still take."""
    pinned = world.pinned.get(gang.revision)
    return pinned.config.drain_seconds if pinned else 120


def is_drained(world: World, gang: Gang) -> bool:
    """Nobody is served there any more: the engine's process is gone, or it has no request and Serve has let go of its replica.

    An agent that drains and counts no requests at all has no engine left: Ray has left the pod. Serve may list the replica as stopping
    for as long as a stream might have taken, without saying where it is; waiting for that would hold the GPUs for minutes.
    """
    if gang.leader is None or gang.agent is None or gang.agent.phase != "Draining":
        return False
    if gang.agent.in_flight is None:
        return True
    serve = world.serve.get(gang.revision)
    if gang.agent.in_flight or not isinstance(serve, Serve):
        return False
    return not any(replica.node_ip == gang.leader.ip for replica in serve.replicas)


def _dismiss(gang: Gang, now: float, why: str) -> list[Action]:
    """A gang that serves drains first; one that does not is deleted."""
    if gang.state is not GangState.READY:
        return _delete(gang, f"{gang}, not serving yet: {why}", "GangDeleted")
    return _marks(gang, now, f"{gang} drains: {why}", "GangDraining")


def _marks(gang: Gang, now: float, why: str, announce: str | None) -> list[Action]:
    return [
        Mark(
            why=why,
            announce=announce if pod.rank == 0 else None,
            pod=pod.name,
            uid=pod.uid,
            labels={names.LABEL_TRAFFIC: "false"},
            annotations={names.ANNOTATION_DRAIN_SINCE: rfc3339(now)},
        )
        for pod in gang.pods
    ]


def _delete(gang: Gang, why: str, announce: str | None) -> list[Action]:
    alive = [pod for pod in gang.pods if not pod.deleting]
    return [
        Delete(
            why=why,
            announce=announce if index == 0 else None,
            kind="Pod",
            name=pod.name,
            uid=pod.uid,
            grace_seconds=GONE_GRACE_SECONDS,
        )
        for index, pod in enumerate(alive)
    ]
