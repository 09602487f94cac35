"""Reads a quantization_config: one reader for each method that vLLM loads Llamas of.

    config.json's quantization_config (older: compression_config), else hf_quant_config.json ─▶ Recipe
        fp8  fbgemm_fp8  modelopt  modelopt_fp4  compressed-tensors  awq  gptq  bitsandbytes

The readers know the keys that vLLM reads (https://docs.vllm.ai/en/latest/features/quantization/) and refuse what it would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llama_operator.api.problems import show
from llama_operator.planning.facts import Precision
from llama_operator.planning.models.compressed_tensors import read_compressed_tensors
from llama_operator.planning.models.layouts import Awq, BitsAndBytes4, BitsAndBytes8, Gptq, Grain, Layout, OneByte, TwoInAByte
from llama_operator.planning.models.names import NAMES_MAX, Names, read_names
from llama_operator.planning.models.reading import Refused, answering, flag, one_of, optional_mapping, texts, whole
from llama_operator.planning.models.recipe import Recipe, Scheme

WHERE = "quantization_config"
GROUP_MAX = 1 << 20


def find_config(config: Mapping[str, Any], extra: object = None) -> Mapping[str, Any] | None:
    """The quantization_config of a parsed config.json, or of modelopt's own file beside it (`extra`). Raises Refused."""
    for name in (WHERE, "compression_config"):
        found = optional_mapping(config, name, "config.json")
        if found is not None:
            return found
    return optional_mapping(extra, "quantization", "hf_quant_config.json") if isinstance(extra, Mapping) else None


def read_recipe(quantization: Mapping[str, Any], dtype: Precision) -> Recipe:
    """How a checkpoint is quantised whose other tensors are of `dtype`. Raises Refused."""
    method = quantization.get("quant_method")
    if method is None and "quant_algo" in quantization:
        method = "modelopt"
    reader = READERS.get(method.lower()) if isinstance(method, str) else None
    if reader is None:
        raise Refused(
            f"{WHERE}.quant_method of {show(method)}",
            ", ".join(READERS),
            "Use a checkpoint that was quantised in one of these ways, or the one that is not quantised.",
        )
    return reader(quantization, dtype)


def _read_fp8(raw: Mapping[str, Any], _dtype: Precision) -> Recipe:
    """AutoFP8's and DeepSeek's format. https://github.com/vllm-project/vllm/blob/main/vllm/model_executor/layers/quantization/fp8.py"""
    static = one_of(raw, "activation_scheme", WHERE, ("dynamic", "static")) == "static"
    block = raw.get("weight_block_size")
    if block is None:
        layout = OneByte(dtype="F8_E4M3", grain=Grain(kind="tensor"), scale_dtype="F32", static_input="F32" if static else None)
    else:
        if (
            not isinstance(block, list)
            or len(block) != 2
            or not all(type(side) is int and 0 < side <= GROUP_MAX for side in block)
            or static
        ):
            raise Refused(f"{WHERE}.weight_block_size of {show(block)}", "two whole numbers, with the activation_scheme dynamic")
        grain = Grain(kind="block", rows=block[0], columns=block[1])
        layout = OneByte(dtype="F8_E4M3", grain=grain, scale_dtype="F32", scale="weight_scale_inv")
    skipped = texts(raw, "ignored_layers", WHERE, most=NAMES_MAX) or texts(raw, "modules_to_not_convert", WHERE, most=NAMES_MAX)
    return _one("fp8", layout, Precision.FP8, Precision.FP8, read_names(skipped, "inside", WHERE), group=layout.grain.group_size)


def _read_fbgemm(raw: Mapping[str, Any], _dtype: Precision) -> Recipe:
    """Meta's own: FP8 for each output, activations for each token. Skipped modules stand in modules_to_not_convert.

    Scales as transformers' FbgemmFp8Linear keeps them, in float32.
    https://github.com/huggingface/transformers/blob/main/src/transformers/integrations/fbgemm_fp8.py
    """
    skipped = read_names(texts(raw, "modules_to_not_convert", WHERE, most=NAMES_MAX), "inside", f"{WHERE}.modules_to_not_convert")
    layout = OneByte(dtype="F8_E4M3", grain=Grain(kind="channel"), scale_dtype="F32")
    return _one("fbgemm_fp8", layout, Precision.FP8, Precision.FP8, skipped)


