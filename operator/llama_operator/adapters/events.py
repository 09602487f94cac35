"""Kubernetes Events on a LlamaDeployment: the operator's reasons where `kubectl describe` shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import structlog

from llama_operator.lifecycle.observed import rfc3339
from llama_operator.ports import ApiError, Writer
from llama_operator.rendering import names

MESSAGE_LIMIT = 1024
"""Bytes of an Event's message that the API server takes."""
REMEMBERED = 2048

log = structlog.get_logger(__name__)


class Events:
    """Emits Events; one that says the same again within the memory is counted on the old one instead of being made anew."""

    def __init__(self, writer: Writer, component: str, instance: str) -> None:
        """`instance` is the pod that reports."""
        self._writer = writer
        self._component = component
        self._instance = instance
        self._known: dict[str, int] = {}

    async def emit(self, owner: Mapping[str, Any], reason: str, message: str, now: float, *, warning: bool = False) -> None:
        """Emit one Event. A failure to do so is logged: an Event is never worth failing a pass."""
        metadata = owner["metadata"]
        digest = hashlib.sha256(f"{metadata['uid']}/{reason}/{message}".encode()).hexdigest()[:16]
        name = f"{metadata['name']}.{digest}"
        count = self._known.pop(name, 0) + 1
        self._known[name] = count
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        stamp = rfc3339(now)
        try:
            if count > 1:
                again = {"count": count, "lastTimestamp": stamp}
                if await self._writer.patch("Event", metadata["namespace"], name, again) is not None:
                    return
            await self._writer.create(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": metadata["namespace"]},
                    "type": "Warning" if warning else "Normal",
                    "reason": reason,
                    "message": message[:MESSAGE_LIMIT],
                    "involvedObject": {
                        "apiVersion": names.API_VERSION,
                        "kind": names.KIND,
                        "name": metadata["name"],
                        "namespace": metadata["namespace"],
                        "uid": metadata["uid"],
                    },
                    "source": {"component": self._component},
                    "reportingComponent": names.GROUP,
                    "reportingInstance": self._instance,
                    "firstTimestamp": stamp,
                    "lastTimestamp": stamp,
                    "count": 1,
                }
            )
        except ApiError as error:
            log.warning("an event could not be written", reason=reason, error=str(error))
