"""What `kubectl llama doctor` says of GPUs: drivers, the device plugin, labels, and whether each deployment has a node to go to. Pure.

    nodes with a GPU        the label that Node Feature Discovery gives an NVIDIA or AMD card, or GPU Feature Discovery's
    nodes that offer one    status.allocatable[resource], which the device plugin fills
    the driver              nvidia.com/cuda.driver-version.major, of GPU Feature Discovery

https://github.com/NVIDIA/k8s-device-plugin/blob/main/docs/gpu-feature-discovery/README.md
https://instinct.docs.amd.com/projects/k8s-device-plugin/en/latest/user-guide/installation.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_operator.cli.doctor_facts import Facts, Object, Objects, where
from llama_operator.cli.findings import Finding, Unread, ok, unread
from llama_operator.cli.status_view import gpu_resource
from llama_operator.planning.hardware.nodes import accelerator_of, read_node
from llama_operator.planning.hardware.requests import amount

CARDS = {
    "feature.node.kubernetes.io/pci-10de.present": "nvidia.com/gpu",
    "nvidia.com/gpu.present": "nvidia.com/gpu",
    "feature.node.kubernetes.io/amd-gpu": "amd.com/gpu",
}
"""Labels of a node that has a card, and the resource that its maker's device plugin offers. 10de is NVIDIA's PCI number;
the last is what AMD's GPU operator chooses nodes by (https://instinct.docs.amd.com/projects/gpu-operator/en/latest/)."""
DRIVER = 580
"""Least major version of NVIDIA's driver for CUDA 13, which the stock serving image is built with
(https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html)."""
DRIVER_LABELS = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")


def gpus(facts: Facts) -> Iterator[Finding]:
    """Cards, drivers, plugins, labels; then a node for each deployment."""
    if isinstance(facts.nodes, Unread):
        yield unread("gpus", "the nodes", facts.nodes)
        return
    wanted = [] if isinstance(facts.deployments, Unread) else [item for item in facts.deployments if _wants_gpus(item)]
    resources = {gpu_resource(item) for item in wanted} | set(CARDS.values())
    offering = [node for node in facts.nodes if any(_offered(node, resource) for resource in resources)]
    yield from _gpu_operator(facts)
    idle = sorted(
        node["metadata"]["name"]
        for node in facts.nodes
        for resource in _cards(node)
        if not _offered(node, resource) and node not in offering
    )
    if idle:
        message = f"{_some(idle)} have GPUs that no device plugin offers"
        remedy = "Install the GPU operator, or see why its driver or device plugin pods on these nodes are not ready."
        yield Finding(check="gpus", severity="error", message=message, remedy=remedy)
    if offering:
        yield from _drivers(offering)
        yield from _labels(offering, resources)
        counts = sum(_offered(node, resource) for node in offering for resource in resources)
        yield ok("gpus", f"{len(offering)} nodes offer {counts} GPUs")
    elif wanted:
        asked, askers = _some(sorted({gpu_resource(item) for item in wanted})), _some([where(item) for item in wanted])
        message = f"no node offers {asked}, which {askers} ask for"
        yield Finding(check="gpus", severity="error", message=message, remedy="Install the GPU operator or the maker's device plugin.")
    elif not idle:
        yield Finding(check="gpus", severity="note", message="no node offers GPUs, and no deployment asks for one")
    for item in wanted:
        yield from _place(item, facts.nodes)


def _gpu_operator(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.cluster_policies, Unread):
        yield unread("gpus", "the GPU operator's ClusterPolicy", facts.cluster_policies)
    for policy in facts.cluster_policies if isinstance(facts.cluster_policies, Sequence) else ():
        state = str((policy.get("status") or {}).get("state") or "unknown")
        if state == "ready":
            yield ok("gpus", f"the GPU operator's {policy['metadata']['name']} is ready")
        else:
            remedy = "See kubectl get pods -A -l app.kubernetes.io/managed-by=gpu-operator."
            message = f"the GPU operator's {policy['metadata']['name']} is {state}"
            yield Finding(check="gpus", severity="warning", message=message, remedy=remedy)


