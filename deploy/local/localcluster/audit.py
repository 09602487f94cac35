"""Counting requests at the API server: what it cost the operator to do something, or to do nothing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Request:
    """One finished request. `resource` has its subresource: `pods/status`."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    at: str


def parse(line: str) -> Request | None:
    """One line of the log; None for what is not the end of a request (a watch's start is written too)."""
    event: dict[str, Any] = json.loads(line)
    if event.get("stage") not in {"ResponseComplete", "ResponseStarted", "Panic"}:
        return None
    if event["stage"] == "ResponseStarted" and event.get("verb") != "watch":
        return None
    if event["stage"] == "ResponseComplete" and event.get("verb") == "watch":
        return None  # counted when it started
    ref = event.get("objectRef", {})
    resource = "/".join(part for part in (ref.get("resource", event.get("requestURI", "")), ref.get("subresource", "")) if part)
    return Request(
        user=event.get("user", {}).get("username", ""),
        verb=event.get("verb", ""),
        resource=resource,
        namespace=ref.get("namespace", ""),
        name=ref.get("name", ""),
        code=int(event.get("responseStatus", {}).get("code", 0)),
        at=event.get("stageTimestamp", ""),
    )


def count(requests: Iterable[Request], *, user: str) -> Counter[tuple[str, str]]:
    """Requests of one user by (verb, resource)."""
    return Counter((request.verb, request.resource) for request in requests if request.user == user)


@dataclass(frozen=True)
class AuditLog:
    """The log file. A mark is a byte offset: take one, do something, then read what came since."""

    path: Path

    def mark(self) -> int:
        """Where the log ends now."""
        return self.path.stat().st_size if self.path.exists() else 0

    def since(self, mark: int) -> Iterator[Request]:
        """Requests finished after `mark`; a line still being written is left for the next look."""
        with self.path.open("rb") as stream:
            stream.seek(mark)
            for line in stream:
                if line.endswith(b"\n") and (request := parse(line.decode())) is not None:
                    yield request
