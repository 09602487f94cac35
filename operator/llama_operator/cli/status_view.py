"""What `kubectl llama status` shows, as a document: the resource's own status beside its pods, by revision and gang. Pure.

What the status says of a gang (phase, percent, message) is the operator's word and counts; the pods say where it lies and what they ask
for.
What could not be read is null, never an empty list: pods that may not be listed are not pods that are not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_operator.lifecycle.free_gpus import free_gpus
from llama_operator.lifecycle.observed import Pod, timestamp
from llama_operator.planning.hardware.requests import gpu_holders, requested
from llama_operator.rendering import names

SCHEMA_VERSION = 1
GPU_RESOURCE = "nvidia.com/gpu"
"""What spec.hardware.gpuResource is where it is left out."""

Objects = Sequence[Mapping[str, Any]]


def gpu_resource(deployment: Mapping[str, Any]) -> str:
    """The extended resource by which a LlamaDeployment asks for GPUs."""
    hardware = (deployment.get("spec") or {}).get("hardware") or {}
    return str(hardware.get("gpuResource") or GPU_RESOURCE)


def status_document(deployments: Objects, pods: Objects | None, now: float) -> dict[str, Any]:
    """All of them, by namespace and name. `pods` are those of any LlamaDeployment, None where they may not be listed; `now` in seconds
    since 1970.
    """
    ordered = sorted(deployments, key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))
    return {"schemaVersion": SCHEMA_VERSION, "deployments": [deployment_view(item, pods, now) for item in ordered]}


def deployment_view(deployment: Mapping[str, Any], pods: Objects | None, now: float) -> dict[str, Any]:
    """One of them. Ages in seconds."""
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    mine = None if pods is None else [pod for pod in pods if _belongs(pod, metadata)]
    resource = gpu_resource(deployment)
    conditions = [_condition(item, now) for item in status.get("conditions") or []]
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "phase": status.get("phase"),
        "reason": status.get("reason"),
        "message": _message(conditions, status.get("reason")),
        "ready": status.get("ready"),
        "endpoint": status.get("endpoint"),
        "revision": status.get("revision"),
        "ageSeconds": _age(metadata.get("creationTimestamp"), now),
        "seenGeneration": status.get("observedGeneration") == metadata.get("generation"),
        "plan": _plan(status.get("plan")),
        "gpuResource": resource,
        "gpus": None if mine is None else sum(requested(pod, resource) for pod in mine if (pod.get("spec") or {}).get("nodeName")),
        "conditions": conditions,
        "autoscaling": _autoscaling(status.get("autoscaling")),
        "revisions": _revisions(status, mine, resource, now),
    }


def node_views(nodes: Objects, pods: Objects, deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes that a LlamaDeployment lies on or that have its kind of GPU; `pods` are those of all namespaces."""
    metadata, resource = deployment["metadata"], gpu_resource(deployment)
    mine = [pod for pod in pods if _belongs(pod, metadata)]
    on = {str((pod.get("spec") or {}).get("nodeName")) for pod in mine}
    held = {holder.pod for holder in gpu_holders(mine, resource)}
    holders = gpu_holders(pods, resource)
    offered = {item.node: item for item in free_gpus(nodes, holders, resource)}
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        if name not in on and name not in offered:
            continue
        known = offered.get(name)
        found.append(
            {
                "node": name,
                "ready": _node_ready(node),
                "cordoned": bool((node.get("spec") or {}).get("unschedulable")),
                "gpus": known.total if known else 0,
                "free": known.free if known else 0,
                "heldByThis": sum(holder.gpus for holder in holders if holder.node == name and holder.pod in held),
            }
        )
    return sorted(found, key=lambda item: str(item["node"]))


