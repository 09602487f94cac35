"""How each way to quantise stores one linear layer of `outputs` x `inputs`: the tensors, by the ends of their names, dtypes and shapes.

    plain                     weight [o, i]
    fp8, int8                 weight [o, i], weight_scale [1] | [o, 1] | [o, i/g] | [o/b, i/b], input_scale [1] where it is static
    compressed-tensors int    weight_packed I32 [o, i*bits/32], weight_scale [o, i/g], weight_shape I64 [2], weight_zero_point, weight_g_idx
    NVFP4                     two numbers a byte [o, i/2], FP8 scale a 16 inputs [o, i/16], and global scales
    AWQ, GPTQ                 qweight, qzeros I32, scales F16, and GPTQ's g_idx
    bitsandbytes              weight [o*i/2, 1] or [o, i], absmax and its tables, or SCB

Sources: the parameters that vLLM's loaders create (https://github.com/vllm-project/vllm, vllm/model_executor/layers/quantization/),
and for compressed-tensors src/compressed_tensors/compressors and quantization/lifecycle/initialize.py
(https://github.com/vllm-project/compressed-tensors).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one value by safetensors' name of its type. https://docs.rs/safetensors/latest/safetensors/tensor/enum.Dtype.html"""


@dataclass(frozen=True)
class Stored:
    """One tensor of a layer: what its name ends in, its dtype as safetensors names it, its shape."""

    suffix: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        return -(-math.prod(self.shape) * DTYPE_BITS[self.dtype] // 8)


class Layout(Protocol):
    """A way to store a linear layer."""

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """What lies in the file for one layer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Grain:
    """How many weights share a scale: all of them, an output's, `columns` inputs of an output, or a block of `rows` x `columns`."""

    kind: Literal["tensor", "channel", "group", "block"]
    rows: int = 1
    columns: int = 1

    def shape(self, outputs: int, inputs: int) -> tuple[int, ...]:
        """The shape of the scales."""
        if self.kind == "tensor":
            return (1,)
        if self.kind == "channel":
            return (outputs, 1)
        return -(-outputs // self.rows), -(-inputs // self.columns)

    @property
    def group_size(self) -> int | None:
        """Inputs that share a scale, where that is fewer than all."""
        return self.columns if self.kind in {"group", "block"} else None


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Not quantised."""

    dtype: str

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """The weight alone."""
        return (Stored("weight", self.dtype, (outputs, inputs)),)


@dataclass(frozen=True, kw_only=True)
class OneByte:
    """A byte a weight: FP8 and INT8 of compressed-tensors, fbgemm_fp8, fp8, modelopt."""

    dtype: Literal["F8_E4M3", "I8"]
    grain: Grain
    scale_dtype: str
    scale: str = "weight_scale"
    static_input: str | None = None
    """The dtype of the activations' one scale, where it is fixed; None where it is found for each token."""
    symmetric: bool = True
    symmetric_input: bool = True

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """Weight, its scales, their zero points, and the activations' scale and zero point."""
        scales = self.grain.shape(outputs, inputs)
        found = [Stored("weight", self.dtype, (outputs, inputs)), Stored(self.scale, self.scale_dtype, scales)]
        if not self.symmetric:
            found.append(Stored("weight_zero_point", self.dtype, scales))
        if self.static_input:
            found.append(Stored("input_scale", self.static_input, (1,)))
            if not self.symmetric_input:
                found.append(Stored("input_zero_point", self.dtype, (1,)))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class PackedInts:
    """compressed-tensors' pack-quantized: `bits` a weight, packed along the inputs; zero points packed along the outputs."""

    bits: int
    grain: Grain
    scale_dtype: str
    symmetric: bool = True
    reordered: bool = False
    """Whether the inputs were reordered by activation (actorder: group), which adds a group index an input."""
    static_input: str | None = None

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """As PackedQuantizationCompressor writes them."""
        scales = self.grain.shape(outputs, inputs)
        found = [
            Stored("weight_packed", "I32", (outputs, -(-inputs * self.bits // 32))),
            Stored("weight_scale", self.scale_dtype, scales),
            Stored("weight_shape", "I64", (2,)),
        ]
        if not self.symmetric:
            found.append(Stored("weight_zero_point", "I32", (-(-scales[0] * self.bits // 32), *scales[1:])))
        if self.reordered:
            found.append(Stored("weight_g_idx", "I32", (inputs,)))
        if self.static_input:
            found.append(Stored("input_scale", self.static_input, (1,)))
        return tuple(found)


FP4_GROUP = 16
"""Inputs that share an FP8 scale in NVFP4: compressed-tensors' NVFP4PackedCompressor takes no other group size."""


@dataclass(frozen=True, kw_only=True)
class TwoInAByte:
    """NVFP4, under modelopt's names or those of compressed-tensors."""

    weight: str
    global_scale: str
    input_scale: str | None

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """Two weights a byte, FP8 scales of 16 inputs, and one FP32 scale for the whole of either side."""
        found = [
            Stored(self.weight, "U8", (outputs, -(-inputs // 2))),
            Stored("weight_scale", "F8_E4M3", (outputs, -(-inputs // FP4_GROUP))),
            Stored(self.global_scale, "F32", (1,)),
        ]
        if self.input_scale:
            found.append(Stored(self.input_scale, "F32", (1,)))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Awq:
    """AutoAWQ's GEMM format: packed along the outputs. https://github.com/casper-hansen/AutoAWQ (awq/modules/linear/gemm.py)"""

    bits: int
    group_size: int | None
    """None: one group of all inputs."""

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """The zero points are there whether used or not."""
        groups, packed = -(-inputs // (self.group_size or inputs)), -(-outputs * self.bits // 32)
        return (
            Stored("qweight", "I32", (inputs, packed)),
            Stored("qzeros", "I32", (groups, packed)),
            Stored("scales", "F16", (groups, outputs)),
        )


@dataclass(frozen=True, kw_only=True)
class Gptq:
    """AutoGPTQ's format: packed along the inputs. https://github.com/AutoGPTQ/AutoGPTQ (auto_gptq/nn_modules/qlinear)"""

    bits: int
    group_size: int | None

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """The group index is there whether the inputs were reordered or not."""
        groups = -(-inputs // (self.group_size or inputs))
        return (
            Stored("qweight", "I32", (-(-inputs * self.bits // 32), outputs)),
            Stored("qzeros", "I32", (groups, -(-outputs * self.bits // 32))),
            Stored("scales", "F16", (groups, outputs)),
            Stored("g_idx", "I32", (inputs,)),
        )


BNB_BLOCK, BNB_NESTED_BLOCK = 64, 256
"""Weights that share an absmax, and absmaxes that share one of theirs: the defaults of quantize_4bit.
https://github.com/bitsandbytes-foundation/bitsandbytes (bitsandbytes/functional.py)
"""


@dataclass(frozen=True, kw_only=True)
class BitsAndBytes4:
    """NF4 and FP4 of bitsandbytes. Without the quant_state, a JSON text of some 100 bytes a layer whose length only the file knows."""

    nested: bool

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """Weights in a row, an absmax a block, and the tables of 16 and 256 values."""
        count = outputs * inputs
        blocks = -(-count // BNB_BLOCK)
        found = [
            Stored("weight", "U8", (-(-count // 2), 1)),
            Stored("weight.absmax", "U8" if self.nested else "F32", (blocks,)),
            Stored("weight.quant_map", "F32", (16,)),
        ]
        if self.nested:
            found += [
                Stored("weight.nested_absmax", "F32", (-(-blocks // BNB_NESTED_BLOCK),)),
                Stored("weight.nested_quant_map", "F32", (256,)),
            ]
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class BitsAndBytes8:
    """LLM.int8()."""

    def tensors(self, outputs: int, inputs: int) -> tuple[Stored, ...]:
        """A byte a weight, the largest of each output, and one byte that names the order in memory."""
        return (Stored("weight", "I8", (outputs, inputs)), Stored("SCB", "F32", (outputs,)), Stored("weight_format", "U8", ()))
