"""Free GPUs, looked up for all LlamaDeployments together: it takes a list of all nodes and all pods of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.lifecycle.free_gpus import free_gpus
from llama_operator.lifecycle.observed import NodeGpus, Unknown
from llama_operator.planning.hardware.requests import Holder, gpu_holders, only_requests
from llama_operator.ports import ApiError, Clock, Reader

Found = tuple[Sequence[NodeGpus] | Unknown, Sequence[Holder]]
Listed = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""All nodes, and all pods that have one."""


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """What was listed last, or why it could not be."""

    reader: Reader
    clock: Clock
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Who asks while a list is made waits for that one."""
    _last: list[tuple[float, Listed | Unknown]] = field(default_factory=list)

    async def read(self, resource: str, most_age: float) -> Found:
        """The free GPUs of that resource name, and who holds the others, as of at most `most_age` seconds ago. Unknown where the operator
        may not see them.
        """
        asked = self.clock.now()
        async with self._lock:
            begun = self.clock.now()
            if not (self._last and asked - most_age <= self._last[0][0] <= begun):
                self._last[:] = [(begun, await self._list())]
            listed = self._last[0][1]
        if isinstance(listed, Unknown):
            return listed, ()
        nodes, pods = listed
        holders = gpu_holders(pods, resource)
        return free_gpus(nodes, holders, resource), holders

    async def _list(self) -> Listed | Unknown:
        try:
            nodes, pods = await asyncio.gather(
                self.reader.list("Node", cut=_only_gpus), self.reader.list("Pod", fields="spec.nodeName!=", cut=only_requests)
            )
        except ApiError as error:
            return Unknown(str(error))
        return nodes, [pod for pod in pods if pod["spec"]["containers"] or pod["spec"]["initContainers"]]


def _only_gpus(node: Mapping[str, Any]) -> dict[str, Any]:
    """What `free_gpus` reads of a node."""
    return {
        "metadata": {"name": node["metadata"]["name"]},
        "spec": {"unschedulable": (node.get("spec") or {}).get("unschedulable")},
        "status": {"allocatable": (node.get("status") or {}).get("allocatable")},
    }
