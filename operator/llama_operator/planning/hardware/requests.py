"""What pods ask for of an extended resource, as the scheduler counts it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases of pods that hold nothing any more."""
_QUANTITY = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?")
_POWERS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = "KMGTPE"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A pod that holds GPUs of a node."""

    pod: str
    """namespace/name."""
    node: str
    gpus: int


def only_requests(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What `gpu_holders` reads of a pod, of whatever extended resource: a hundredth of it."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    return {
        "metadata": {name: metadata[name] for name in ("namespace", "name") if name in metadata},
        "spec": {
            "nodeName": spec.get("nodeName"),
            "containers": _extended(spec.get("containers") or []),
            "initContainers": _extended(spec.get("initContainers") or []),
        },
        "status": {"phase": (pod.get("status") or {}).get("phase")},
    }


def _extended(containers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    # The names of extended resources have a domain. https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
    asked = ((item.get("resources") or {}).get("requests") or {} for item in containers)
    kept = ({name: value for name, value in requests.items() if "/" in name} for requests in asked)
    return [{"resources": {"requests": requests}} for requests in kept if requests]


def gpu_holders(pods: Iterable[Mapping[str, Any]], resource: str) -> list[Holder]:
    """The pods that hold GPUs of that resource name."""
    found = []
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if not node or (pod.get("status") or {}).get("phase") in ENDED:
            continue
        if gpus := requested(pod, resource):
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
    """One extended resource of a list of amounts; 0 where it is not in it, or is no whole quantity, which the API server takes of none.

    The API server writes 1000 as 1k (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
    """
    match = _QUANTITY.fullmatch(str(amounts.get(resource) or 0))
    if match is None:
        return 0
    whole, part, suffix, exponent = match.groups()
    digits, power = int(whole + (part or "")), int(exponent or 0) - len(part or "")
    if suffix and suffix.endswith("i"):
        digits *= 1024 ** (_BINARY.index(suffix[0]) + 1)
    elif suffix:
        power += _POWERS[suffix]
    return int(digits * 10**power if power >= 0 else digits // 10**-power)