def _read_modelopt(raw: Mapping[str, Any], _dtype: Precision) -> Recipe:
    """NVIDIA's Model Optimizer, FP8 and NVFP4, from config.json or its own hf_quant_config.json.

    https://github.com/vllm-project/vllm/blob/main/vllm/model_executor/layers/quantization/modelopt.py
    """
    inner = {**raw, **(optional_mapping(raw, "quantization", WHERE) or {})}
    algorithm = one_of(inner, "quant_algo", WHERE, ("FP8", "NVFP4"))
    names = texts(inner, "exclude_modules", WHERE, most=NAMES_MAX) or texts(inner, "ignore", WHERE, most=NAMES_MAX)
    skipped = read_names(names, "pattern", f"{WHERE}.exclude_modules")
    scheme = optional_mapping(inner, "kv_cache_scheme", WHERE)
    cache = one_of(inner, "kv_cache_quant_algo", WHERE, ("FP8", "none"), "none") == "FP8" or scheme is not None
    if scheme is not None:
        whole(scheme, "num_bits", f"{WHERE}.kv_cache_scheme", low=8, high=8)
    if algorithm == "FP8":
        layout = OneByte(dtype="F8_E4M3", grain=Grain(kind="tensor"), scale_dtype="F32", static_input="F32")
        return _one("modelopt", layout, Precision.FP8, Precision.FP8, skipped, cache="F32" if cache else None)
    group = whole(inner, "group_size", WHERE, low=16, high=16, default=16)
    packed = TwoInAByte(weight="weight", global_scale="weight_scale_2", input_scale="input_scale")
    return _one("modelopt_fp4", packed, Precision.FP4, Precision.FP4, skipped, group=group, cache="F32" if cache else None)


def _read_awq(raw: Mapping[str, Any], _dtype: Precision) -> Recipe:
    """https://github.com/vllm-project/vllm/blob/main/vllm/model_executor/layers/quantization/awq.py"""
    bits = whole(raw, "w_bit" if "w_bit" in raw else "bits", WHERE, low=4, high=4)
    group = _group(raw, "q_group_size" if "q_group_size" in raw else "group_size")
    skipped = read_names(texts(raw, "modules_to_not_convert", WHERE, most=NAMES_MAX), "anywhere", f"{WHERE}.modules_to_not_convert")
    return _one("awq", Awq(bits=bits, group_size=group), Precision.INT4, None, skipped, group=group)


def _read_gptq(raw: Mapping[str, Any], _dtype: Precision) -> Recipe:
    """https://github.com/vllm-project/vllm/blob/main/vllm/model_executor/layers/quantization/gptq_marlin.py"""
    bits = one_of(raw, "bits", WHERE, (4, 8))
    group = _group(raw, "group_size")
    precision = Precision.INT4 if bits == 4 else Precision.INT8
    head = flag(raw, "lm_head", WHERE, default=False)
    return _one("gptq", Gptq(bits=bits, group_size=group), precision, None, Names(), group=group, head=head)


def _read_bitsandbytes(raw: Mapping[str, Any], _dtype: Precision) -> Recipe:
    """https://huggingface.co/docs/transformers/main_classes/quantization#transformers.BitsAndBytesConfig"""
    names = texts(raw, "llm_int8_skip_modules", WHERE, most=NAMES_MAX)
    skipped = read_names(names, "anywhere", f"{WHERE}.llm_int8_skip_modules")
    four, eight = flag(raw, "load_in_4bit", WHERE, default=False), flag(raw, "load_in_8bit", WHERE, default=False)
    if four == eight:
        raise Refused(f"{WHERE} of bitsandbytes with load_in_4bit {show(four)} and load_in_8bit {show(eight)}", "one of them")
    if eight:
        return _one("bitsandbytes", BitsAndBytes8(), Precision.INT8, None, skipped)
    nested = flag(raw, "bnb_4bit_use_double_quant", WHERE, default=False)
    kind = one_of(raw, "bnb_4bit_quant_type", WHERE, ("nf4", "fp4"), "fp4")
    precision = Precision.FP4 if kind == "fp4" else Precision.INT4
    return _one("bitsandbytes", BitsAndBytes4(nested=nested), precision, None, skipped)


def _group(raw: Mapping[str, Any], name: str) -> int | None:
    """Inputs that share a scale; -1 says all of them."""
    group = whole(raw, name, WHERE, low=-1, high=GROUP_MAX)
    if group == 0:
        raise Refused(f"{WHERE}.{name} of 0", f"-1, or a whole number from 1 to {GROUP_MAX}")
    return None if group == -1 else group


def _one(
    method: str,
    layout: Layout,
    weights: Precision,
    activations: Precision | None,
    skipped: Names,
    *,
    group: int | None = None,
    head: bool = False,
    cache: str | None = None,
) -> Recipe:
    """A recipe of one scheme; `cache`: the dtype of the KV cache's two scales in each layer, where it has them."""
    scheme = Scheme(layout=layout, weights=weights, activations=activations, group_size=group)
    kv_cache = Precision.FP8 if cache else None
    return Recipe(method=method, schemes=(scheme,), skipped=skipped, head=head, kv_cache=kv_cache, kv_scale_bytes=8 if cache else 0)


READERS: dict[str, Callable[[Mapping[str, Any], Precision], Recipe]] = {
    "awq": _read_awq,
    "bitsandbytes": _read_bitsandbytes,
    "compressed-tensors": read_compressed_tensors,
    "fbgemm_fp8": _read_fbgemm,
    "fp8": _read_fp8,
    "gptq": _read_gptq,
    "modelopt": _read_modelopt,
    "modelopt_fp4": _read_modelopt,
}


@answering
def read_quantization(config: Mapping[str, Any], dtype: Precision, extra: object = None) -> Recipe | None:
    """How a model is quantised, from its parsed config.json and modelopt's own file.

    None where it is not, a Problem where it is in a way that is not known.
    """
    found = find_config(config, extra)
    return None if found is None else read_recipe(found, dtype)
