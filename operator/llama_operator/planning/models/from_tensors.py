"""A model's facts from its config.json and the headers of its weight files: the bytes that really lie there.

model.embed_tokens.*                     the embedding
model.layers.N.self_attn.{q,o}_proj.*    query and output
model.layers.N.self_attn.{k,v}_proj.*    key and value
model.layers.N.mlp.*_proj.*              MLP        (weights, scales, zero points, group indices: all that belongs to the module)
model.layers.N.<anything else>           replicated (norms, scales of the KV cache, biases of o_proj and down_proj)
model.norm.*, lm_head.*                  norm and head; a tied model's head is not loaded
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llama_operator.api.problems import show
from llama_operator.planning.facts import LayerWeights, ModelFacts, Precision, Quantization
from llama_operator.planning.models.from_config import read_base, read_dtype
from llama_operator.planning.models.quantization import find_config, read_recipe
from llama_operator.planning.models.reading import Refused, answering
from llama_operator.planning.models.recipe import MODULES, Recipe
from llama_operator.planning.models.safetensors import DAMAGED, Tensor
from llama_operator.planning.models.weights import KEY_VALUE, MLP, QUERY_OUTPUT, SAFETENSORS_NAME, SPLIT_BY_INPUTS, linear_sizes
from llama_serving.config import ModelShape

FLOATS = {name: precision for precision, name in SAFETENSORS_NAME.items()}

MAIN = ("weight", "weight_packed", "qweight")
"""The ends of the names of a module's weights themselves."""

NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")

_LAYER = re.compile(r"model\.layers\.(\d{1,9})\.(.+)")
_UNUSED = re.compile(r".*rotary_emb\.(inv_freq|cos_cached|sin_cached)")
"""Tables that older checkpoints store and vLLM computes. vllm/model_executor/models/llama.py, load_weights."""

_CACHE_SCALES = ("k_scale", "v_scale", "kv_scale", "output_scale")


@dataclass
class _Layer:
    """One layer, as its tensors come in."""

    modules: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODULES, 0))
    replicated: int = 0
    quantised: bool = False
    seen: set[str] = field(default_factory=set)
    """The modules and norms whose weights were there."""


@answering
def facts_from_tensors(name: str, config: object, tensors: Iterable[Tensor], quant_file: object = None) -> ModelFacts:
    """The facts of a model from its parsed config.json, all tensors of its files, and its hf_quant_config.json where it has one.

    A Problem where config and tensors are not of one model, or tensors lack or are too many.
    """
    shape, values = read_base(config)
    found = _by_name(tensors)
    dtype = _dtype(values, found)
    quantization = find_config(values, quant_file)
    recipe = None if quantization is None else read_recipe(quantization, dtype)
    layers = [_Layer() for _ in range(shape.layers)]
    outside = {"model.embed_tokens.": 0, "model.norm.": 0, "lm_head.": 0}
    for tensor in found.values():
        if _UNUSED.fullmatch(tensor.name):
            continue
        if match := _LAYER.fullmatch(tensor.name):
            _add(layers, int(match[1]), match[2], tensor, shape, recipe)
        elif prefix := next((prefix for prefix in outside if tensor.name.startswith(prefix)), None):
            outside[prefix] += tensor.nbytes
        else:
            raise Refused(f"a checkpoint with tensor {show(tensor.name)}", "tensors of a LlamaForCausalLM")
    _check_whole(layers, outside, found, shape)
    return ModelFacts(
        name=name,
        shape=shape,
        dtype=dtype,
        layers=tuple(_weights(layer) for layer in layers),
        embedding=outside["model.embed_tokens."],
        lm_head=0 if shape.tied else outside["lm_head."],
        norm=outside["model.norm."],
        quantization=_describe(recipe, layers, dtype),
        known_from="checkpoint",
    )


