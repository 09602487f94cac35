"""Does what a plan says, in its order. One step that fails does not keep the others from being done; the pass is then retried.

Drains that follow one another are asked for together: each agent may take seconds to say nothing, and others wait for the worker.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from llama_operator.adapters.kinds import CHILD_KINDS
from llama_operator.adapters.tokens import Tokens
from llama_operator.control.store import Store
from llama_operator.lifecycle import actions as act
from llama_operator.lifecycle.observed import World
from llama_operator.ports import AgentError, Agents, ApiError, Conflict, ServeApi, ServeError, Writer
from llama_operator.rendering import guards, names
from llama_operator.rendering.context import RenderContext

log = structlog.get_logger(__name__)

DRAINS_AT_ONCE = 32
DRAIN_SECONDS = 20.0
"""For all drains that a pass asks for together; who was not reached by then is asked in the next one."""

WRITTEN_KINDS = frozenset({"Pod", *CHILD_KINDS})
"""What is ever made from a manifest. The Secret of `MakeToken` is rendered here, from no manifest that was read."""


class Astray(Exception):
    """A step would write what is no child of the LlamaDeployment under work: a mistake in the operator, and nothing was sent."""


@dataclass(frozen=True, kw_only=True)
class Hands:
    """The ports that a pass acts through."""

    writer: Writer
    agents: Agents
    serve: ServeApi
    tokens: Tokens
    store: Store


@dataclass(kw_only=True)
class Outcome:
    """What was done and what failed."""

    done: list[act.Action] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


async def execute(
    hands: Hands, world: World, raw: Mapping[str, Any], context: RenderContext | None, actions: Sequence[act.Action]
) -> Outcome:
    """Do the actions. Raises NotLeader when the Lease is lost half way: then nothing more must be done. Raises Astray before the first one
    when one of them is not to be done.
    """
    for action in actions:
        _keep_to(world.key, action)
    outcome = Outcome()
    for drains, steps in itertools.groupby(actions, lambda action: isinstance(action, act.Drain)):
        if drains:
            await _drain_all(hands, world, [step for step in steps if isinstance(step, act.Drain)], outcome)
            continue
        for action in steps:
            try:
                did = await _do(hands, world, raw, context, action)
            except Conflict as error:
                log.info("the object changed meanwhile; the next pass sees it", action=type(action).__name__, error=str(error))
            except (ApiError, ServeError) as error:
                _failed(outcome, action, error)
            else:
                if did:
                    _did(outcome, action)
    return outcome


def _keep_to(key: names.Key, action: act.Action) -> None:
    """The operator may write everywhere; for one LlamaDeployment it writes in that one's namespace, whatever a pinned manifest says."""
    match action:
        case act.Create(manifest=manifest) | act.Apply(manifest=manifest):
            kind, metadata = manifest.get("kind"), manifest.get("metadata") or {}
            what = f"{type(action).__name__} {kind} {metadata.get('name')}"
            if kind not in WRITTEN_KINDS:
                raise Astray(f"{what} for {key} is refused: only {', '.join(sorted(WRITTEN_KINDS))} are made of manifests")
            if metadata.get("namespace") != key.namespace:
                where = f"namespace {metadata['namespace']}" if metadata.get("namespace") else "no namespace"
                raise Astray(f"{what} for {key} is refused: its manifest names {where}, not {key.namespace}")
        case _:
            pass  # every other step takes its namespace from the LlamaDeployment itself


async def _drain_all(hands: Hands, world: World, drains: Sequence[act.Drain], outcome: Outcome) -> None:
    token, gate = hands.tokens.token(world.uid), asyncio.Semaphore(DRAINS_AT_ONCE)
    end = asyncio.get_running_loop().time() + DRAIN_SECONDS

    async def drain(action: act.Drain) -> None:
        try:
            async with asyncio.timeout_at(end), gate:
                await hands.agents.drain(action.ip, token, action.deadline_seconds)
        except TimeoutError:
            raise AgentError(f"agent at {action.ip}: not reached within the {DRAIN_SECONDS:g} s for all drains") from None

    # All have ended when an unforeseen error ends the pass: the next one must not meet what is left of this one.
    for action, error in zip(drains, await asyncio.gather(*map(drain, drains), return_exceptions=True), strict=True):
        if isinstance(error, AgentError):
            _failed(outcome, action, error)
        elif error is not None:
            raise error
        else:
            _did(outcome, action)


