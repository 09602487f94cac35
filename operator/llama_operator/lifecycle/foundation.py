"""What stands around the gangs: the Secret, Services, guards, the pinned revision, the head; and clearing away what an old revision
left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.lifecycle.actions import Action, Apply, Create, Delete, MakeToken
from llama_operator.lifecycle.diff import first_difference
from llama_operator.lifecycle.observed import Pod, World
from llama_operator.lifecycle.rollout import GONE_GRACE_SECONDS
from llama_operator.rendering import names
from llama_operator.rendering.revision import Pinned, is_of_newer_operator

CONTROLLER_REVISION = "ControllerRevision"
CLAIM = "PersistentVolumeClaim"
SERVICE = "Service"

FAILED_HEAD_SECONDS = 10.0
"""How long a head that failed is left to be looked at. A head costs no GPU, and nothing can load without it: it is tried for ever."""

NO_CONFIG = "CreateContainerConfigError"
"""The kubelet's word for a Secret or ConfigMap of a container's environment that is not there. It looks again by itself."""

HANDOVER_SECONDS = 10.0
"""How long an old head stays after the current one let users in: until every node knows, requests still come to it. An order of magnitude
above kube-proxy's own pause of 1 s (https://kubernetes.io/docs/reference/networking/virtual-ips/#optimizing-iptables-mode-performance)."""


def shared_objects(world: World, desired: Sequence[Mapping[str, Any]]) -> list[Action]:
    """Objects of the LlamaDeployment as a whole: applied when they are absent, or differ in a field that we set.

    One that the store does not know was looked for in this very pass: an apply takes over what bears the name, whoever made it.
    """
    actions: list[Action] = []
    taken = {(other.kind, other.name) for other in world.taken}
    for manifest in desired:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if (kind, name) in taken:
            continue
        live = world.objects.get((kind, name))
        difference = "it is not there" if live is None else first_difference(manifest, live)
        if difference:
            actions.append(Apply(why=f"{kind} {name}: {difference}", manifest=manifest))
    return actions


def revision_objects(world: World, pinned: Pinned, record: Mapping[str, Any] | None) -> list[Action]:
    """The pinned record of the current revision and what its head needs, the head pod included. `record` is None where it is kept
    already.
    """
    actions: list[Action] = []
    if record is not None:
        name = record["metadata"]["name"]
        live = world.objects.get((CONTROLLER_REVISION, name))
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return actions + _head_and_its_needs(world, pinned)  # whoever put a finalizer on it has the word; its end wakes a pass
        if live is not None and not is_of_newer_operator(live):
            # Its data cannot be changed. It was not read, so it is not the one that we would have made (`from_controller_revision`).
            why, uid = f"{CONTROLLER_REVISION} {name} is not as the operator wrote it", live["metadata"].get("uid")
            actions.append(Delete(why=why, announce="RevisionRemoved", kind=CONTROLLER_REVISION, name=name, uid=uid))
        actions.append(Create(why=f"revision {pinned.revision} begins", announce="RevisionCreated", manifest=record))
    return actions + _head_and_its_needs(world, pinned)


def old_heads(world: World, current: str) -> list[Action]:
    """Heads of older revisions whose gangs still serve: without one nobody can tell when a gang that drains is empty, and a move stops."""
    serving = {pod.revision for pod in world.pods if pod.component == names.REPLICA and not pod.deleting} - {current}
    old = [world.pinned[revision] for revision in sorted(serving & world.pinned.keys())]
    return [action for pinned in old for action in _head_and_its_needs(world, pinned)]


def _head_and_its_needs(world: World, pinned: Pinned) -> list[Action]:
    actions: list[Action] = [
        Create(why=f"revision {pinned.revision} needs it", manifest=manifest)
        for manifest in (pinned.head_store, pinned.head_service)
        if manifest and (manifest["kind"], manifest["metadata"]["name"]) not in world.objects
    ]
    head = world.head(pinned.revision)
    if head is None:
        actions.append(MakeToken(why="the pods of this LlamaDeployment need it"))
        actions.append(Create(why=f"revision {pinned.revision} has no head", announce="HeadCreated", manifest=pinned.head))
    return actions


