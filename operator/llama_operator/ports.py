"""What the conductors need of the world outside, in Protocols of a few methods each. `adapters/` implements them; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from llama_operator.api.problems import Problem
from llama_operator.lifecycle.observed import Agent, Serve, Unknown
from llama_operator.planning.admission import Unread
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.models.contents import ModelContents
from llama_operator.scaling.signals import Missing, Series

FORBIDDEN, NOT_FOUND, CONFLICT, INVALID = 403, 404, 409, 422
"""HTTP statuses by which an ApiError is told apart."""


class ApiError(Exception):
    """The API server refused or failed. `status` is the HTTP status; 0 when there was no answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class Conflict(ApiError):
    """The object is not what we thought: it exists already, changed, or has another uid. The next pass sees what it is."""


class Reader(Protocol):
    """Reads from the API server. Raises ApiError."""

    async def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        *,
        cut: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """All objects of a kind; `cut` makes of each what is kept of it, page by page."""
        ...

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object; None where it is not."""
        ...


class Writer(Protocol):
    """Writes to the API server, while this process holds the Lease. Raises ApiError, Conflict, NotLeader."""

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make an object; None when one of that name exists."""
        ...

    async def apply(self, manifest: Mapping[str, Any], subresource: str | None = None) -> dict[str, Any]:
        """Server-side apply as our field manager."""
        ...

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Merge patch (a mapping) or JSON patch (a list); None when the object is gone."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """Delete an object; nothing happens when it is gone."""
        ...


class Metrics(Protocol):
    """Reads from Prometheus."""

    async def newest(self, selector: str) -> Sequence[Series] | Missing:
        """The newest sample of each series that a range selector finds."""
        ...


class Models(Protocol):
    """Knows models by their source."""

    async def facts(self, source: str, revision: str | None = None) -> ModelFacts | Problem | Unread:
        """What the planner is told; a Problem for what is no Llama. Never raises: what cannot be read is Unread."""
        ...


class ModelReader(Protocol):
    """Reads what a model's weight files hold, never the weights. Raises ModelFilesError."""

    async def read_model(self, source: str, revision: str | None = None) -> ModelContents:
        """The config files and every tensor's name, type, shape and size."""
        ...

    async def read_adapter(self, source: str, revision: str | None = None) -> ModelContents:
        """The same of a LoRA adapter."""
        ...


class ModelFilesError(Exception):
    """A model's files cannot be read. `message` says what happened, `remedy` is a whole sentence; neither holds a token.

    NotFound: no such model, revision, folder or file. Denied: not without a token, or not with this one. RateLimited: later, after
    `retry_after` seconds where the hub says so. NoAnswer: the hub is not reached, or fails. Unreadable: what is there is no model.
    """

    def __init__(
        self,
        reason: Literal["NotFound", "Denied", "RateLimited", "NoAnswer", "Unreadable"],
        message: str,
        remedy: str,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{message}. {remedy}")
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.retry_after = retry_after


class ServeApi(Protocol):
    """Ray Serve's REST API on a head."""

    async def view(self, ip: str, token: str, deployment: str) -> Serve | Unknown:
        """The state of our application and of the Serve deployment of that name."""
        ...

    async def put(self, ip: str, token: str, body: Mapping[str, Any]) -> None:
        """Send the applications. Raises ServeError."""
        ...

    async def scale(self, ip: str, token: str, deployment: str, target: int) -> None:
        """Set the replica count. Raises ServeError."""
        ...


class ServeError(Exception):
    """A head refused or did not answer."""


class Agents(Protocol):
    """The agents of the serving pods."""

    async def status(self, ip: str) -> Agent | Unknown:
        """What an agent says."""
        ...

    async def drain(self, ip: str, token: str, deadline_seconds: int) -> None:
        """Ask an agent to drain. Raises AgentError."""
        ...


class AgentError(Exception):
    """An agent refused or did not answer."""


class Clock(Protocol):
    """The time."""

    def now(self) -> float:
        """Seconds since 1970."""
        ...


class NotLeader(Exception):
    """This process does not hold the Lease (any more): it must not write."""