def _by_name(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for tensor in tensors:
        if tensor.name in found:
            raise Refused(f"a checkpoint with {show(tensor.name)} in two files", "one of each tensor", DAMAGED)
        found[tensor.name] = tensor
    return found


def _dtype(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Precision:
    """The config's, else that of the embedding."""
    embedding = tensors.get("model.embed_tokens.weight")
    if config.get("dtype") is None and config.get("torch_dtype") is None and embedding is not None and embedding.dtype in FLOATS:
        return FLOATS[embedding.dtype]
    return read_dtype(config)


def _add(layers: list[_Layer], number: int, rest: str, tensor: Tensor, shape: ModelShape, recipe: Recipe | None) -> None:
    """Put a tensor where it belongs."""
    if number >= len(layers):
        raise Refused(f"a checkpoint with layer {number}", f"{len(layers)} layers, config.json's num_hidden_layers")
    layer = layers[number]
    module = next((module for module in MODULES if rest.startswith(f"{module}.")), None)
    end = rest.rpartition(".")[2]
    if module is None or end in _CACHE_SCALES or (end == "bias" and module in SPLIT_BY_INPUTS):
        layer.replicated += tensor.nbytes
        layer.seen |= {rest} & set(NORMS)
        return
    layer.modules[module] += tensor.nbytes
    if rest.removeprefix(f"{module}.") in MAIN:
        layer.seen.add(module)
        layer.quantised |= tensor.dtype not in FLOATS
        _check_weight(tensor, end, linear_sizes(shape)[module], recipe)


def _check_weight(tensor: Tensor, end: str, size: tuple[int, int], recipe: Recipe | None) -> None:
    """A module's weights have the shape that config.json gives them, quantised as it says. Raises Refused."""
    allowed: list[tuple[int, ...]] = [size]
    if tensor.dtype not in FLOATS and recipe is None:
        given = f"a checkpoint with {show(tensor.name)} of {tensor.dtype} and no quantization_config"
        raise Refused(given, ", ".join(FLOATS), "Add the quantization_config to config.json, or use the whole checkpoint.")
    if tensor.dtype not in FLOATS and recipe is not None:
        stored = [part for scheme in recipe.schemes for part in scheme.layout.tensors(*size)]
        allowed = [part.shape for part in stored if part.suffix == end and part.dtype == tensor.dtype]
    if tensor.shape not in allowed:
        given = f"a checkpoint with {show(tensor.name)} of {tensor.dtype} {list(tensor.shape)}"
        raise Refused(given, " or ".join(str(list(shape)) for shape in allowed) or "what its quantization_config stores")


def _check_whole(layers: list[_Layer], outside: Mapping[str, int], tensors: Mapping[str, Tensor], shape: ModelShape) -> None:
    """Nothing lacks. Raises Refused."""
    for number, layer in enumerate(layers):
        for part in (*MODULES, *NORMS):
            if part not in layer.seen:
                raise Refused(f"a checkpoint without model.layers.{number}.{part}", f"{len(layers)} whole layers", DAMAGED)
    needed = [prefix for prefix in outside if prefix != "lm_head." or not shape.tied]
    if absent := next((prefix for prefix in needed if not outside[prefix]), None):
        raise Refused(f"a checkpoint without {absent}weight", "all tensors of the model", DAMAGED)
    table = tensors.get("model.embed_tokens.weight")
    if table is None or table.shape != (shape.vocabulary, shape.hidden):
        given = "no model.embed_tokens.weight" if table is None else f"model.embed_tokens.weight of {list(table.shape)}"
        raise Refused(f"a checkpoint with {given}", f"{[shape.vocabulary, shape.hidden]}, as config.json says")


def _weights(layer: _Layer) -> LayerWeights:
    return LayerWeights(
        query_output=sum(layer.modules[module] for module in QUERY_OUTPUT),
        key_value=sum(layer.modules[module] for module in KEY_VALUE),
        mlp=sum(layer.modules[module] for module in MLP),
        replicated=layer.replicated,
    )


def _describe(recipe: Recipe | None, layers: list[_Layer], dtype: Precision) -> Quantization | None:
    """The config's words, with the layers that really are not quantised."""
    if recipe is None:
        return None
    skipped = tuple(number for number, layer in enumerate(layers) if not layer.quantised)
    return replace(recipe.describe(len(layers), dtype), skipped_layers=skipped)
