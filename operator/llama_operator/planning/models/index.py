"""Reads model.safetensors.index.json: which tensor lies in which file.

https://huggingface.co/docs/transformers/big_models#shard-metadata
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from llama_operator.api.problems import Problem, show
from llama_operator.planning.models.reading import FIELD, Refused, answering, parse_json
from llama_operator.planning.models.safetensors import DAMAGED, Tensor

INDEX_FILE = "model.safetensors.index.json"

INDEX_LIMIT = 4 << 20
"""Bytes of an index that are read; 405B's has about 100,000, and 500,000 with four tensors of scales beside each matrix. Parsed, they may
take ten times as much memory.
"""

TENSORS_MAX = 50_000
"""Tensors of a model; 405B has 1,138, and some 5,000 with those of scales."""

SHARDS_MAX = 4096
"""Files that one index may name; 405B's names 191."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors")
"""A file's name that leads to no other folder."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """What an index promises."""

    files: Mapping[str, frozenset[str]]
    """The tensors of each file, by the files' names."""


def is_plain(name: str) -> bool:
    """Whether a name is one of a weight file in the same folder."""
    return _PLAIN.fullmatch(name) is not None


@answering
def read_index(data: bytes) -> Index:
    """The index in these bytes."""
    try:
        raw = parse_json(data)
    except ValueError as error:
        raise Refused(f"{INDEX_FILE} that is not JSON ({str(error)[:80]})", "the model's index", DAMAGED) from error
    weights = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise Refused(f"{INDEX_FILE} with weight_map {show(weights)}", "an object of tensors' names and files", DAMAGED)
    if len(weights) > TENSORS_MAX:
        raise Refused(f"{INDEX_FILE} of {len(weights)} tensors", f"at most {TENSORS_MAX}")
    files: dict[str, set[str]] = {}
    for tensor, file in weights.items():
        if not isinstance(file, str) or not is_plain(file):
            raise Refused(f"{INDEX_FILE} with {show(tensor)} in {show(file)}", "a *.safetensors file of the same folder", DAMAGED)
        files.setdefault(file, set()).add(tensor)
    if len(files) > SHARDS_MAX:
        raise Refused(f"{INDEX_FILE} of {len(files)} files", f"at most {SHARDS_MAX}")
    return Index(files={file: frozenset(files[file]) for file in sorted(files)})


def check_shards(index: Index, present: Collection[str]) -> Problem | None:
    """The problem of files that the index names and that are not there."""
    missing = [file for file in index.files if file not in present]
    if not missing:
        return None
    some = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
    given = f"a folder without {len(missing)} of {len(index.files)} weight files ({some})"
    return Problem(field=FIELD, given=given, allowed=f"all files that {INDEX_FILE} names", remedy="Copy the rest of the model.")


def check_tensors(index: Index, file: str, tensors: Iterable[Tensor]) -> Problem | None:
    """The problem of a file that lacks tensors which the index promises of it."""
    absent = index.files.get(file, frozenset()) - {tensor.name for tensor in tensors}
    if not absent:
        return None
    given = f"{file} without {len(absent)} tensors, as {show(min(absent))}"
    return Problem(field=FIELD, given=given, allowed=f"every tensor that {INDEX_FILE} promises of it", remedy=DAMAGED)
