"""What a pass can do. Each action carries the sentence that says why; the executor does them in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Action:
    """One step, and why."""

    why: str
    announce: str | None = None
    """Reason of the Event to emit once it is done; None for steps that nobody needs to read about."""


@dataclass(frozen=True, kw_only=True)
class Create(Action):
    """Make an object if it is not there; one that is there is left as it is."""

    manifest: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class MakeToken(Action):
    """Make the Secret with Ray's token if it is not there."""


@dataclass(frozen=True, kw_only=True)
class Apply(Action):
    """Server-side apply."""

    manifest: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Delete(Action):
    """Delete an object, and only that one: the uid is a precondition where it is given."""

    kind: str
    name: str
    uid: str | None = None
    grace_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Mark(Action):
    """Change labels and annotations of a pod."""

    pod: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Drain(Action):
    """Tell a pod's agent to take no new request and let its streams finish."""

    pod: str
    ip: str
    deadline_seconds: int


@dataclass(frozen=True, kw_only=True)
class PutServe(Action):
    """Send the Serve application to a head."""

    revision: str
    ip: str
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ScaleServe(Action):
    """Set the number of Serve replicas."""

    revision: str
    ip: str
    deployment: str
    target: int


@dataclass(frozen=True, kw_only=True)
class AddFinalizer(Action):
    """Put our finalizer on the LlamaDeployment."""


@dataclass(frozen=True, kw_only=True)
class RemoveFinalizer(Action):
    """Let the LlamaDeployment go."""
