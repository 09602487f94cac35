"""The hardware of Kubernetes nodes, from the labels that the GPU makers' discovery sets and from what the device plugin offers.

    nvidia.com/gpu.product, .memory (MiB), .compute.major, .compute.minor      GPU feature discovery
    amd.com/gpu.product-name, .vram (as in 192G); beta.amd.com/gpu... before    AMD's node labeller
    status.allocatable[resource]                                               GPUs that pods can ask for

https://github.com/NVIDIA/k8s-device-plugin/blob/main/docs/gpu-feature-discovery/README.md
https://instinct.docs.amd.com/projects/k8s-device-plugin/en/latest/user-guide/installation.html

NVIDIA's product is the driver's name with dashes for spaces. AMD's is the board's name with underscores, in which an MI355X is an
AMD_Instinct_MI355_OAM, and an MI300X that a virtual machine was given an AMD_Instinct_MI300X_VF.

A product of the catalogue has the catalogue's numbers. Of any other the labels give memory and capability; bandwidth and flops are not
known then, and a plan says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Accelerator, Hardware
from llama_operator.planning.hardware.requests import amount

MIB = 2**20
USABLE_SHARE = 0.98
"""Of the memory in the labels, which is what `nvidia-smi` shows: the driver keeps 0.7 % of an H100's and 2.1 % of an L4's."""

SHARED = "-SHARED"
"""Ends the product of a GPU that is time-sliced: several pods are promised the same memory."""

_PRODUCTS = {product.removeprefix("NVIDIA-"): entry for entry in CATALOGUE.values() for product in entry.products}


@dataclass(frozen=True, kw_only=True)
class NodeHardware:
    """What one node offers."""

    node: str
    gpus: int
    """Allocatable, used or not."""
    accelerator: Accelerator | None
    """None where no label names the product."""
    warning: str = ""
    """Why a plan for this node may be wrong; empty where nothing speaks against it."""


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """Nodes with the same accelerator, and equally many of them."""

    hardware: Hardware
    nodes: tuple[str, ...]


def read_node(node: Mapping[str, Any], resource: str) -> NodeHardware | None:
    """What that Node offers of that extended resource; None where it offers none."""
    name = node["metadata"]["name"]
    gpus = amount((node.get("status") or {}).get("allocatable") or {}, resource)
    if not gpus:
        return None
    labels = node["metadata"].get("labels") or {}
    accelerator, product = accelerator_of(labels), _product(labels)
    if accelerator is None:
        warning = f"node {name} offers {gpus} {resource}, and no label says of which product; name it in spec.hardware.accelerator"
    elif product.endswith(SHARED):
        warning = f"the GPUs of node {name} are time-sliced: several pods are promised the memory of one; turn the slicing off"
    elif "-MIG-" in product:
        warning = f"node {name} offers slices of GPUs (MIG): tensor parallelism over slices is not planned"
    else:
        warning = ""
    return NodeHardware(node=name, gpus=gpus, accelerator=accelerator, warning=warning)


def accelerator_of(labels: Mapping[str, str]) -> Accelerator | None:
    """The accelerator that a node's labels tell of; None where they name no product, or one of unknown size that is in no catalogue."""
    product = _product(labels).removesuffix(SHARED)
    known = _PRODUCTS.get(product.removeprefix("NVIDIA-"))
    if known is not None:
        return known
    memory = _memory(labels)
    if not product or memory is None:
        return None
    major, minor = labels.get("nvidia.com/gpu.compute.major", ""), labels.get("nvidia.com/gpu.compute.minor", "")
    capability = (int(major), int(minor)) if _is_number(major) and _is_number(minor) else None
    return Accelerator(
        name=product.lower().replace("_", "-"), memory=int(memory * USABLE_SHARE), capability=capability, products=(product,)
    )


def group_nodes(nodes: Iterable[Mapping[str, Any]], resource: str) -> list[NodeGroup]:
    """The kinds of nodes that can be planned with, the largest groups first; nodes with a warning are left out."""
    groups: dict[tuple[str, int], tuple[Accelerator, list[str]]] = {}
    for node in nodes:
        read = read_node(node, resource)
        if read is not None and read.accelerator is not None and not read.warning:
            groups.setdefault((read.accelerator.name, read.gpus), (read.accelerator, []))[1].append(read.node)
    found = [
        NodeGroup(hardware=Hardware(accelerator=accelerator, gpus_per_node=gpus), nodes=tuple(sorted(names)))
        for (_, gpus), (accelerator, names) in groups.items()
    ]
    return sorted(found, key=lambda group: (-len(group.nodes) * group.hardware.gpus_per_node, group.nodes))


def _product(labels: Mapping[str, str]) -> str:
    names = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "beta.amd.com/gpu.product-name")
    return next((labels[name] for name in names if labels.get(name)), "")


def _memory(labels: Mapping[str, str]) -> int | None:
    """Bytes of one GPU as the labels tell them."""
    mebibytes = labels.get("nvidia.com/gpu.memory", "")
    if _is_number(mebibytes):
        return int(mebibytes) * MIB
    vram = labels.get("amd.com/gpu.vram") or labels.get("beta.amd.com/gpu.vram") or ""
    size = re.fullmatch(r"([0-9]{1,6})G", vram)
    return int(size[1]) * GIB if size else None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}", text) is not None
