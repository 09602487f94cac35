"""How one replica lies on nodes: the pods of a gang, and the GPUs of each.

Every pod of a gang holds equally many GPUs, and every tensor-parallel group lies inside one pod, hence inside one node: a pod holds
as many whole pipeline stages as its node has GPUs for, the number of stages divided evenly. Tensor 8 x pipeline 2 on nodes of 8 is two
pods of 8; tensor 4 x pipeline 4 is two pods of 8; tensor 4 x pipeline 3 is three pods of 4, for two pods of 8 and 4 would be unequal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_operator.api.group import CPU
from llama_operator.api.problems import Problem
from llama_operator.planning.parallelism import parallelism_of

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec


@dataclass(frozen=True, kw_only=True)
class GangShape:
    """The pods of one replica. `gpus_per_pod` is 0 where the engine runs on the CPU: then the whole replica lies in one pod."""

    pods: int
    gpus_per_pod: int
    stages_per_pod: int

    @property
    def gpus(self) -> int:
        """GPUs of the whole gang."""
        return self.pods * self.gpus_per_pod


def lay(tensor: int, pipeline: int, node: int) -> GangShape:
    """The pods of tensor x pipeline GPUs on nodes of `node` GPUs, where a tensor-parallel group fits into a node."""
    most = min(pipeline, max(1, node // tensor))
    stages = max(count for count in range(1, most + 1) if pipeline % count == 0)
    return GangShape(pods=pipeline // stages, gpus_per_pod=stages * tensor, stages_per_pod=stages)


def gang_shape(spec: LlamaDeploymentSpec) -> GangShape | Problem:
    """The gang that the spec asks for, or why there is none: a tensor-parallel group must fit into a node."""
    split, node = parallelism_of(spec), spec.hardware.gpus_per_node
    tensor, pipeline = split.tensor, split.pipeline
    if spec.hardware.accelerator == CPU:
        return GangShape(pods=1, gpus_per_pod=0, stages_per_pod=pipeline)
    if tensor > node:
        return Problem(
            field="spec.parallelism.tensor",
            given=f"{tensor} with {node} GPUs per node",
            allowed="at most spec.hardware.gpusPerNode: tensor parallelism stays inside a node",
            remedy="Lower it and raise spec.parallelism.pipeline, which may span nodes, or correct spec.hardware.gpusPerNode.",
        )
    return lay(tensor, pipeline, node)
