"""Everything that `kubectl llama doctor` reads, in one value. What could not be read is Unread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.cli.findings import Unread

Object = Mapping[str, Any]
Objects = Sequence[Object]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What Prometheus said of the pods that serve."""

    pods: Mapping[str, int]
    """How often each pod (namespace/name) is scraped: series `up`, or the gauge of its requests."""
    newest_age: float | None = None
    """Seconds since the youngest sample; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The cluster as the user may see it."""

    version: Object | Unread
    crd: Object | Unread | None
    """None: there is none."""
    operators: Objects | Unread
    """Deployments of the operator."""
    leases: Objects | Unread
    """Of the operators' namespaces."""
    deployments: Objects | Unread
    nodes: Objects | Unread
    node_leases: Objects | Unread
    storage_classes: Objects | Unread
    claims: Objects | Unread
    cluster_policies: Objects | Unread | None
    """Of NVIDIA's GPU operator; None where the cluster knows no such kind."""
    pod_monitors: bool | Unread
    """Whether the cluster knows PodMonitors."""
    samples: Samples | Unread | None
    """None: the operator was given no Prometheus."""
    rights: Objects | Unread | None
    """The rules that the operator's account has in one namespace; None where there is no operator."""
    now: float
    """This machine's clock, in seconds since 1970."""


def setting(operator: Object, name: str) -> str | None:
    """A setting of the operator, from its container's environment; None where it is not there."""
    containers = operator["spec"]["template"]["spec"].get("containers") or [{}]
    for variable in containers[0].get("env") or []:
        if variable.get("name") == f"LLAMA_OPERATOR_{name}":
            value = variable.get("value")
            return None if value is None else str(value)
    return None


def where(item: Object) -> str:
    """namespace/name."""
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])
