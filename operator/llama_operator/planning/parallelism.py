"""Over how many GPUs one replica is split.

`spec.parallelism` may leave either number out. What is used then is decided here and nowhere else; everything that needs the numbers asks
`parallelism_of`, so that a planner that chooses them has one place to be called from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec

UNSPLIT = 1
"""What an absent number means today: the model is not split that way."""


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """Tensor-parallel GPUs inside a node, and pipeline stages that may span nodes. Both are 1 or more."""

    tensor: int
    pipeline: int


def parallelism_of(spec: LlamaDeploymentSpec) -> Parallelism:
    """The parallelism that a spec runs with: what it gives, and 1 for what it leaves out."""
    given = spec.parallelism
    return Parallelism(tensor=given.tensor or UNSPLIT, pipeline=given.pipeline or UNSPLIT)