def _failed(outcome: Outcome, action: act.Action, error: Exception) -> None:
    log.warning("a step failed", action=type(action).__name__, why=action.why, error=str(error))
    outcome.errors.append(f"{type(action).__name__}: {error}")


def _did(outcome: Outcome, action: act.Action) -> None:
    log.info("did", action=type(action).__name__, why=action.why, what=_what(action))
    outcome.done.append(action)


async def _do(hands: Hands, world: World, raw: Mapping[str, Any], context: RenderContext | None, action: act.Action) -> bool:
    """Do one action; False when what it makes was there already."""
    namespace = world.key.namespace
    match action:
        case act.Create(manifest=manifest):
            made = await hands.writer.create(manifest)
            if made is None:
                return False
            _remember(hands.store, made)
        case act.MakeToken():
            if context is None:
                return False
            return await hands.writer.create(guards.token_secret(context, hands.tokens.token(world.uid))) is not None
        case act.Apply(manifest=manifest):
            _remember(hands.store, await hands.writer.apply(manifest))
        case act.Delete(kind=kind, name=name, uid=uid, grace_seconds=grace):
            await hands.writer.delete(kind, namespace, name, uid=uid, grace_seconds=grace)
        case act.Mark(pod=pod, uid=uid, labels=labels, annotations=annotations):
            patch = {"metadata": {"uid": uid, "labels": dict(labels), "annotations": dict(annotations)}}
            await hands.writer.patch("Pod", namespace, pod, patch)
        case act.PutServe(ip=ip, body=body):
            await hands.serve.put(ip, hands.tokens.token(world.uid), body)
        case act.ScaleServe(ip=ip, deployment=deployment, target=target):
            await hands.serve.scale(ip, hands.tokens.token(world.uid), deployment, target)
        case act.AddFinalizer():
            await _finalizers(hands, raw, [*world.finalizers, names.FINALIZER])
        case act.RemoveFinalizer():
            await _finalizers(hands, raw, [item for item in world.finalizers if item != names.FINALIZER])
        case _:
            raise TypeError(f"no way to do {action!r}")
    return True


async def _finalizers(hands: Hands, raw: Mapping[str, Any], wanted: Sequence[str]) -> None:
    """Set the finalizers, unless somebody changed them since they were read."""
    metadata = raw["metadata"]
    known = list(metadata.get("finalizers") or [])
    test = {"op": "test", "path": "/metadata/finalizers", "value": known} if known else None
    patch = [*([test] if test else []), {"op": "add", "path": "/metadata/finalizers", "value": list(wanted)}]
    written = await hands.writer.patch(names.KIND, metadata["namespace"], metadata["name"], patch)
    if written is None:
        return
    left = written["metadata"]
    if left.get("deletionTimestamp") and not left.get("finalizers"):
        # It is gone with this answer. The watch may have said so before; put back now, it would haunt the store until the next resync.
        hands.store.drop(names.KIND, left["namespace"], left["name"], left.get("uid"))
    else:
        _remember(hands.store, written)


def _remember(store: Store, manifest: dict[str, Any]) -> None:
    if manifest.get("kind") not in ("Pod", "Secret", None):
        store.put(manifest)


def _what(action: act.Action) -> str:
    match action:
        case act.Create(manifest=manifest) | act.Apply(manifest=manifest):
            return f"{manifest['kind']}/{manifest['metadata']['name']}"
        case act.Delete(kind=kind, name=name):
            return f"{kind}/{name}"
        case act.Mark(pod=pod) | act.Drain(pod=pod):
            return f"Pod/{pod}"
        case act.ScaleServe(deployment=deployment, target=target):
            return f"{deployment} to {target}"
        case _:
            return ""
