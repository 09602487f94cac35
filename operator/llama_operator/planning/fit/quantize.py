"""A model whose linear layers vLLM quantises to FP8 while it loads them."""

from __future__ import annotations

import dataclasses

from llama_operator.planning.facts import LayerWeights, ModelFacts, Precision, Quantization

METHOD = "fp8"
"""Weights of q, k, v, o and the MLP become one byte with one scale a tensor; embedding, norms and lm_head stay as they are.
https://docs.vllm.ai/en/latest/features/quantization/fp8/"""
SCALE_BYTES = 4
"""A float32."""


def quantized(model: ModelFacts) -> ModelFacts:
    """The same model in FP8. It is not quantised yet."""

    def smaller(size: int, scales: int) -> int:
        return size * Precision.FP8.bits // model.dtype.bits + scales * SCALE_BYTES

    def layer(held: LayerWeights) -> LayerWeights:
        query_output, key_value, mlp = smaller(held.query_output, 2), smaller(held.key_value, 2), smaller(held.mlp, 3)
        return LayerWeights(query_output=query_output, key_value=key_value, mlp=mlp, replicated=held.replicated)

    method = Quantization(method=METHOD, weights=Precision.FP8, activations=Precision.FP8)
    return dataclasses.replace(model, layers=tuple(layer(each) for each in model.layers), quantization=method)
