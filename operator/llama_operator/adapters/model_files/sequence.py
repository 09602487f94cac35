"""In which order a model's files are read, wherever they lie.

    config.json ─▶ hf_quant_config.json, where config.json speaks of no quantisation
    index       ─▶ its shards, several at a time: 8 bytes for the header's length, then the header

Every read is bounded, and so is their sum: what a stranger's index may make us read ends at HEADERS_LIMIT, and what becomes of it at
TENSORS_MAX. What is long is parsed in a thread, as others wait for the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

from llama_operator.api.problems import Problem
from llama_operator.planning.models import lora
from llama_operator.planning.models.contents import CONFIG_FILE, QUANT_FILE, ModelContents
from llama_operator.planning.models.index import INDEX_FILE, INDEX_LIMIT, TENSORS_MAX, Index, check_shards, check_tensors, read_index
from llama_operator.planning.models.reading import parse_json
from llama_operator.planning.models.safetensors import DAMAGED, PREFIX_BYTES, Tensor, read_length, read_tensors
from llama_operator.ports import ModelFilesError

CONFIG_LIMIT = 1 << 20
"""Bytes of a config file that are read; a Llama's has about 1,000, Meta's FP8 ones about 30,000."""

HEADERS_LIMIT = 4 << 20
"""Bytes of all headers of a model; 405B's 191 have about 200,000, and 600,000 with four tensors of scales beside each matrix."""

LONG = 256 << 10
"""Bytes that are parsed in a thread: more than a few milliseconds' work."""

AT_ONCE = 8
"""Files whose headers are read at the same time."""

SINGLE = "model.safetensors"

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Some bytes of a file, fewer than asked for where it ends, and its size where that is known."""

    data: bytes
    size: int | None


class Files(Protocol):
    """The files of one model. Raises ModelFilesError."""

    @property
    def where(self) -> str:
        """What a message calls it."""
        ...

    async def whole(self, name: str, limit: int) -> bytes | None:
        """A small file; None where there is none of that name."""
        ...

    async def part(self, name: str, start: int, length: int) -> Part:
        """Bytes from the middle of a file that must be there."""
        ...

    async def weight_names(self) -> frozenset[str] | None:
        """The names of the *.safetensors files; None where they cannot be listed."""
        ...


async def read_model(files: Files) -> ModelContents:
    """A model's config files and tensors."""
    config = await _read_json(files, CONFIG_FILE)
    quantised = isinstance(config, dict) and (config.get("quantization_config") or config.get("compression_config"))
    own = None if quantised else await files.whole(QUANT_FILE, CONFIG_LIMIT)
    text = await files.whole(INDEX_FILE, INDEX_LIMIT)
    index = None if text is None else _sound(files, await _parsed(text, read_index))
    names = await _names(files, index)
    tensors = await _read_headers(files, names, index)
    quant_file = None if own is None else _parse(files, QUANT_FILE, own)
    return ModelContents(config=config, quant_file=quant_file, tensors=tensors, files=names)


async def read_adapter(files: Files) -> ModelContents:
    """An adapter's config and tensors."""
    config = await _read_json(files, lora.CONFIG_FILE)
    tensors = await _read_headers(files, (lora.WEIGHTS_FILE,), None)
    return ModelContents(config=config, tensors=tensors, files=(lora.WEIGHTS_FILE,))


async def _names(files: Files, index: Index | None) -> tuple[str, ...]:
    """The weight files: those of the index, else all that lie there, else the one that a model without index has."""
    present = await files.weight_names()
    if index is not None:
        if present is not None and (problem := check_shards(index, present)):
            raise ModelFilesError("NotFound", f"{files.where}: {problem.given}", problem.remedy)
        return tuple(index.files)
    if present is not None and not present:
        raise ModelFilesError("NotFound", f"{files.where} holds no *.safetensors file", "Use the model's safetensors weights.")
    return (SINGLE,) if present is None else tuple(sorted(present))


async def _read_headers(files: Files, names: tuple[str, ...], index: Index | None) -> tuple[Tensor, ...]:
    gate, left, count = asyncio.Semaphore(AT_ONCE), [HEADERS_LIMIT], 0

    async def read(name: str) -> tuple[Tensor, ...]:
        nonlocal count
        async with gate:
            found = await _read_header(files, name, left)
        count += len(found)
        if count > TENSORS_MAX:
            raise ModelFilesError("Unreadable", f"{files.where} has more than {TENSORS_MAX} tensors", "Use weights of fewer tensors.")
        if index is not None and (problem := check_tensors(index, name, found)):
            _refuse(files, problem)
        return found

    tasks = [asyncio.ensure_future(read(name)) for name in names]
    try:
        return tuple(tensor for found in await asyncio.gather(*tasks) for tensor in found)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_header(files: Files, name: str, left: list[int]) -> tuple[Tensor, ...]:
    """The tensors of one file; `left`: bytes that may still be read of all files' headers."""
    prefix = await files.part(name, 0, PREFIX_BYTES)
    length = _sound(files, read_length(prefix.data, name))
    left[0] -= length
    if left[0] < 0:
        raise ModelFilesError("Unreadable", f"{files.where} has headers of more than {HEADERS_LIMIT} bytes", "Replace its weight files.")
    header = await files.part(name, PREFIX_BYTES, length)
    if len(header.data) < length:
        raise ModelFilesError("Unreadable", f"{files.where}: {name} ends within its header", DAMAGED)
    size = header.size if header.size is not None else prefix.size
    data_bytes = None if size is None else size - PREFIX_BYTES - length
    return _sound(files, await _parsed(header.data, lambda data: read_tensors(data, name, data_bytes)))


async def _parsed(data: bytes, read: Callable[[bytes], T]) -> T:
    return await asyncio.to_thread(read, data) if len(data) > LONG else read(data)


async def _read_json(files: Files, name: str) -> Any:
    data = await files.whole(name, CONFIG_LIMIT)
    if data is None:
        raise ModelFilesError("NotFound", f"{files.where} holds no {name}", "Name the model whose files these are, in spec.model.source.")
    return _parse(files, name, data)


def _parse(files: Files, name: str, data: bytes) -> Any:
    try:
        return parse_json(data)
    except ValueError as error:
        raise ModelFilesError("Unreadable", f"{files.where}: {name} is not JSON ({str(error)[:80]})", DAMAGED) from error


def _sound(files: Files, read: T | Problem) -> T:
    """What was read, unless it is a problem."""
    if isinstance(read, Problem):
        _refuse(files, read)
    return read


def _refuse(files: Files, problem: Problem) -> NoReturn:
    raise ModelFilesError("Unreadable", f"{files.where}: {problem.given} is given; allowed is {problem.allowed}", problem.remedy)
