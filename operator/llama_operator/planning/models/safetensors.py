"""Reads the header of a safetensors file from bytes that lie here already: what tensors it holds, never their values.

    8 bytes, little endian: the header's length n │ n bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}} │ the data

The offsets must fill the data from 0 without holes. https://github.com/huggingface/safetensors#format

The pods' preflight (`llama_serving.checkpoint`) checks the same of the files that it is about to load, with the standard library alone
and in the pods' words; the operator may import none of it but the configuration, and needs the tensors too. A test holds the two to one
verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from llama_operator.api.problems import show
from llama_operator.planning.models.layouts import DTYPE_BITS
from llama_operator.planning.models.reading import Refused, answering, parse_json

PREFIX_BYTES = 8

HEADER_LIMIT = 16 << 20
"""Bytes of a header that are read; all 1,138 tensors of 405B in one header would take about 150,000."""

DIMENSIONS_MAX = 16
SIZE_MAX = 1 << 63

_LFS = b"version "
"""How a Git LFS pointer begins. https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""

DAMAGED = "Download it again, or copy it again where it came from."


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a checkpoint."""

    name: str
    dtype: str
    """As safetensors names it: BF16, F8_E4M3, I32, …"""
    shape: tuple[int, ...]
    nbytes: int


@answering
def read_length(prefix: bytes, file: str) -> int:
    """Bytes of the header of a file that begins with these eight."""
    if len(prefix) < PREFIX_BYTES:
        raise Refused(f"{file} of {len(prefix)} bytes", "a safetensors file", DAMAGED)
    if prefix[:PREFIX_BYTES] == _LFS:
        raise Refused(
            f"{file}, a Git LFS pointer",
            "the file itself",
            "Run `git lfs pull` where it was cloned, or download the model from the hub.",
        )
    length = int.from_bytes(prefix[:PREFIX_BYTES], "little")
    if length > HEADER_LIMIT:
        raise Refused(f"{file} with a header of {length} bytes", f"at most {HEADER_LIMIT}: it is no safetensors file", DAMAGED)
    return length


@answering
def read_tensors(header: bytes, file: str, data_bytes: int | None = None) -> tuple[Tensor, ...]:
    """The tensors in a header, in the order of their data. `data_bytes`: what follows the header in the file, where that is known."""
    try:
        raw = parse_json(header)
    except ValueError as error:
        raise Refused(f"{file} with a header that is not JSON ({str(error)[:80]})", "a safetensors file", DAMAGED) from error
    if not isinstance(raw, dict):
        raise Refused(f"{file} with a header that is no JSON object", "a safetensors file", DAMAGED)
    spans = sorted(_span(file, name, entry) for name, entry in raw.items() if name != "__metadata__")
    end = 0
    for begin, stop, name in spans:
        if begin != end:
            raise Refused(f"{file} with a hole or an overlap before {show(name)}", "tensors that follow one another", DAMAGED)
        end = stop
    if data_bytes is not None and data_bytes != end:
        raise Refused(f"{file} with {data_bytes} bytes of weights", f"the {end} that its header promises", DAMAGED)
    return tuple(Tensor(name, raw[name]["dtype"], tuple(raw[name]["shape"]), stop - begin) for begin, stop, name in spans)


def _span(file: str, name: str, entry: Any) -> tuple[int, int, str]:
    """Where a tensor begins and ends, and its name, after dtype and shape agree with that."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(map(_is_count, offsets)) and offsets[0] <= offsets[1]):
        raise Refused(f"{file} with tensor {show(name)} without data_offsets", "[begin, end]", DAMAGED)
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not (isinstance(shape, list) and len(shape) <= DIMENSIONS_MAX and all(map(_is_count, shape))):
        raise Refused(f"{file} with tensor {show(name)} of shape {show(shape)}", f"up to {DIMENSIONS_MAX} whole numbers", DAMAGED)
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise Refused(f"{file} with tensor {show(name)} of dtype {show(dtype)}", ", ".join(DTYPE_BITS))
    begin, end = offsets
    if math.prod(shape) * DTYPE_BITS[dtype] != 8 * (end - begin):
        given = f"{file} with tensor {show(name)} of {dtype} {shape[:4]} in {end - begin} bytes"
        raise Refused(given, "as many bytes as dtype and shape take", DAMAGED)
    return begin, end, name


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < SIZE_MAX
