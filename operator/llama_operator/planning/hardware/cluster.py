"""What the nodes of a cluster say of the hardware that a LlamaDeployment names.

an accelerator that the catalogue does not know     the nodes' own labels, where all agree
one that no node has, or more GPUs than any has     said beside the verdict: nodes may yet be added, so nothing is refused
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_operator.planning.hardware.accelerators import CATALOGUE
from llama_operator.planning.hardware.nodes import group_nodes, read_node

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import HardwareSpec
    from llama_operator.planning.hardware.accelerators import Accelerator


def accelerator_of_nodes(nodes: Sequence[Mapping[str, Any]], resource: str) -> Accelerator | None:
    """The accelerator of all labelled nodes that offer that resource; None where they are of several kinds, or none is labelled."""
    kinds = {group.hardware.accelerator.name: group.hardware.accelerator for group in group_nodes(nodes, resource)}
    return next(iter(kinds.values())) if len(kinds) == 1 else None


def remarks(asked: HardwareSpec, needed: int, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """What stands between a pod of `needed` GPUs and the nodes as they are, in words; empty where nothing does, or no GPU is needed."""
    if needed == 0:
        return []
    found = [read for node in nodes if (read := read_node(node, asked.gpu_resource)) is not None]
    if not found:
        return [f"no node offers {asked.gpu_resource} yet"]
    said = []
    largest = max(found, key=lambda node: (node.gpus, node.node))
    if largest.gpus < needed:
        said.append(f"no node offers {needed} {asked.gpu_resource}: {largest.node} offers most, {largest.gpus}")
    kinds = sorted({node.accelerator.name for node in found if node.accelerator is not None})
    known = asked.accelerator in CATALOGUE and all(node.accelerator is not None for node in found)
    if kinds and known and asked.accelerator not in kinds:
        said.append(f"no node has {asked.accelerator} by its labels: they have {', '.join(kinds)}")
    return said
