"""All reading of one pass, into one frozen World. What belongs together is read at the same time; what fails becomes Unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from llama_operator.adapters.tokens import Tokens
from llama_operator.control.rooms import Rooms
from llama_operator.control.store import Store
from llama_operator.lifecycle.observed import Agent, NodeGpus, Pod, Serve, Unknown, World
from llama_operator.lifecycle.status import failures_from_json, ready_pods
from llama_operator.lifecycle.taken import Taken, taken
from llama_operator.planning.hardware.requests import Holder
from llama_operator.ports import Agents, Reader, ServeApi
from llama_operator.rendering import names
from llama_operator.rendering.revision import Pinned, from_controller_revision

GPUS_SECONDS = 10.0
"""How old the free GPUs may be of which a pod that waits for a node is told: they choose words, and nothing else."""
ASKED_AT_ONCE = 16
"""Pods of one LlamaDeployment."""
ASKING_SECONDS = 20.0
"""For all questions to the pods of one LlamaDeployment: who has not answered by then is not known in this pass."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Senses:
    """The ports that a pass reads through."""

    reader: Reader
    agents: Agents
    serve: ServeApi
    tokens: Tokens
    store: Store
    rooms: Rooms


async def gather(senses: Senses, raw: Mapping[str, Any], gpu_resource: str) -> World:
    """The snapshot of one LlamaDeployment. Raises ApiError when its pods cannot be listed: without them nothing may be decided."""
    metadata = raw["metadata"]
    key = names.Key(metadata["namespace"], metadata["name"])
    manifests = await senses.reader.list("Pod", key.namespace, f"{names.LABEL_DEPLOYMENT}={key.name}")
    # A pod whose owner is another LlamaDeployment is one of a predecessor with the same name: it is the garbage collector's.
    pods = [Pod.of(item) for item in manifests if _owned(item, metadata["uid"])]
    deleting = bool(metadata.get("deletionTimestamp"))
    known = _objects(senses.store, key, metadata["uid"])
    objects, others = (known, []) if deleting else await _look_for_shared(senses.reader, key, metadata["uid"], known)
    pinned = _pinned(objects, key, metadata["uid"])
    asked, questions = [pod for pod in pods if pod.ip and pod.running and is_named(pod, key.name)], _Questions()
    # Heads first: there are few, and without theirs nothing is scaled or replaced, however many agents are silent.
    serve, agents, (gpus, holders) = await asyncio.gather(
        _ask_heads(senses, asked, questions, pinned, metadata["uid"]),
        _ask_agents(senses, asked, questions),
        _look_for_gpus(senses, pods, gpu_resource),
    )
    return World(
        key=key,
        uid=metadata["uid"],
        generation=int(metadata.get("generation") or 0),
        deleting=deleting,
        finalizers=tuple(metadata.get("finalizers") or ()),
        pods=pods,
        agents=agents,
        serve=serve,
        pinned=pinned,
        objects=objects,
        taken=others,
        gpus=gpus,
        holders=holders,
        failures=failures_from_json(raw.get("status") or {}),
        were_ready=ready_pods(raw.get("status") or {}),
    )


def _owned(manifest: Mapping[str, Any], uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in manifest["metadata"].get("ownerReferences") or [])


def _objects(store: Store, key: names.Key, uid: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {place: item for place, item in store.children(key).items() if _owned(item, uid)}


async def _look_for_shared(
    reader: Reader, key: names.Key, uid: str, known: Mapping[tuple[str, str], dict[str, Any]]
) -> tuple[dict[tuple[str, str], dict[str, Any]], list[Taken]]:
    """The children, with those that the store does not know (yet, or any more: without our labels no watch tells of them); and what others
    have under the names of those that are not there. Nothing is asked where all are known. Raises ApiError.
    """
    unknown = [place for place in names.shared(key.name) if place not in known]
    found = await asyncio.gather(*(reader.get(kind, key.namespace, name) for kind, name in unknown))
    objects, others = dict(known), list[Taken]()
    for place, manifest in zip(unknown, found, strict=True):
        if manifest is None:
            continue
        other = taken(manifest, key, uid)
        if other is None:
            objects[place] = manifest
        else:
            others.append(other)
    return objects, others


def pinned_revisions(store: Store, key: names.Key, uid: str) -> dict[str, Pinned]:
    """What the ControllerRevisions of a LlamaDeployment keep, by revision."""
    return _pinned(_objects(store, key, uid), key, uid)


def _pinned(objects: Mapping[tuple[str, str], Mapping[str, Any]], key: names.Key, uid: str) -> dict[str, Pinned]:
    read = (from_controller_revision(item, key, uid) for (kind, _), item in objects.items() if kind == "ControllerRevision")
    return {pinned.revision: pinned for pinned in read if pinned is not None}


def is_named(pod: Pod, deployment: str) -> bool:
    """Whether a pod bears the name that its labels stand for: then there is one of each, however many a tenant labels like ours."""
    if pod.component == names.HEAD:
        return pod.name == names.head(deployment, pod.revision)
    return pod.component == names.REPLICA and pod.name == names.gang_pod(deployment, pod.revision, pod.gang, pod.rank)


class _Questions:
    """The questions of one pass to what tenants run: so many at once, and in so much time."""

    def __init__(self) -> None:
        self._gate = asyncio.Semaphore(ASKED_AT_ONCE)
        self._end = asyncio.get_running_loop().time() + ASKING_SECONDS

    async def ask(self, question: Callable[[], Awaitable[T | Unknown]]) -> T | Unknown:
        try:
            async with asyncio.timeout_at(self._end), self._gate:
                return await question()
        except TimeoutError:
            return Unknown(f"no answer within the {ASKING_SECONDS:g} s for all questions")


async def _ask_agents(senses: Senses, pods: Sequence[Pod], questions: _Questions) -> dict[str, Agent | Unknown]:
    answers = await asyncio.gather(*(questions.ask(partial(senses.agents.status, pod.ip or "")) for pod in pods))
    return {pod.name: answer for pod, answer in zip(pods, answers, strict=True)}


async def _ask_heads(
    senses: Senses, pods: Sequence[Pod], questions: _Questions, pinned: Mapping[str, Pinned], uid: str
) -> dict[str, Serve | Unknown]:
    token = senses.tokens.token(uid)
    heads = [pod for pod in pods if pod.component == names.HEAD and not pod.deleting and pod.revision in pinned]
    asked = (partial(senses.serve.view, pod.ip or "", token, pinned[pod.revision].serve_deployment) for pod in heads)
    answers = await asyncio.gather(*map(questions.ask, asked))
    return {pod.revision: answer for pod, answer in zip(heads, answers, strict=True)}


async def _look_for_gpus(senses: Senses, pods: Sequence[Pod], resource: str) -> tuple[Sequence[NodeGpus] | Unknown, Sequence[Holder]]:
    """Only while a pod finds no node: it takes a list of all nodes and pods."""
    if not any(pod.unschedulable for pod in pods):
        return Unknown("no pod waits for a node"), ()
    return await senses.rooms.read(resource, GPUS_SECONDS)