def lost_token(world: World, already: Sequence[Action], coming: Sequence[Action]) -> list[Action]:
    """The token's Secret, which the operator may not read: somebody may have deleted it, or the garbage collector may have taken that of a
    predecessor after ours was found to be there already. So it is made, if it is not there, before pods that need it, and while one waits
    for something of the kind. The token is the same each time.
    """
    if any(isinstance(action, MakeToken) for action in already):
        return []
    secret = names.token_secret(world.key.name)  # named by the kubelet; a pod may wait for one of its user's for as long as it likes
    waiting = [pod.name for pod in world.pods if not pod.deleting and (said := pod.waiting or "").startswith(NO_CONFIG) and secret in said]
    pods = any(isinstance(action, Create) and action.manifest["kind"] == "Pod" for action in coming)
    if not waiting and not pods:
        return []
    return [MakeToken(why=f"{waiting[0]} may wait for it" if waiting else "the pods of this LlamaDeployment need it")]


def ended_heads(world: World, now: float) -> list[Action]:
    """Heads that ended, or whose Ray could not start: the pod is deleted, so that a new one can take its name and its store."""
    return [
        Delete(why=f"the head ended: {why}", announce="HeadLost", kind="Pod", name=pod.name, uid=pod.uid, grace_seconds=GONE_GRACE_SECONDS)
        for pod in world.pods
        if pod.component == names.HEAD and not pod.deleting and (why := _why_replaced(world, pod, now))
    ]


def _why_replaced(world: World, head: Pod, now: float) -> str | None:
    if head.ended:
        return head.ended
    agent = world.agent(head)
    if agent is None or agent.root_cause is None or agent.phase != "Failed":
        return None
    # When it failed is the agent's word: not before the pod was made, or a head would be replaced in every pass; nor at a time to come.
    failed = head.created if agent.since > now else max(agent.since, head.created)
    return agent.root_cause.message if now - failed >= FAILED_HEAD_SECONDS else None


def clear_old_revisions(world: World, current: str, now: float) -> list[Action]:
    """Heads of revisions without a gang are deleted once others let users in; when no pod is left, so is the rest of the revision.

    What such a head still holds no replica can answer any more: who tries again is held by the current head.
    """
    actions: list[Action] = []
    with_gangs = {pod.revision for pod in world.pods if pod.component == names.REPLICA}
    with_pods = {pod.revision for pod in world.pods}
    for pod in world.pods:
        old = pod.component == names.HEAD and pod.revision != current and pod.revision not in with_gangs
        if old and not pod.deleting and not _lets_users_in(world, pod, current, now):
            why = f"no gang of revision {pod.revision} is left"
            actions.append(Delete(why=why, kind="Pod", name=pod.name, uid=pod.uid, grace_seconds=GONE_GRACE_SECONDS))
    for (kind, name), manifest in sorted(world.objects.items()):
        metadata = manifest["metadata"]
        revision = (metadata.get("labels") or {}).get(names.LABEL_REVISION)
        if revision and revision != current and revision not in with_pods and not metadata.get("deletionTimestamp"):
            announce = "RevisionRemoved" if kind == CONTROLLER_REVISION else None
            actions.append(Delete(why=f"revision {revision} is gone", announce=announce, kind=kind, name=name, uid=metadata.get("uid")))
    return actions


def _lets_users_in(world: World, old: Pod, current: str, now: float) -> bool:
    """Users enter at the old head, or did so a moment ago: `serving.traffic_steps` shuts it once a replica or the current head is open."""
    if not old.ready or old.traffic:
        return old.ready
    if any(pod.component == names.REPLICA and pod.ready and pod.traffic and not pod.deleting for pod in world.pods):
        return False
    head = world.head(current)
    return head is not None and head.ready_since is not None and now - head.ready_since < HANDOVER_SECONDS
