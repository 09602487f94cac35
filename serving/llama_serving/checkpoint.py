"""Looks at a model's folder before any engine starts, and says in words what is wrong with it.

An engine finds the same faults minutes later, behind a chain of wrapped errors. Only config.json, the index and the safetensors headers
are read, each within a bound: never a tensor, so 405B takes as long as its 100-odd headers. Standard library only.

The format of a safetensors file: 8 bytes, little endian, the length of the header; the header, a JSON object of
`{name: {"dtype", "shape", "data_offsets": [begin, end]}}`; then the data, which the offsets must fill from 0 without holes.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_serving.config import ModelShape, ServingConfig, ShapeError

if TYPE_CHECKING:
    from llama_serving.status import Reason

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")

CONFIG_LIMIT = 1 << 20
"""Bytes of config.json that are read; a Llama's has about 1,000."""

INDEX_LIMIT = 64 << 20
"""Bytes of the index that are read; 405B's has about 100,000."""

HEADER_LIMIT = 16 << 20
"""Bytes of a safetensors header that are read; all 1,138 tensors of 405B in one header would take about 150,000."""

DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
}
"""Bits of one value by safetensors' name of its type; a type that is not here is not checked."""

LFS_POINTER = b"version https://git-lfs"


class CheckpointError(Exception):
    """A model cannot be served from what is there. `reason` is one of docs/contracts.md; `retryable`: it may be there later."""

    def __init__(self, reason: Reason, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.retryable = retryable


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a sound model folder holds: bytes of all tensors, how many they are, the model's shape, the weight files' names."""

    total_bytes: int
    tensors: int
    shape: ModelShape
    files: tuple[str, ...]


def preflight(path: str, config: ServingConfig) -> Checkpoint:
    """Look at the model in the folder `path`. Reads headers only.

    Raises CheckpointError with the reason ModelNotFound, ModelUnreadable, NotLlama, ShapeNotDivisible or CheckpointTruncated. Anything that
    the operating system refuses is ModelUnreadable.
    """
    folder = Path(path)
    try:
        _check_folder(folder, config)
        raw = _read_json(folder / CONFIG_FILE, CONFIG_LIMIT)
        shape = _shape(raw)
        _check_split(shape, config)
        _check_tokenizer(folder, config)
        return _weights(folder, shape)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise CheckpointError(
            "ModelUnreadable",
            f"{path} cannot be read: {error}. Make it readable for user 1000, and check the volume it lies on",
            retryable=True,
        ) from error


def _check_folder(folder: Path, config: ServingConfig) -> None:
    if folder.is_dir() and (folder / CONFIG_FILE).exists():
        return
    if folder.is_dir():
        message = (
            f"{folder} holds no {CONFIG_FILE} ({_listing(folder)}). Point spec.model.source at the folder that holds the model's files"
        )
    elif folder.exists():
        message = f"{folder} is a file. Point spec.model.source at the folder that holds {CONFIG_FILE} and the *.safetensors files"
    else:
        parent = next(parent for parent in folder.parents if parent.is_dir())
        mount = "copy the model there" if config.source.startswith("pvc://") else "mount the model there with spec.podTemplate"
        message = f"{folder} is not there; {parent} holds {_listing(parent)}. Correct spec.model.source, or {mount}"
    raise CheckpointError("ModelNotFound", message, retryable=True)


def _listing(folder: Path) -> str:
    """A few of the folder's names, so that a typing error shows itself."""
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "nothing"


def _open_size(path: Path) -> int:
    """Size of a regular file in bytes. Anything else, such as a pipe, would block the reader."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError("ModelUnreadable", f"{path} is not a regular file. Replace it with the model's own", retryable=False)
    return status.st_size


def _read_json(path: Path, limit: int) -> Any:
    size = _open_size(path)
    if size > limit:
        message = f"{path} has {size} bytes, more than the {limit} that are read. Replace it with the model's own"
        raise CheckpointError("ModelUnreadable", message, retryable=False)
    data = path.read_bytes()
    if data.startswith(LFS_POINTER):
        raise _lfs_pointer(path)
    try:
        return _parse(data)
    except ValueError as error:
        message = f"{path} is not JSON: {error}. Download it again"
        raise CheckpointError("ModelUnreadable", message, retryable=True) from error


def _parse(data: bytes) -> Any:
    """JSON in UTF-8. Raises ValueError for anything else, too deep a nesting and repeated keys included."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ: a second tensor of one name would hide the first."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _lfs_pointer(path: Path) -> CheckpointError:
    message = (
        f"{path} is a Git LFS pointer, not the file itself. Run `git lfs pull` where it was cloned, or download the model from the hub"
    )
    return CheckpointError("CheckpointTruncated", message, retryable=True)


def _shape(raw: Any) -> ModelShape:
    try:
        return ModelShape.from_config(raw)
    except ShapeError as error:
        llama = isinstance(raw, dict) and raw.get("architectures") == ["LlamaForCausalLM"]
        reason: Reason = "ModelUnreadable" if llama else "NotLlama"
        remedy = "Download it again" if llama else "This operator serves Llama models: name one in spec.model.source"
        raise CheckpointError(reason, f"{error}. {remedy}", retryable=False) from error


def _check_split(shape: ModelShape, config: ServingConfig) -> None:
    tensor, pipeline = config.tensor_parallel, config.pipeline_parallel
    if tensor < 1 or not shape.allows_tensor(tensor):
        sizes = f"{shape.heads} attention heads, {shape.kv_heads} KV heads and an MLP of {shape.intermediate}"
        allowed = ", ".join(map(str, shape.splits()))
        message = f"spec.parallelism.tensor is {tensor}, which does not divide the model's {sizes}. Choose one of {allowed}"
        raise CheckpointError("ShapeNotDivisible", message, retryable=False)
    if not 1 <= pipeline <= shape.layers:
        message = f"spec.parallelism.pipeline is {pipeline}; the model has {shape.layers} layers. Choose 1 to {shape.layers}"
        raise CheckpointError("ShapeNotDivisible", message, retryable=False)


def _check_tokenizer(folder: Path, config: ServingConfig) -> None:
    elsewhere = "tokenizer" in config.engine_args or config.engine_args.get("skip_tokenizer_init") is True
    if not elsewhere and not any((folder / name).exists() for name in TOKENIZER_FILES):
        message = f"{folder} holds no tokenizer ({', '.join(TOKENIZER_FILES)}). Copy the model's tokenizer files there too"
        raise CheckpointError("ModelNotFound", message, retryable=True)


def _weights(folder: Path, shape: ModelShape) -> Checkpoint:
    """Every weight file's header against its size, and all of them against the index and the layers of the model."""
    promised = _index(folder)
    files = sorted(promised) if promised is not None else sorted(path.name for path in folder.glob("*.safetensors"))
    if not files:
        message = f"{folder} holds no *.safetensors file ({_listing(folder)}). Use the model's safetensors weights"
        raise CheckpointError("ModelNotFound", message, retryable=True)
    if missing := [name for name in files if not (folder / name).exists()]:
        some = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        message = f"{len(missing)} of the {len(files)} weight files that {INDEX_FILE} names are missing in {folder}: {some}. Copy the rest"
        raise CheckpointError("CheckpointTruncated", message, retryable=True)
    total, names = 0, set[str]()
    for file in files:
        size, tensors = read_header(folder / file)
        if promised is not None and (absent := promised[file] - tensors):
            message = f"{folder / file} lacks {len(absent)} tensors that {INDEX_FILE} promises, such as {min(absent)}. Download it again"
            raise CheckpointError("CheckpointTruncated", message, retryable=True)
        total += size
        names |= tensors
    _check_layers(folder, names, shape)
    return Checkpoint(total_bytes=total, tensors=len(names), shape=shape, files=tuple(files))


def _index(folder: Path) -> dict[str, set[str]] | None:
    """The tensors that the index promises of each file, or None where there is no index."""
    path = folder / INDEX_FILE
    if not path.exists():
        return None
    raw = _read_json(path, INDEX_LIMIT)
    weights = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(weights, dict) or not weights or not all(isinstance(file, str) and _plain(file) for file in weights.values()):
        message = f"{path} has no weight_map of tensor names to *.safetensors files of the same folder. Download it again"
        raise CheckpointError("ModelUnreadable", message, retryable=False)
    promised: dict[str, set[str]] = {}
    for tensor, file in weights.items():
        promised.setdefault(file, set()).add(tensor)
    return promised


def _plain(name: str) -> bool:
    """A file's name that leads to no other folder."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors", name) is not None


def _check_layers(folder: Path, names: set[str], shape: ModelShape) -> None:
    found = {int(match[1]) for name in names if (match := re.match(r"model\.layers\.(\d{1,9})\.", name))}
    if absent := next((layer for layer in range(shape.layers) if layer not in found), None):
        message = f"the weights in {folder} lack layer {absent} of {shape.layers}. Copy the rest of the model"
        raise CheckpointError("CheckpointTruncated", message, retryable=True)


def read_header(path: Path) -> tuple[int, set[str]]:
    """Bytes of the tensors of one safetensors file, and their names.

    Raises CheckpointError: CheckpointTruncated where the file is shorter than its header says, ModelUnreadable where it is no such file.
    """
    size = _open_size(path)
    with path.open("rb") as file:
        start = file.read(max(8, len(LFS_POINTER)))
        if start.startswith(LFS_POINTER):
            raise _lfs_pointer(path)
        length = int.from_bytes(start[:8], "little")
        if size < 8 or (length <= HEADER_LIMIT and size < 8 + length):
            message = f"{path} ends within its header, after {size} bytes. The copy or download was cut off: copy it again"
            raise CheckpointError("CheckpointTruncated", message, retryable=True)
        if length > HEADER_LIMIT:
            message = f"{path} claims a header of {length} bytes; at most {HEADER_LIMIT} are read. It is no safetensors file: replace it"
            raise CheckpointError("ModelUnreadable", message, retryable=False)
        file.seek(8)
        header = file.read(length)
    names, end = _tensors(path, header)
    have = size - 8 - length
    if have < end:
        message = f"{path} is truncated: {have} of {end} bytes of weights are there. The copy or download was cut off: copy it again"
        raise CheckpointError("CheckpointTruncated", message, retryable=True)
    if have > end:
        raise _bad_header(path, f"{have - end} bytes follow the last tensor")
    return end, names


def _tensors(path: Path, header: bytes) -> tuple[set[str], int]:
    """The names in a header, and where the last tensor ends."""
    try:
        raw = _parse(header)
    except ValueError as error:
        raise _bad_header(path, f"its header is not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise _bad_header(path, "its header is not a JSON object")
    spans = [_span(path, name, entry) for name, entry in raw.items() if name != "__metadata__"]
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            raise _bad_header(path, f"its tensors leave a hole or overlap at byte {end}")
        end = stop
    return raw.keys() - {"__metadata__"}, end


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends, after its type and shape agree with that."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(map(_count, offsets)) and offsets[0] <= offsets[1]):
        raise _bad_header(path, f"tensor {name[:80]!r} has no data_offsets [begin, end]")
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not (isinstance(dtype, str) and isinstance(shape, list) and len(shape) <= 16 and all(map(_count, shape))):
        raise _bad_header(path, f"tensor {name[:80]!r} has no dtype and shape")
    bits = DTYPE_BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != 8 * (offsets[1] - offsets[0]):
        raise _bad_header(path, f"tensor {name[:80]!r} of type {dtype} and shape {shape} does not take {offsets[1] - offsets[0]} bytes")
    return offsets[0], offsets[1]


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _bad_header(path: Path, what: str) -> CheckpointError:
    return CheckpointError("ModelUnreadable", f"{path} is not a sound safetensors file: {what}. Download it again", retryable=False)
