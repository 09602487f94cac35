"""The header of a safetensors file is believed where it agrees with itself and with the file, and never trusted with memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG, header_of, tensors_of
from tests.harness.depth import examples

from llama_operator.api.problems import Problem
from llama_operator.planning.models.layouts import DTYPE_BITS
from llama_operator.planning.models.safetensors import HEADER_LIMIT, Tensor, read_length, read_tensors
from llama_serving import checkpoint


def entry(dtype: Any = "BF16", shape: Any = (2, 3), offsets: Any = (0, 12)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def text(header: Any) -> bytes:
    return header if isinstance(header, bytes) else json.dumps(header).encode()


def test_what_was_written_is_read() -> None:
    tensors = tensors_of(CONFIG)
    start, data = header_of(tensors)
    assert read_length(start[:8], "f") == len(start) - 8
    assert read_tensors(start[8:], "f", data) == tuple(tensors)


def test_tensors_come_in_the_order_of_their_data() -> None:
    header = {"__metadata__": {"format": "pt"}, "b": entry(offsets=(12, 24)), "empty": entry(shape=(0,), offsets=(12, 12)), "a": entry()}
    assert read_tensors(text(header), "f", 24) == (
        Tensor("a", "BF16", (2, 3), 12),
        Tensor("empty", "BF16", (0,), 0),
        Tensor("b", "BF16", (2, 3), 12),
    )


def test_four_and_six_bits_fill_whole_bytes() -> None:
    assert read_tensors(text({"a": entry("F4", (3, 2), (0, 3))}), "f") == (Tensor("a", "F4", (3, 2), 3),)
    assert isinstance(read_tensors(text({"a": entry("F4", (3,), (0, 2))}), "f"), Problem)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        (b"", "f of 0 bytes"),
        (b"1234567", "f of 7 bytes"),
        (b"version https://git-lfs", "git lfs pull"),
        (struct.pack("<Q", 10**12), "a header of 1000000000000 bytes"),
        (struct.pack("<Q", HEADER_LIMIT + 1), "it is no safetensors file"),
        (b"\xff" * 8, "a header of 18446744073709551615 bytes"),
    ],
)
def test_a_length_that_no_header_has_is_refused(prefix: bytes, words: str) -> None:
    problem = read_length(prefix, "f")
    assert isinstance(problem, Problem)
    assert words in problem.message


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": 1, "a": 2}', "a key is repeated"),
        (b'{"a": {"dtype": "F32", "dtype": "F16"}}', "a key is repeated"),
        (b'{"a": NaN}', "NaN is no JSON"),
        ([], "no JSON object"),
        ({"a": 1}, "without data_offsets"),
        ({"a": entry(offsets=[0])}, "without data_offsets"),
        ({"a": entry(offsets=[12, 0])}, "without data_offsets"),
        ({"a": entry(offsets=[-12, 0])}, "without data_offsets"),
        ({"a": entry(offsets=[False, 12])}, "without data_offsets"),
        ({"a": entry(offsets=[0, 1 << 63])}, "without data_offsets"),
        ({"a": entry(offsets=[0, 12.0])}, "without data_offsets"),
        ({"a": entry(shape=[-2, -3])}, "of shape [-2, -3]"),
        ({"a": entry(shape=[1] * 17)}, "up to 16 whole numbers"),
        ({"a": entry() | {"shape": "2x3"}}, "up to 16 whole numbers"),
        ({"a": entry(dtype="F3")}, 'of dtype "F3"'),
        ({"a": entry(dtype=["BF16"])}, "of dtype"),
        ({"a": entry(shape=[2, 4])}, "as many bytes as dtype and shape take"),
        ({"a": entry(shape=[1 << 62] * 16)}, "as many bytes as dtype and shape take"),
        ({"a": entry(offsets=[1, 13])}, "a hole or an overlap"),
        ({"a": entry(), "b": entry(offsets=[6, 18])}, "a hole or an overlap"),
        ({"a": entry(), "b": entry()}, "a hole or an overlap"),
        ({"a": entry(), "b": entry(offsets=[13, 25])}, "a hole or an overlap"),
        ({"a": entry(), "b": entry(offsets=[12, 24])}, "12 bytes of weights is given; allowed is the 24 that its header promises"),
        ({}, "12 bytes of weights is given; allowed is the 0"),
        ({"\ud800": 1}, "without data_offsets"),
    ],
)
def test_a_header_that_lies_is_refused(header: Any, words: str) -> None:
    problem = read_tensors(text(header), "f", 12)
    assert isinstance(problem, Problem)
    assert words in problem.message
    problem.message.encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
sizes = st.integers(-1, 6) | st.integers() | st.just(1 << 63)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BITS, "F3"]) | json_values,
        "shape": st.lists(sizes, max_size=3) | json_values,
        "data_offsets": st.lists(sizes, min_size=2, max_size=2) | json_values,
    }
)
headers = st.dictionaries(st.text(max_size=4) | st.just("__metadata__"), entries | json_values, max_size=3).map(text)


@given(st.binary(max_size=200) | headers, st.none() | st.integers(0, 100))
def test_any_bytes_are_tensors_or_a_problem(header: bytes, data: int | None) -> None:
    tensors = read_tensors(header, "f", data)
    assert isinstance(tensors, tuple | Problem)
    if isinstance(tensors, tuple) and data is not None:
        assert sum(tensor.nbytes for tensor in tensors) == data


@given(st.binary(max_size=20))
def test_any_prefix_is_a_length_within_the_bound_or_a_problem(prefix: bytes) -> None:
    length = read_length(prefix, "f")
    assert isinstance(length, Problem) or 0 <= length <= HEADER_LIMIT


SHARED = sorted(set(DTYPE_BITS) & set(checkpoint.DTYPE_BITS))
sound = st.lists(st.tuples(st.sampled_from(SHARED), st.lists(st.integers(0, 3), max_size=3)), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150))
@given(st.one_of(headers, st.binary(max_size=60), sound), st.integers(-1, 1))
def test_operator_and_pods_come_to_one_verdict(tmp_path: Path, made: Any, more: int) -> None:
    """The pods' preflight reads the same files with code of its own: what one accepts the other does, types that only we know apart."""
    header, data = made, 0
    if isinstance(made, list):
        tensors = [Tensor(f"t{n}", dtype, tuple(shape), 0) for n, (dtype, shape) in enumerate(made)]
        fields = {}
        for tensor in tensors:
            size = checkpoint.DTYPE_BITS[tensor.dtype] // 8
            for length in tensor.shape:
                size *= length
            fields[tensor.name] = entry(tensor.dtype, tensor.shape, (data, data + size))
            data += size
        header = text(fields)
    data = max(0, data + more)
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(data))
    ours = read_tensors(header, "f", data)
    try:
        _, theirs = checkpoint.read_header(file)
    except checkpoint.CheckpointError:
        assert isinstance(ours, Problem)
    else:
        if isinstance(ours, Problem):
            assert (
                "of dtype" in ours.given
                or any(name in ours.given for name in ("F4 ", "F6_"))
                or "NaN" in ours.given
                or "Infinity" in ours.given
            )
        else:
            assert theirs == {tensor.name for tensor in ours}


def test_operator_and_pods_know_the_same_types() -> None:
    assert checkpoint.DTYPE_BITS.items() <= DTYPE_BITS.items()
    assert set(DTYPE_BITS) - set(checkpoint.DTYPE_BITS) == {"F4", "F6_E2M3", "F6_E3M2"}
