"""The bytes of a Llama's weights, from its shape and the way in which its layers are stored.

    a layer:  q_proj [heads*head, hidden]  k_proj, v_proj [kv_heads*head, hidden]  o_proj [hidden, heads*head]
              gate_proj, up_proj [intermediate, hidden]  down_proj [hidden, intermediate]  two norms [hidden]

As `LlamaForCausalLM` of transformers names and shapes them.
https://github.com/huggingface/transformers/blob/main/src/transformers/models/llama/modeling_llama.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llama_operator.planning.facts import LayerWeights, ModelFacts, Precision
from llama_operator.planning.models.layouts import Layout, Plain
from llama_operator.planning.models.recipe import Recipe
from llama_serving.config import ModelShape

SAFETENSORS_NAME = {Precision.FLOAT32: "F32", Precision.BFLOAT16: "BF16", Precision.FLOAT16: "F16"}
"""The dtypes of what is not quantised, by safetensors' names."""

QUERY_OUTPUT = ("self_attn.q_proj", "self_attn.o_proj")
KEY_VALUE = ("self_attn.k_proj", "self_attn.v_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
SPLIT_BY_INPUTS = ("self_attn.o_proj", "mlp.down_proj")
"""Every rank holds a part of each output's sum, so that the bias is whole on each."""


@dataclass(frozen=True, kw_only=True)
class Biases:
    """Whether the linear layers add a bias, which no Llama of Meta's does."""

    attention: bool = False
    mlp: bool = False


def linear_sizes(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of each linear module of a decoder layer."""
    query, key = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    return {
        "self_attn.q_proj": (query, shape.hidden),
        "self_attn.k_proj": (key, shape.hidden),
        "self_attn.v_proj": (key, shape.hidden),
        "self_attn.o_proj": (shape.hidden, query),
        "mlp.gate_proj": (shape.intermediate, shape.hidden),
        "mlp.up_proj": (shape.intermediate, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.intermediate),
    }


def compute_facts(
    name: str,
    shape: ModelShape,
    dtype: Precision,
    *,
    known_from: Literal["catalogue", "config"],
    recipe: Recipe | None = None,
    biases: Biases | None = None,
) -> ModelFacts:
    """The model that these files hold when they are what they say."""
    plain = Plain(dtype=SAFETENSORS_NAME[dtype])
    made: dict[tuple[Layout, ...], LayerWeights] = {}
    layers = []
    for number in range(shape.layers):
        layouts = tuple(recipe.layout(f"model.layers.{number}.{module}", plain) if recipe else plain for module in linear_sizes(shape))
        if layouts not in made:
            kv_scales = recipe.kv_scale_bytes if recipe else 0
            made[layouts] = _layer(shape, layouts, dtype, biases or Biases(), kv_scales)
        layers.append(made[layouts])
    table = shape.vocabulary * shape.hidden * dtype.bits // 8
    head = recipe.layout("lm_head", plain) if recipe else plain
    return ModelFacts(
        name=name,
        shape=shape,
        dtype=dtype,
        layers=tuple(layers),
        embedding=table,
        lm_head=0 if shape.tied else sum(tensor.nbytes for tensor in head.tensors(shape.vocabulary, shape.hidden)),
        norm=shape.hidden * dtype.bits // 8,
        quantization=recipe.describe(shape.layers, dtype) if recipe else None,
        known_from=known_from,
    )


def _layer(shape: ModelShape, layouts: tuple[Layout, ...], dtype: Precision, biases: Biases, kv_scales: int) -> LayerWeights:
    stored = {}
    replicated = 2 * shape.hidden * dtype.bits // 8 + kv_scales
    for (module, (outputs, inputs)), layout in zip(linear_sizes(shape).items(), layouts, strict=True):
        stored[module] = sum(tensor.nbytes for tensor in layout.tensors(outputs, inputs))
        if biases.mlp if module in MLP else biases.attention:
            bias = outputs * dtype.bits // 8
            if module in SPLIT_BY_INPUTS:
                replicated += bias
            else:
                stored[module] += bias
    return LayerWeights(
        query_output=sum(stored[module] for module in QUERY_OUTPUT),
        key_value=sum(stored[module] for module in KEY_VALUE),
        mlp=sum(stored[module] for module in MLP),
        replicated=replicated,
    )
