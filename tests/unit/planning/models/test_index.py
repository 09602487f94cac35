"""The index of a checkpoint in several files leads to files of its own folder, all of which must be there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG, sharded, tensors_of

from llama_operator.api.problems import Problem
from llama_operator.planning.models.index import (
    INDEX_FILE,
    INDEX_LIMIT,
    SHARDS_MAX,
    TENSORS_MAX,
    Index,
    check_shards,
    check_tensors,
    is_plain,
    read_index,
)
from llama_operator.planning.models.safetensors import Tensor

TENSORS = tensors_of(CONFIG)


def index_of(raw: Any) -> Index | Problem:
    return read_index(raw if isinstance(raw, bytes) else json.dumps(raw).encode())


def test_every_tensor_is_found_in_its_file() -> None:
    index = read_index(sharded(TENSORS, 4)[INDEX_FILE])
    assert isinstance(index, Index)
    assert list(index.files) == [f"model-0000{n}-of-00004.safetensors" for n in (1, 2, 3, 4)]
    assert index.files["model-00002-of-00004.safetensors"] == {tensor.name for tensor in TENSORS[1::4]}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"<html>", "not JSON"),
        (b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "a key is repeated"),
        ([], "weight_map nothing"),
        ({}, "weight_map nothing"),
        ({"weight_map": {}}, "weight_map {}"),
        ({"weight_map": ["a"]}, "an object of tensors' names and files"),
        ({"weight_map": {"a": 1}}, '"a" in 1'),
        ({"weight_map": {"a": "../other.safetensors"}}, "of the same folder"),
        ({"weight_map": {"a": "/etc/x.safetensors"}}, "of the same folder"),
        ({"weight_map": {"a": ".hidden.safetensors"}}, "of the same folder"),
        ({"weight_map": {"a": "a\n.safetensors"}}, "of the same folder"),
        ({"weight_map": {"a": "model.bin"}}, "of the same folder"),
        ({"weight_map": {str(n): f"{n}.safetensors" for n in range(SHARDS_MAX + 1)}}, f"at most {SHARDS_MAX}"),
        ({"weight_map": {str(n): "a.safetensors" for n in range(TENSORS_MAX + 1)}}, f"at most {TENSORS_MAX}"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(raw: Any, words: str) -> None:
    problem = index_of(raw)
    assert isinstance(problem, Problem)
    assert words in problem.message


def test_the_bounds_hold_several_times_the_largest_llama_with_scales_beside_each_matrix() -> None:
    matrices = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", *(f"self_attn.{side}_proj" for side in "qkvo")]
    parts = ["weight_packed", "weight_scale", "weight_global_scale", "input_global_scale", "weight_zero_point"]
    names = [f"model.layers.{layer}.{matrix}.{part}" for layer in range(126) for matrix in matrices for part in parts]
    raw = json.dumps({"weight_map": dict.fromkeys(names, "model-00001-of-00191.safetensors")}, indent=2).encode()
    assert len(names) * 5 < TENSORS_MAX
    assert len(raw) * 5 < INDEX_LIMIT <= 4 << 20  # parsed, more than ten times as much, of the operator's 512 MiB


def test_missing_files_are_counted_and_named() -> None:
    index = index_of({"weight_map": {str(n): f"{n}.safetensors" for n in range(9)}})
    assert isinstance(index, Index)
    assert check_shards(index, index.files) is None
    few, many = check_shards(index, set(index.files) - {"3.safetensors"}), check_shards(index, set())
    assert few is not None
    assert many is not None
    assert few.given == "a folder without 1 of 9 weight files (3.safetensors)"
    assert many.given == "a folder without 9 of 9 weight files (0.safetensors, 1.safetensors, 2.safetensors …)"


def test_a_file_without_what_is_promised_of_it_is_refused() -> None:
    index = index_of({"weight_map": {"a": "x.safetensors", "b": "x.safetensors"}})
    assert isinstance(index, Index)
    both = [Tensor(name, "F32", (), 4) for name in "ab"]
    assert check_tensors(index, "x.safetensors", both) is None
    assert check_tensors(index, "unknown.safetensors", []) is None
    problem = check_tensors(index, "x.safetensors", both[1:])
    assert problem is not None
    assert 'x.safetensors without 1 tensors, as "a"' in problem.message


@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.just("weight_map") | st.text(max_size=4),
        st.dictionaries(st.text(max_size=4), st.text(max_size=12) | st.none() | st.just("a.safetensors"), max_size=4) | st.integers(),
        max_size=2,
    )
)
def test_any_bytes_are_an_index_or_a_problem(raw: Any) -> None:
    index = index_of(raw)
    assert isinstance(index, Index | Problem)
    if isinstance(index, Index):
        assert all(is_plain(file) and "/" not in file for file in index.files)
