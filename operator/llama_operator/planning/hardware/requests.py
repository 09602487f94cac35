"""What pods ask for of an extended resource, as the scheduler counts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases of pods that hold nothing any more."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A pod that holds GPUs of a node."""

    pod: str
    """namespace/name."""
    node: str
    gpus: int


def gpu_holders(pods: Iterable[Mapping[str, Any]], resource: str) -> list[Holder]:
    """The pods that hold GPUs of that resource name."""
    found = []
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        gpus = requested(pod, resource)
        if node and gpus and (pod.get("status") or {}).get("phase") not in ENDED:
            metadata = pod.get("metadata") or {}
            found.append(Holder(pod=f"{metadata.get('namespace', 'default')}/{metadata.get('name')}", node=node, gpus=gpus))
    return found


def requested(pod: Mapping[str, Any], resource: str) -> int:
    """GPUs that the scheduler counts for a pod: the sum over its containers, or the largest init container's."""
    spec = pod.get("spec") or {}
    main = sum(amount((item.get("resources") or {}).get("requests") or {}, resource) for item in spec.get("containers") or [])
    init = max(
        (amount((item.get("resources") or {}).get("requests") or {}, resource) for item in spec.get("initContainers") or []), default=0
    )
    return max(main, init)


def amount(amounts: Mapping[str, Any], resource: str) -> int:
    """One extended resource of a list of amounts; 0 where it is not in it."""
    return int(amounts.get(resource) or 0)
