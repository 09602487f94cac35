"""Reads the quantization_config of compressed-tensors, as llm-compressor writes it.

    config_groups: {name: {targets, weights: {num_bits, type, strategy, group_size, symmetric, actorder}, input_activations, format}}
    ignore: [lm_head, re:…]   format: float-quantized | int-quantized | naive-quantized | pack-quantized | nvfp4-pack-quantized

https://github.com/vllm-project/compressed-tensors (src/compressed_tensors/quantization/quant_args.py, quant_config.py). Scales have the
dtype of the weights that were quantised (quantization/lifecycle/initialize.py), symmetric zero points are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llama_operator.api.problems import show
from llama_operator.planning.facts import Precision
from llama_operator.planning.models.layouts import FP4_GROUP, Grain, Layout, OneByte, PackedInts, TwoInAByte
from llama_operator.planning.models.names import NAMES_MAX, Names, read_names
from llama_operator.planning.models.reading import Refused, flag, mapping, one_of, optional_mapping, texts, whole
from llama_operator.planning.models.recipe import Recipe, Scheme

WHERE = "quantization_config"
GROUPS = f"{WHERE}.config_groups"
GROUPS_MAX = 16
"""Config groups that are read; a Llama has one, seldom two."""

TYPES: tuple[Literal["int", "float"], ...] = ("int", "float")

SCALE_DTYPE = {Precision.FLOAT32: "F32", Precision.BFLOAT16: "BF16", Precision.FLOAT16: "F16"}

PRECISIONS = {
    ("float", 8): Precision.FP8,
    ("int", 8): Precision.INT8,
    ("int", 4): Precision.INT4,
    ("float", 4): Precision.FP4,
}

FORMATS = {
    ("float", 8): ("float-quantized", "naive-quantized"),
    ("int", 8): ("int-quantized", "naive-quantized", "pack-quantized"),
    ("int", 4): ("pack-quantized",),
    ("float", 4): ("nvfp4-pack-quantized",),
}
"""The formats of each type and number of bits. Other formats of the library (sparse ones, MXFP4, MXFP8) are not planned for."""


def read_compressed_tensors(raw: Mapping[str, Any], dtype: Precision) -> Recipe:
    """How such a checkpoint is quantised. Raises Refused."""
    groups = mapping(raw, "config_groups", WHERE)
    if not 0 < len(groups) <= GROUPS_MAX:
        raise Refused(f"{WHERE}.config_groups of {len(groups)}", f"1 to {GROUPS_MAX} groups")
    default = raw.get("format")
    schemes = tuple(_scheme(mapping(groups, name, f"{WHERE}.config_groups"), default, dtype) for name in groups)
    cache = optional_mapping(raw, "kv_cache_scheme", WHERE)
    kv_scale_bytes = 0
    if cache is not None:
        whole(cache, "num_bits", f"{WHERE}.kv_cache_scheme", low=8, high=8)
        one_of(cache, "type", f"{WHERE}.kv_cache_scheme", ("float",))
        dynamic = flag(cache, "dynamic", f"{WHERE}.kv_cache_scheme", default=False)
        kv_scale_bytes = 0 if dynamic else 2 * dtype.bits // 8
    return Recipe(
        method="compressed-tensors",
        schemes=schemes,
        skipped=read_names(texts(raw, "ignore", WHERE, most=NAMES_MAX), "pattern", f"{WHERE}.ignore"),
        head=True,
        kv_cache=Precision.FP8 if cache is not None else None,
        kv_scale_bytes=kv_scale_bytes,
    )


def _scheme(group: Mapping[str, Any], default: object, dtype: Precision) -> Scheme:
    weights = mapping(group, "weights", GROUPS)
    kind: Literal["int", "float"] = one_of(weights, "type", GROUPS, TYPES, "int")
    bits = one_of(weights, "num_bits", GROUPS, (8, 4), 8)
    stored = one_of({"format": group.get("format") or default}, "format", GROUPS, FORMATS[kind, bits])
    inputs = optional_mapping(group, "input_activations", GROUPS)
    grain = _grain(weights)
    return Scheme(
        layout=_layout(weights, stored, kind, bits, grain, inputs, SCALE_DTYPE[dtype]),
        weights=PRECISIONS[kind, bits],
        activations=None if inputs is None else _activations(inputs),
        group_size=grain.group_size,
        targets=_targets(group),
    )


def _layout(
    weights: Mapping[str, Any],
    stored: str,
    kind: Literal["int", "float"],
    bits: int,
    grain: Grain,
    inputs: Mapping[str, Any] | None,
    scale: str,
) -> Layout:
    symmetric = flag(weights, "symmetric", GROUPS, default=True)
    if stored == "nvfp4-pack-quantized":
        if grain.columns != FP4_GROUP:
            raise Refused(f"{GROUPS} of NVFP4 with groups of {grain.columns}", f"groups of {FP4_GROUP}")
        return TwoInAByte(weight="weight_packed", global_scale="weight_global_scale", input_scale="input_global_scale" if inputs else None)
    dynamic = one_of(inputs or {}, "dynamic", GROUPS, (True, False, "local"), default=inputs is None)
    static = scale if dynamic is False else None
    if stored == "pack-quantized":
        order = one_of(weights, "actorder", GROUPS, ("group", "dynamic", "weight", "static", True, False, "none"), "none")
        reordered = order in {"group", "dynamic", True}
        return PackedInts(bits=bits, grain=grain, scale_dtype=scale, symmetric=symmetric, reordered=reordered, static_input=static)
    return OneByte(
        dtype="F8_E4M3" if kind == "float" else "I8",
        grain=grain,
        scale_dtype=scale,
        symmetric=symmetric,
        static_input=static,
        symmetric_input=flag(inputs or {}, "symmetric", GROUPS, default=True),
    )


def _grain(weights: Mapping[str, Any]) -> Grain:
    where = f"{GROUPS}.weights"
    size = weights.get("group_size")
    named = "group" if size is not None and size != -1 else "channel" if size == -1 else "tensor"
    strategy = one_of(weights, "strategy", where, ("tensor", "channel", "group", "tensor_group", "block"), named)
    if strategy in {"group", "tensor_group"}:
        return Grain(kind="group", columns=whole(weights, "group_size", where, low=1, high=1 << 20))
    if strategy == "block":
        block = weights.get("block_structure")
        if not isinstance(block, list) or len(block) != 2 or not all(type(side) is int and 0 < side <= 1 << 20 for side in block):
            raise Refused(f"{where}.block_structure of {show(block)}", "two whole numbers")
        return Grain(kind="block", rows=block[0], columns=block[1])
    return Grain(kind="channel" if strategy == "channel" else "tensor")


def _activations(inputs: Mapping[str, Any]) -> Precision:
    where = f"{GROUPS}.input_activations"
    bits = one_of(inputs, "num_bits", where, (8, 4), 8)
    kind = one_of(inputs, "type", where, TYPES, "int")
    return PRECISIONS[kind, bits]


def _targets(group: Mapping[str, Any]) -> Names | None:
    """`Linear` means every linear module."""
    targets = texts(group, "targets", GROUPS, most=NAMES_MAX)
    return None if "Linear" in targets else read_names(targets, "pattern", f"{GROUPS}.targets")