def _drivers(nodes: Objects) -> Iterator[Finding]:
    versions = {node["metadata"]["name"]: _driver(node) for node in nodes}
    old = sorted(f"{name} ({version})" for name, version in versions.items() if version is not None and version < DRIVER)
    if old:
        message = f"the NVIDIA driver is older than {DRIVER} on {_some(old)}"
        remedy = f"Upgrade it to {DRIVER} or newer, which CUDA 13 needs, or name an image with an older CUDA (spec.image)."
        yield Finding(check="gpus", severity="error", message=message, remedy=remedy)


def _driver(node: Object) -> int | None:
    labels = node["metadata"].get("labels") or {}
    text = next((labels[name] for name in DRIVER_LABELS if labels.get(name)), "")
    return int(text) if text.isascii() and text.isdigit() else None


def _labels(nodes: Objects, resources: set[str]) -> Iterator[Finding]:
    warnings = {}
    for node in nodes:
        for resource in resources:
            read = read_node(node, resource)
            if read is not None and read.warning:
                warnings[read.node] = read.warning
    silent = sorted(name for name, warning in warnings.items() if "no label says" in warning)
    if silent:
        message = f"no label says which GPUs {_some(silent)} have"
        yield Finding(
            check="gpus", severity="note", message=message, remedy="Install GPU Feature Discovery, or trust spec.hardware.accelerator."
        )
    for name, warning in sorted(warnings.items()):
        if name not in silent:
            yield Finding(check="gpus", severity="warning", message=warning)


def _place(deployment: Object, nodes: Objects) -> Iterator[Finding]:
    """Whether any node could ever take a pod of it: enough GPUs, the labels that it selects by, the accelerator that it names."""
    spec = deployment.get("spec") or {}
    hardware, resource, name = spec.get("hardware") or {}, gpu_resource(deployment), where(deployment)
    selector = (((spec.get("podTemplate") or {}).get("spec") or {}).get("nodeSelector")) or {}
    each = _gpus_of_a_pod(deployment)
    able = [node for node in nodes if _offered(node, resource) >= each]
    if not able:
        most = max((_offered(node, resource) for node in nodes), default=0)
        message = f"{name} asks for {each} {resource} on one node, and no node has more than {most}"
        yield Finding(check="gpus", severity="error", message=message, remedy="Lower spec.hardware.gpusPerNode or spec.parallelism.tensor.")
        return
    chosen = [node for node in able if selector.items() <= (node["metadata"].get("labels") or {}).items()]
    if not chosen:
        message = f"{name} selects nodes by {_pairs(selector)}, and none of the {len(able)} with enough GPUs has these labels"
        yield Finding(
            check="gpus", severity="error", message=message, remedy="Label the nodes, or change spec.podTemplate.spec.nodeSelector."
        )
        return
    accelerator = str(hardware.get("accelerator") or "")
    known = {node["metadata"]["name"]: accelerator_of(node["metadata"].get("labels") or {}) for node in chosen}
    others = sorted({f"{found.name}" for found in known.values() if found is not None and found.name != accelerator})
    if others and not hardware.get("custom") and all(found is None or found.name != accelerator for found in known.values()):
        message = f"{name} says {accelerator}, and the nodes that it may go to have {_some(others)}"
        yield Finding(
            check="gpus", severity="warning", message=message, remedy="Correct spec.hardware.accelerator: plans are made from it."
        )


def _wants_gpus(deployment: Object) -> bool:
    hardware: Mapping[str, Any] = (deployment.get("spec") or {}).get("hardware") or {}
    return hardware.get("accelerator") != "cpu"


def _gpus_of_a_pod(deployment: Object) -> int:
    """GPUs of the largest pod: the plan's where there is one, else what the spec says of a node."""
    spec, plan = deployment.get("spec") or {}, (deployment.get("status") or {}).get("plan") or {}
    node = int((spec.get("hardware") or {}).get("gpusPerNode") or 8)
    parallelism = spec.get("parallelism") or {}
    world = int(plan.get("gpus") or (parallelism.get("tensor") or 1) * (parallelism.get("pipeline") or 1))
    return min(world, node)


def _offered(node: Object, resource: str) -> int:
    return amount((node.get("status") or {}).get("allocatable") or {}, resource)


def _cards(node: Object) -> set[str]:
    labels = node["metadata"].get("labels") or {}
    return {resource for label, resource in CARDS.items() if labels.get(label) == "true"}


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - 5
    return ", ".join(texts[:5]) + (f" and {more} more" if more > 0 else "")


def _pairs(labels: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
