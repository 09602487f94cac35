"""Free GPUs by node, from what nodes offer and what the pods on them asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llama_operator.lifecycle.observed import NodeGpus
from llama_operator.planning.hardware.requests import amount, gpu_holders


def free_gpus(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], resource: str) -> list[NodeGpus]:
    """Nodes that have GPUs of that resource name and may be used. A cordoned node counts as having none free."""
    used: dict[str, int] = {}
    for holder in gpu_holders(pods, resource):
        used[holder.node] = used.get(holder.node, 0) + holder.gpus
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        total = amount((node.get("status") or {}).get("allocatable") or {}, resource)
        if total:
            closed = bool((node.get("spec") or {}).get("unschedulable"))
            found.append(NodeGpus(node=name, total=total, free=0 if closed else max(0, total - used.get(name, 0))))
    return found
