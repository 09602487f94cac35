"""Checkpoints without weights: the tensors of a small Llama as each way to quantise stores them, and the bytes of files that hold them."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from llama_operator.planning.facts import Precision
from llama_operator.planning.models.layouts import Plain, Stored
from llama_operator.planning.models.quantization import find_config, read_recipe
from llama_operator.planning.models.safetensors import Tensor
from llama_operator.planning.models.weights import SAFETENSORS_NAME, linear_sizes
from llama_serving.config import ModelShape

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 3,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 1024,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}

_COMPRESSED: dict[str, Any] = {"quant_method": "compressed-tensors", "ignore": ["lm_head"]}


def compressed(layout: str, weights: dict[str, Any], inputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A quantization_config of compressed-tensors with one group, as llm-compressor writes it."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
    return _COMPRESSED | {"format": layout, "config_groups": {"group_0": group}} | more


_FLOAT8 = {"num_bits": 8, "type": "float", "symmetric": True, "group_size": None, "actorder": None, "dynamic": False}
_INT8 = _FLOAT8 | {"type": "int"}
_INT4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128, "actorder": None, "dynamic": False}
_FLOAT4 = {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "tensor_group", "group_size": 16, "dynamic": False}
_TOKEN = {"strategy": "token", "dynamic": True}

QUANTISED: dict[str, dict[str, Any]] = {
    "compressed fp8, static": compressed("float-quantized", _FLOAT8 | {"strategy": "tensor"}, _FLOAT8 | {"strategy": "tensor"}),
    "compressed fp8, dynamic": compressed("float-quantized", _FLOAT8 | {"strategy": "channel"}, _FLOAT8 | _TOKEN),
    "compressed fp8, weights only": compressed("naive-quantized", _FLOAT8 | {"strategy": "channel"}),
    "compressed fp8, blocks": compressed(
        "float-quantized",
        _FLOAT8 | {"strategy": "block", "block_structure": [128, 128]},
        _FLOAT8 | {"strategy": "group", "group_size": 128, "dynamic": True},
    ),
    "compressed fp8 with a KV cache": compressed(
        "float-quantized",
        _FLOAT8 | {"strategy": "channel"},
        _FLOAT8 | _TOKEN,
        kv_cache_scheme={"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True},
    ),
    "compressed int8": compressed("int-quantized", _INT8 | {"strategy": "channel"}, _INT8 | _TOKEN),
    "compressed int8, static and lopsided": compressed(
        "int-quantized", _INT8 | {"strategy": "channel", "symmetric": False}, _INT8 | {"strategy": "tensor", "symmetric": False}
    ),
    "compressed w4a16": compressed("pack-quantized", _INT4),
    "compressed w4a16, reordered and lopsided": compressed("pack-quantized", _INT4 | {"actorder": "group", "symmetric": False}),
    "compressed w8a16": compressed("pack-quantized", _INT8 | {"strategy": "channel"}),
    "compressed w4a8, static": compressed("pack-quantized", _INT4, _INT8 | {"strategy": "tensor"}),
    "compressed nvfp4": compressed("nvfp4-pack-quantized", _FLOAT4, _FLOAT4 | {"dynamic": "local"}),
    "compressed nvfp4, weights only": compressed("nvfp4-pack-quantized", _FLOAT4),
    "fbgemm_fp8": {
        "quant_method": "fbgemm_fp8",
        "activation_scale_ub": 1200.0,
        "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.up_proj", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.down_proj"]
        + [f"model.layers.{n}.self_attn.{m}_proj" for n in range(3) for m in "qkvo"]
        + ["model.layers.2"],
    },
    "fp8, static": {"quant_method": "fp8", "activation_scheme": "static", "ignored_layers": ["lm_head"]},
    "fp8, dynamic": {"quant_method": "fp8", "activation_scheme": "dynamic"},
    "fp8, blocks": {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [128, 128],
        "modules_to_not_convert": ["model.layers.1.self_attn.o_proj"],
    },
    "modelopt fp8": {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": {"num_bits": 8}, "ignore": ["lm_head"]},
    "modelopt nvfp4": {
        "quant_method": "modelopt_fp4",
        "quantization": {
            "quant_algo": "NVFP4",
            "group_size": 16,
            "kv_cache_quant_algo": "FP8",
            "exclude_modules": ["lm_head", "model.layers.0.*"],
        },
    },
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm", "modules_to_not_convert": None},
    "awq, older keys": {"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "modules_to_not_convert": ["mlp.down_proj"]},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True, "sym": True},
    "gptq, 8 bits, one group": {"quant_method": "gptq", "bits": 8, "group_size": -1, "desc_act": False, "lm_head": True},
    "bitsandbytes nf4": {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    },
    "bitsandbytes fp4": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "bitsandbytes int8": {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["lm_head"]},
}
"""One quantization_config of each kind, with the keys that its tools write."""


def tensors_of(config: dict[str, Any]) -> list[Tensor]:
    """All tensors of the checkpoint that a config.json promises."""
    shape, dtype = ModelShape.from_config(config), Precision(config["torch_dtype"])
    plain, quantization = Plain(dtype=SAFETENSORS_NAME[dtype]), find_config(config)
    recipe = None if quantization is None else read_recipe(quantization, dtype)
    found = [_tensor("model.embed_tokens", Stored("weight", plain.dtype, (shape.vocabulary, shape.hidden)))]
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}"
        for module, size in linear_sizes(shape).items():
            layout = recipe.layout(f"{prefix}.{module}", plain) if recipe else plain
            found += [_tensor(f"{prefix}.{module}", stored) for stored in layout.tensors(*size)]
        norm = Stored("weight", plain.dtype, (shape.hidden,))
        found += [_tensor(f"{prefix}.{name}_layernorm", norm) for name in ("input", "post_attention")]
        if recipe and recipe.kv_scale_bytes:
            scale = Stored("k_scale", "F32" if recipe.kv_scale_bytes == 8 else plain.dtype, (1,))
            found += [_tensor(f"{prefix}.self_attn{place}", scale) for place in (".k_proj", "")]
    found.append(_tensor("model.norm", Stored("weight", plain.dtype, (shape.hidden,))))
    if not shape.tied:
        head = recipe.layout("lm_head", plain) if recipe else plain
        found += [_tensor("lm_head", stored) for stored in head.tensors(shape.vocabulary, shape.hidden)]
    return found


def _tensor(module: str, stored: Stored) -> Tensor:
    return Tensor(f"{module}.{stored.suffix}", stored.dtype, stored.shape, stored.nbytes)


def header_of(tensors: Iterable[Tensor]) -> tuple[bytes, int]:
    """The beginning of a safetensors file, and the bytes of data that must follow it."""
    header, end = {}, 0
    for tensor in tensors:
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text, end


def file_of(tensors: Iterable[Tensor]) -> bytes:
    """A whole safetensors file of zeros."""
    start, data = header_of(tensors)
    return start + bytes(data)


def sharded(tensors: list[Tensor], shards: int) -> dict[str, bytes]:
    """The same tensors in several files, with their index."""
    files, placed = {}, {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = tensors[number::shards]
        files[name] = file_of(part)
        placed |= {tensor.name: name for tensor in part}
    index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in tensors)}, "weight_map": placed}
    return files | {"model.safetensors.index.json": json.dumps(index).encode()}
