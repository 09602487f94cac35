"""What Ray Serve is told, and which pods let users in.

Serve's replica count follows the gangs that are of use: a gang that still starts counts, since Serve waits for its node without harm;
one that failed to load, or that left, does not. A draining gang counts until Serve itself has let go of its replica; lowering the
count earlier would leave the choice of the victim to Serve.

Users enter at replica pods. Only while none is ready does the head let them in: its proxy then holds their requests. An older head that
let them in goes on with it until the current one does: a Service without an endpoint refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence

from llama_operator.lifecycle.actions import Action, Mark, PutServe, ScaleServe
from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.lifecycle.observed import Serve, World
from llama_operator.rendering import names
from llama_operator.rendering.revision import Pinned
from llama_operator.rendering.serve_app import with_replicas

GAVE_UP = "DEPLOY_FAILED"
"""Serve's application status after it gave up. It is terminal: the same PUT again does nothing."""

RUNS = frozenset({"RUNNING", "UNHEALTHY"})
"""Serve's application statuses once it has taken it: whatever fails from then on, the application itself is not refused any more."""

LEAVING = "DELETING"
"""Serve's application status after it was taken away, while its replicas stop."""


def gave_up(world: World, revision: str) -> str | None:
    """Serve's message where it gave up on the application and no replica runs; None otherwise."""
    serve = world.serve.get(revision)
    if not isinstance(serve, Serve) or serve.app_status != GAVE_UP or any(replica.state == "RUNNING" for replica in serve.replicas):
        return None
    return serve.message or "Ray Serve gave up on the application and does not say why"


def has_taken(world: World, revision: str) -> bool:
    """Serve is known to hold the application, and did not refuse it."""
    serve = world.serve.get(revision)
    return isinstance(serve, Serve) and serve.deployed and serve.app_status in RUNS


def serve_steps(
    world: World, gangs: Sequence[Gang], victims: Sequence[Gang], pinned: Pinned, serving: int, *, may_try: bool
) -> list[Action]:
    """Calls to the heads. `serving` is the wanted count of the current revision, those that drain or begin to (`victims`) not included."""
    actions: list[Action] = []
    for revision, serve in sorted(world.serve.items()):
        head = world.head(revision)
        if not isinstance(serve, Serve) or head is None or not head.ip or head.deleting:
            continue
        mine = [gang for gang in gangs if gang.revision == revision]
        lingering = sum(1 for gang in mine if _still_served(gang, serve, victims))
        if revision == pinned.revision:
            actions += _current(world, pinned, serve, head.ip, serving + lingering, may_try=may_try)
        elif serve.deployed and (old := world.pinned.get(revision)):
            count = lingering + sum(1 for gang in mine if gang.counts and gang not in victims)
            actions += _scale(old, serve, head.ip, count)
    return actions


def _still_served(gang: Gang, serve: Serve, victims: Sequence[Gang]) -> bool:
    """The gang drains, or is told to in this very pass, and Serve does not know it yet."""
    drains = gang.state is GangState.DRAINING or (gang.state is GangState.READY and gang in victims)
    if not drains or gang.leader is None:
        return False
    return any(replica.node_ip == gang.leader.ip and replica.state == "RUNNING" for replica in serve.replicas)


def _current(world: World, pinned: Pinned, serve: Serve, ip: str, count: int, *, may_try: bool) -> list[Action]:
    if gave_up(world, pinned.revision):
        empty = {**pinned.application, "applications": []}
        return [
            PutServe(why="Serve gave up on the application; it is taken away and sent anew", revision=pinned.revision, ip=ip, body=empty)
        ]
    if not serve.deployed:
        if not may_try:
            return []
        body = with_replicas(pinned.application, count)
        return [PutServe(why="the head does not have the application", revision=pinned.revision, ip=ip, body=body)]
    return _scale(pinned, serve, ip, count)


def _scale(pinned: Pinned, serve: Serve, ip: str, count: int) -> list[Action]:
    if serve.target is None or serve.target == count or serve.app_status == LEAVING:
        return []
    why = f"{count} gangs are of use, Serve wants {serve.target}"
    return [ScaleServe(why=why, revision=pinned.revision, ip=ip, deployment=pinned.serve_deployment, target=count)]


def traffic_steps(world: World, gangs: Sequence[Gang], victims: Sequence[Gang], current: str) -> list[Action]:
    """Labels of the heads: while no replica lets users in the current one does, and until it is ready an old one that did so before."""
    open_replicas = [gang for gang in gangs if gang.state is GangState.READY and gang not in victims]
    head = world.head(current)
    taken_over = head is not None and head.ready and head.traffic and not head.deleting
    actions: list[Action] = []
    for pod in world.pods:
        if pod.component != names.HEAD or pod.deleting:
            continue
        wanted = not open_replicas and (pod.revision == current or (pod.traffic and not taken_over))
        if pod.traffic != wanted:
            closed = "replicas take the traffic" if open_replicas else "the head of the current revision holds requests"
            why = "no replica is ready: the head holds requests" if wanted else closed
            actions.append(Mark(why=why, pod=pod.name, uid=pod.uid, labels={names.LABEL_TRAFFIC: "true" if wanted else "false"}))
    return actions
