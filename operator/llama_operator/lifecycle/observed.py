"""The frozen snapshot that one pass decides on. What could not be read is an `Unknown` with its reason, never an empty value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llama_operator.lifecycle.causes import bounded, words
from llama_operator.lifecycle.taken import Taken
from llama_operator.planning.hardware.requests import Holder
from llama_operator.rendering import names
from llama_operator.rendering.revision import Pinned


@dataclass(frozen=True)
class Unknown:
    """Something that could not be read, and why."""

    reason: str


def timestamp(text: Any) -> float | None:
    """An RFC 3339 time of the Kubernetes API in seconds since 1970; None where there is none.

    Nor where it cannot be read: whoever may edit pods may spoil an annotation, and that must not stop what looks at everybody's pods.
    """
    if not isinstance(text, str) or not text:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.timestamp() if read.tzinfo else None
    except (ValueError, OverflowError):
        return None


def rfc3339(now: float) -> str:
    """Seconds since 1970 as the Kubernetes API writes times."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What the API server says of one of our pods."""

    name: str
    uid: str
    revision: str
    component: str
    gang: int = -1
    rank: int = 0
    phase: str = "Pending"
    ip: str | None = None
    node: str | None = None
    ready: bool = False
    ready_since: float | None = None
    deleting: bool = False
    delete_by: float | None = None
    """When its grace period ends or ended, where it is being deleted."""
    created: float = 0.0
    traffic: bool = False
    drain_since: float | None = None
    unschedulable: str | None = None
    """The scheduler's message, while it finds no node."""
    ended: str | None = None
    """Why the pod stopped for good, where it did: a container's exit, an eviction, a lost node."""
    waiting: str | None = None
    """What a container waits for, where that needs somebody's help: an image, a Secret."""

    @property
    def running(self) -> bool:
        """The pod's main container was started and has not ended."""
        return self.phase == "Running" and self.ended is None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Pod:
        """Read a Pod manifest that carries our labels."""
        metadata, status = manifest["metadata"], manifest.get("status") or {}
        labels = metadata.get("labels") or {}
        annotations = metadata.get("annotations") or {}
        conditions = {item["type"]: item for item in status.get("conditions") or []}
        scheduled, ready = conditions.get("PodScheduled", {}), conditions.get("Ready", {})
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            revision=labels.get(names.LABEL_REVISION, ""),
            component=labels.get(names.LABEL_COMPONENT, ""),
            gang=_number(labels.get(names.LABEL_GANG), -1),
            rank=_number(labels.get(names.LABEL_RANK), 0),
            phase=status.get("phase", "Pending"),
            ip=status.get("podIP"),
            node=(manifest.get("spec") or {}).get("nodeName"),
            ready=ready.get("status") == "True",
            ready_since=timestamp(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
            deleting=bool(metadata.get("deletionTimestamp")),
            delete_by=timestamp(metadata.get("deletionTimestamp")),
            created=timestamp(metadata.get("creationTimestamp")) or 0.0,
            traffic=labels.get(names.LABEL_TRAFFIC) == "true",
            drain_since=timestamp(annotations.get(names.ANNOTATION_DRAIN_SINCE)),
            unschedulable=scheduled.get("message") or "no node fits" if scheduled.get("status") == "False" else None,
            ended=_ended(status),
            waiting=_waiting(status),
        )


def _number(text: str | None, otherwise: int) -> int:
    """A label's number. Whoever may edit pods may spoil a label; that must not stop the operator for everybody."""
    return int(text) if text and text.isascii() and text.isdigit() else otherwise


# Waiting reasons that end by themselves; the others need a person.
_PATIENT = frozenset({"ContainerCreating", "PodInitializing"})


