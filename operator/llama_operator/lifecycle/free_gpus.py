"""Free GPUs by node, from what nodes offer and what the pods on them asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llama_operator.lifecycle.observed import NodeGpus
from llama_operator.planning.hardware.requests import Holder, amount


def free_gpus(nodes: Iterable[Mapping[str, Any]], holders: Iterable[Holder], resource: str) -> list[NodeGpus]:
    """Nodes that have GPUs of that resource name and may be used. A cordoned node counts as having none free."""
    used: dict[str, int] = {}
    for holder in holders:
        used[holder.node] = used.get(holder.node, 0) + holder.gpus
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        total = amount((node.get("status") or {}).get("allocatable") or {}, resource)
        if total:
            closed = bool((node.get("spec") or {}).get("unschedulable"))
            free = 0 if closed else max(0, total - used.get(name, 0))
            found.append(NodeGpus(node=name, total=total, free=free, cordoned=closed))
    return found
