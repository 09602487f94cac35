"""What the planner is told of a model: its shape, and the bytes of its weights by the way in which parallelism splits them.

Whoever reads a model (its files, a hub, the catalogue) ends here; whoever plans begins here. Sizes are bytes of the weights as the
checkpoint stores them, scales and zero points included.

    embedding ─▶ layer 0 … layer n-1 ─▶ norm ─▶ lm_head
    first stage  spread over the stages   last stage
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from llama_serving.config import ModelShape

KnownFrom = Literal["checkpoint", "catalogue", "config"]
"""checkpoint: the tensors' own headers; catalogue: computed and tested against them; config: computed from config.json alone."""


class Precision(StrEnum):
    """How one number is stored or multiplied."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FP8 = "fp8"
    INT8 = "int8"
    FP4 = "fp4"
    INT4 = "int4"

    @property
    def bits(self) -> int:
        """Bits of one number, scales not counted."""
        return _BITS[self]


_BITS = {
    Precision.FLOAT32: 32,
    Precision.BFLOAT16: 16,
    Precision.FLOAT16: 16,
    Precision.FP8: 8,
    Precision.INT8: 8,
    Precision.FP4: 4,
    Precision.INT4: 4,
}


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """What the checkpoint's quantization_config says of the linear layers that are quantised."""

    method: str
    """vLLM's name of it, as in fbgemm_fp8."""
    weights: Precision
    activations: Precision
    """What the kernels multiply in where the accelerator can: FP8 for W8A8, the model's own for weight-only methods."""
    group_size: int | None = None
    """Inputs that share a scale; a rank's slice of the inputs must hold whole groups. None: a scale a tensor or a channel."""
    skipped_layers: tuple[int, ...] = ()
    """Decoder layers that are left as they were, as the first and the last of Meta's FP8 checkpoints."""
    kv_cache: Precision | None = None
    """What the KV cache becomes where it is `auto`, for checkpoints that bring scales for it; None: the model's own type.

    vLLM: `resolve_kv_cache_dtype_string` for modelopt's; `Attention` for compressed-tensors', where it overrules the engine's argument too.
    """


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """Bytes of one decoder layer."""

    query_output: int
    """q_proj and o_proj: split evenly by tensor parallelism."""
    key_value: int
    """k_proj and v_proj: split evenly up to as many ranks as there are KV heads, and copied above that."""
    mlp: int
    """gate_proj, up_proj, down_proj: split evenly."""
    replicated: int
    """Norms and whatever else every rank holds whole."""

    @property
    def total(self) -> int:
        """Bytes in the checkpoint."""
        return self.query_output + self.key_value + self.mlp + self.replicated


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A model as the planner sees it."""

    name: str
    shape: ModelShape
    dtype: Precision
    """What is not quantised: activations, norms, embeddings, and the KV cache where it is `auto`."""
    layers: tuple[LayerWeights, ...]
    embedding: int
    """Split by tensor parallelism over the padded vocabulary; on the first stage, and on the last too where it is tied."""
    lm_head: int
    """As the embedding; 0 where it is tied."""
    norm: int
    quantization: Quantization | None = None
    known_from: KnownFrom

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of all weights."""
        return self.embedding + sum(layer.total for layer in self.layers) + self.norm + self.lm_head
