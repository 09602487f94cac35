"""Over how many GPUs one replica is split.

`spec.parallelism` may leave either number out. The planner chooses then (`planning.admission`), and its choice is written into the spec
with `with_split` before anything else reads it; everything that needs the numbers asks `parallelism_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec

UNSPLIT = 1
"""What an absent number means where nobody chose: the model is not split that way."""


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """Tensor-parallel GPUs inside a node, and pipeline stages that may span nodes. Both are 1 or more."""

    tensor: int
    pipeline: int


def parallelism_of(spec: LlamaDeploymentSpec) -> Parallelism:
    """The parallelism that a spec runs with: what it gives, and 1 for what it leaves out."""
    given = spec.parallelism
    return Parallelism(tensor=given.tensor or UNSPLIT, pipeline=given.pipeline or UNSPLIT)


def with_split(spec: LlamaDeploymentSpec, split: Parallelism) -> LlamaDeploymentSpec:
    """The spec with that split for what its parallelism leaves out; a number that is given stays."""
    given = spec.parallelism
    filled = {"tensor": given.tensor or split.tensor, "pipeline": given.pipeline or split.pipeline}
    return spec.model_copy(update={"parallelism": given.model_copy(update=filled)})
