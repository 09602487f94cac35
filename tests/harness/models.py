"""Models as the planner is told of them, computed from shapes alone: BF16, FP8 of all linear layers, and Meta's FP8 checkpoints."""

from __future__ import annotations

import dataclasses

from llama_operator.planning.facts import LayerWeights, ModelFacts, Precision, Quantization
from llama_serving.config import ModelShape

SCALE = 4
"""Bytes of one float32 scale."""


def sizes(shape: ModelShape, attention: int = 2, mlp: int = 2) -> LayerWeights:
    """One layer with so many bytes a weight; a group of 1 byte a weight has a scale for every output."""
    query = shape.heads * shape.head_size
    key = shape.kv_heads * shape.head_size
    scales = (query + shape.hidden, 2 * key, 2 * shape.intermediate + shape.hidden)
    return LayerWeights(
        query_output=2 * shape.hidden * query * attention + (SCALE * scales[0] if attention == 1 else 0),
        key_value=2 * shape.hidden * key * attention + (SCALE * scales[1] if attention == 1 else 0),
        mlp=3 * shape.hidden * shape.intermediate * mlp + (SCALE * scales[2] if mlp == 1 else 0),
        replicated=2 * shape.hidden * 2,
    )


def bf16(shape: ModelShape, name: str = "model") -> ModelFacts:
    """Two bytes for every weight."""
    table = shape.vocabulary * shape.hidden * 2
    return ModelFacts(
        name=name,
        shape=shape,
        dtype=Precision.BFLOAT16,
        layers=(sizes(shape),) * shape.layers,
        embedding=table,
        lm_head=0 if shape.tied else table,
        norm=shape.hidden * 2,
        known_from="config",
    )


def fp8(shape: ModelShape, name: str = "model", group_size: int | None = None) -> ModelFacts:
    """Every linear layer in FP8 with a scale for each output; embedding, norms and lm_head in BF16."""
    method = Quantization(method="compressed-tensors", weights=Precision.FP8, activations=Precision.FP8, group_size=group_size)
    return dataclasses.replace(bf16(shape, name), layers=(sizes(shape, 1, 1),) * shape.layers, quantization=method)


def meta_fp8(shape: ModelShape, name: str = "model") -> ModelFacts:
    """The MLP in FP8, but for that of the first and the last layer: https://vllm.ai/blog/2024-07-23-llama31."""
    last = shape.layers - 1
    whole, small = sizes(shape), sizes(shape, 2, 1)
    method = Quantization(method="fbgemm_fp8", weights=Precision.FP8, activations=Precision.FP8, skipped_layers=(0, last))
    layers = tuple(whole if index in {0, last} else small for index in range(shape.layers))
    return dataclasses.replace(bf16(shape, name), layers=layers, quantization=method)
