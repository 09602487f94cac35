"""Free GPUs by node, from what nodes offer and what the pods on them asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llama_operator.lifecycle.observed import NodeGpus

ENDED = frozenset({"Succeeded", "Failed"})


def free_gpus(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], resource: str) -> list[NodeGpus]:
    """Nodes that have GPUs of that resource name and may be used. A cordoned node counts as having none free."""
    used: dict[str, int] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ENDED:
            used[node] = used.get(node, 0) + requested(pod, resource)
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        total = _count((node.get("status") or {}).get("allocatable") or {}, resource)
        if total:
            closed = bool((node.get("spec") or {}).get("unschedulable"))
            found.append(NodeGpus(node=name, total=total, free=0 if closed else max(0, total - used.get(name, 0))))
    return found


def requested(pod: Mapping[str, Any], resource: str) -> int:
    """GPUs that the scheduler counts for a pod: the sum over its containers, or the largest init container's."""
    spec = pod.get("spec") or {}
    main = sum(_count((item.get("resources") or {}).get("requests") or {}, resource) for item in spec.get("containers") or [])
    init = max(
        (_count((item.get("resources") or {}).get("requests") or {}, resource) for item in spec.get("initContainers") or []), default=0
    )
    return max(main, init)


def _count(amounts: Mapping[str, Any], resource: str) -> int:
    return int(amounts.get(resource) or 0)