def _statuses(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waiting(status: Mapping[str, Any]) -> str | None:
    for container in _statuses(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _PATIENT:
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    return None


def _ended(status: Mapping[str, Any]) -> str | None:
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    if status.get("reason"):
        return f"{status['reason']}: {status.get('message', '')}".rstrip(": ")
    for container in _statuses(status):
        terminated = (container.get("state") or {}).get("terminated")
        if terminated and (terminated.get("exitCode") or container.get("name") == "llama"):
            return f"container {container['name']} ended: {terminated.get('reason', '')}, exit code {terminated.get('exitCode')}"
    return f"pod {status['phase']}"


@dataclass(frozen=True, kw_only=True)
class RootCause:
    """Why a load failed, as the pod's agent found it."""

    reason: str
    message: str
    retryable: bool = True


@dataclass(frozen=True, kw_only=True)
class Agent:
    """What a pod's agent says (docs/contracts.md)."""

    phase: str
    since: float = 0.0
    percent: float | None = None
    message: str = ""
    root_cause: RootCause | None = None
    joined: bool = False
    in_flight: int | None = None
    kv_cache_tokens: int | None = None
    weight_bytes: int | None = None
    memory_bytes: int | None = None
    """Of the weights, and of everything, on the fullest rank of the pod."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Agent:
        """Read the body of `GET /status`.

        Raises KeyError, TypeError or ValueError when it is not one: what runs in a pod is the user's, and may answer anything. What it says
        in words is cut, and a reason that is none of ours is `Other`.
        """
        body = _object(body)
        cause, engine, progress = body.get("rootCause"), _object(body.get("engine") or {}), _object(body.get("progress") or {})
        return cls(
            phase=str(body["phase"]),
            since=_finite(body.get("since") or 0.0),
            percent=_finite(progress["percent"]) if progress else None,
            message=words(str(body.get("message") or "")),
            root_cause=_root_cause(cause) if cause else None,
            joined=bool(_object(body.get("ray") or {}).get("joined")),
            in_flight=_whole(engine.get("inFlight")),
            kv_cache_tokens=_whole(engine.get("kvCacheTokens")),
            weight_bytes=_whole(body.get("weightBytesPerRank")),
            memory_bytes=_whole(body.get("memoryBytesPerRank")),
        )


def _root_cause(cause: Any) -> RootCause:
    reason, message = bounded(str(cause["reason"])), words(str(cause["message"]))
    return RootCause(reason=reason, message=message, retryable=bool(cause.get("retryable", True)))


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"an object is expected, not {type(value).__name__}")
    return value


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a number is expected, not {number}")
    return number


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a whole number is expected, not {value!r}")
    return value


@dataclass(frozen=True, kw_only=True)
class ServeReplica:
    """One replica of the scaled deployment in Ray Serve's view."""

    state: str
    node_ip: str | None


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Ray Serve's view of our application, from the head's REST API."""

    deployed: bool
    """The application exists."""
    app_status: str = "NOT_STARTED"
    deployment_status: str = ""
    message: str = ""
    target: int | None = None
    replicas: Sequence[ServeReplica] = ()


@dataclass(frozen=True, kw_only=True)
class NodeGpus:
    """GPUs of one node: allocatable, and not asked for by any pod on it."""

    node: str
    total: int
    free: int
    cordoned: bool = False


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The memory of failed loads of one revision, kept in the status."""

    revision: str = ""
    attempts: int = 0
    reason: str = ""
    message: str = ""
    next_retry: float | None = None
    """Seconds since 1970; None when no further attempt will be made, or none failed."""
    counted_until: float = 0.0
    """Creation time of the youngest gang that was counted, in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class World:
    """All that a pass knows. Times are seconds since 1970."""

    key: names.Key
    uid: str
    generation: int
    deleting: bool
    finalizers: Sequence[str]
    pods: Sequence[Pod] = ()
    agents: Mapping[str, Agent | Unknown] = field(default_factory=dict)
    """By pod name."""
    serve: Mapping[str, Serve | Unknown] = field(default_factory=dict)
    """By revision, where a head pod runs."""
    pinned: Mapping[str, Pinned] = field(default_factory=dict)
    """By revision."""
    objects: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Children that are not pods, by kind and name."""
    taken: Sequence[Taken] = ()
    """Objects of others under the names of children that are not there."""
    gpus: Sequence[NodeGpus] | Unknown = field(default_factory=lambda: Unknown("not looked up"))
    holders: Sequence[Holder] = ()
    """The pods that hold those GPUs, of any namespace."""
    failures: Failures = field(default_factory=Failures)
    were_ready: frozenset[str] = frozenset()
    """Pods of the gangs that the last status called Ready."""
    now: float = 0.0

    def head(self, revision: str) -> Pod | None:
        """The head pod of a revision."""
        return next((pod for pod in self.pods if pod.component == names.HEAD and pod.revision == revision), None)

    def agent(self, pod: Pod) -> Agent | None:
        """What the pod's agent said, where it said anything."""
        said = self.agents.get(pod.name)
        return said if isinstance(said, Agent) else None