def _belongs(pod: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    metadata = pod["metadata"]
    label = (metadata.get("labels") or {}).get(names.LABEL_DEPLOYMENT)
    return (metadata.get("namespace", ""), label) == (owner.get("namespace", ""), owner["name"])


def _message(conditions: Iterable[Mapping[str, Any]], reason: str | None) -> str:
    """The sentence of the condition whose reason stands beside the phase."""
    return next((str(item["message"]) for item in conditions if reason and item["reason"] == reason), "")


def _condition(item: Mapping[str, Any], now: float) -> dict[str, Any]:
    kept = {key: item.get(key) for key in ("type", "status", "reason", "message")}
    return {**kept, "sinceSeconds": _age(item.get("lastTransitionTime"), now)}


def _age(when: Any, now: float) -> int | None:
    """Seconds since a time of the API; None where there is none, or it is no time."""
    then = timestamp(when)
    return None if then is None else max(0, round(now - then))


def _plan(plan: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {key: plan.get(key) for key in ("tensorParallel", "pipelineParallel", "gpus", "kvCacheTokens")} if plan else None


def _autoscaling(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {key: block.get(key) for key in ("desiredReplicas", "currentReplicas", "reason", "message")} if block else None


def _revisions(status: Mapping[str, Any], pods: Objects | None, resource: str, now: float) -> list[dict[str, Any]]:
    """By revision, the wanted one first; within it the head and the gangs."""
    current = status.get("revision")
    known = {pod["metadata"]["name"]: pod for pod in pods or []}
    found: dict[str, dict[str, Any]] = {}
    if current:
        found[current] = {"revision": current, "current": True, "head": None, "gangs": []}
    placed: set[str] = set()
    for entry in status.get("replicas") or []:
        gang = _gang(entry, known, resource, now)
        revision = _revision_of(entry, known) or str(current or "")
        _room(found, revision, current)["gangs"].append(gang)
        placed |= {str(pod["pod"]) for pod in gang["pods"]}
    for manifest in pods or []:
        pod = Pod.of(manifest)
        if pod.component == names.HEAD:
            _room(found, pod.revision, current)["head"] = _pod(manifest, resource)
        elif pod.name not in placed:
            _late(_room(found, pod.revision, current), pod, _pod(manifest, resource), now)
    for room in found.values():
        room["gangs"].sort(key=lambda gang: gang["gang"])
    return sorted(found.values(), key=lambda room: (not room["current"], room["revision"]))


def _room(found: dict[str, dict[str, Any]], revision: str, current: Any) -> dict[str, Any]:
    return found.setdefault(revision, {"revision": revision, "current": revision == current, "head": None, "gangs": []})


def _revision_of(entry: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str | None:
    for name in entry.get("pods") or []:
        if name in known:
            return Pod.of(known[name]).revision
    first = next(iter(entry.get("pods") or []), "")
    parts = str(first).rsplit("-", 3)  # NAME-REVISION-gGANG-RANK
    return parts[1] if len(parts) == 4 else None


def _gang(entry: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], resource: str, now: float) -> dict[str, Any]:
    members = [_pod(known[name], resource) if name in known else _bare(name) for name in entry.get("pods") or []]
    return {
        "gang": entry.get("gang", 0),
        "phase": entry.get("phase") or "Starting",
        "percent": entry.get("percent"),
        "message": entry.get("message") or "",
        "attempts": entry.get("attempts") or 0,
        "sinceSeconds": _age(entry.get("since"), now),
        "pods": members,
    }


def _late(room: dict[str, Any], pod: Pod, shown: dict[str, Any], now: float) -> None:
    """A pod that the status does not name yet: it is shown with its gang, or in a new one."""
    for gang in room["gangs"]:
        if gang["gang"] == pod.gang:
            gang["pods"].append(shown)
            return
    since = round(now - pod.created) if pod.created else None
    fresh = {"gang": pod.gang, "phase": "Terminating" if pod.deleting else "Pending", "percent": None, "message": "", "attempts": 0}
    room["gangs"].append({**fresh, "sinceSeconds": since, "pods": [shown]})


def _pod(manifest: Mapping[str, Any], resource: str) -> dict[str, Any]:
    pod = Pod.of(manifest)
    return {
        "pod": pod.name,
        "rank": pod.rank,
        "node": pod.node,
        "phase": "Terminating" if pod.deleting else pod.phase,
        "ready": pod.ready,
        "gpus": requested(manifest, resource),
        "trouble": pod.unschedulable or pod.waiting or pod.ended,
    }


def _bare(name: str) -> dict[str, Any]:
    """A pod of which only the status speaks."""
    rank = name.rpartition("-")[2]
    known = int(rank) if rank.isascii() and rank.isdigit() else 0
    return {"pod": name, "rank": known, "node": None, "phase": None, "ready": None, "gpus": None, "trouble": None}


def _node_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
