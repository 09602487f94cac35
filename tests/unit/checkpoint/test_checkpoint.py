"""What preflight says of a model's folder: every fault by its reason and in words, and nothing but a CheckpointError for any bytes."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.depth import examples

from llama_serving.checkpoint import HEADER_LIMIT, Checkpoint, CheckpointError, preflight, read_header
from llama_serving.config import ServingConfig

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 128,
}
TENSORS = {
    "model.embed_tokens.weight": [128, 64],
    "model.layers.0.mlp.up_proj.weight": [96, 64],
    "model.layers.1.mlp.up_proj.weight": [96, 64],
}
INDEX = "model.safetensors.index.json"


def serving(source: str = "file:///m", **change: Any) -> ServingConfig:
    return ServingConfig(**({"deployment": "d", "namespace": "n", "revision": "0123456789", "source": source, "served_name": "d"} | change))


def safetensors(tensors: dict[str, list[int]], dtype: str = "BF16", size: int = 2) -> bytes:
    """A file of zeros in the format."""
    header, end = {}, 0
    for name, shape in tensors.items():
        count = size
        for length in shape:
            count *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + count]}
        end += count
    return raw_file(header, bytes(end))


def raw_file(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A sound model of one file."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors(TENSORS))
    return folder


def shard(folder: Path) -> list[str]:
    """The same model in one file a tensor, with an index."""
    (folder / "model.safetensors").unlink()
    files = {name: f"model-{number:05}-of-00003.safetensors" for number, name in enumerate(TENSORS, 1)}
    for name, file in files.items():
        (folder / file).write_bytes(safetensors({name: TENSORS[name]}))
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return list(files.values())


def refused(folder: Path, config: ServingConfig | None = None) -> CheckpointError:
    with pytest.raises(CheckpointError) as error:
        preflight(str(folder), config or serving())
    return error.value


def test_a_sound_model_passes(model: Path) -> None:
    found = preflight(str(model), serving(tensor_parallel=4))
    assert isinstance(found, Checkpoint)
    assert (found.total_bytes, found.tensors, found.files) == (2 * 64 * (128 + 2 * 96), 3, ("model.safetensors",))
    assert found.shape.heads == 8


def test_a_sound_model_of_many_files_passes(model: Path) -> None:
    files = shard(model)
    (model / "consolidated.safetensors").write_bytes(b"not in the index, not read")
    assert preflight(str(model), serving()).files == tuple(files)


def test_a_path_that_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    (tmp_path / "llama-8b").mkdir()
    error = refused(tmp_path / "lama-8b")
    assert (error.reason, error.retryable) == ("ModelNotFound", True)
    assert f"{tmp_path}/lama-8b is not there; {tmp_path} holds llama-8b" in error.message
    assert "spec.podTemplate" in error.message
    assert "copy the model there" in refused(tmp_path / "lama-8b", serving("pvc://claim/lama-8b")).message


def without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def write(name: str, data: bytes) -> Any:
    return lambda folder: (folder / name).write_bytes(data)


def cut(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size - 1)


def lose_shard(folder: Path) -> None:
    (folder / shard(folder)[1]).unlink()


def swap_shard(folder: Path) -> None:
    files = shard(folder)
    (folder / files[0]).write_bytes(safetensors({"other": [1]}))


def odd_index(value: Any) -> Any:
    def change(folder: Path) -> None:
        shard(folder)
        (folder / INDEX).write_text(json.dumps(value))

    return change


def config_file(**change: Any) -> Any:
    return write("config.json", json.dumps(CONFIG | change).encode())


def entry(offsets: Any, dtype: Any = "BF16", shape: Any = (2,)) -> dict[str, Any]:
    return {"t": {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": offsets}}


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"

FAULTS = [
    ("no config.json", without("config.json"), "ModelNotFound", "holds no config.json"),
    ("config.json is no JSON", write("config.json", b"<html>"), "ModelUnreadable", "is not JSON"),
    ("config.json is no text", write("config.json", b"\xff\xfe"), "ModelUnreadable", "is not JSON"),
    ("config.json is nested without end", write("config.json", b"[" * 200_000), "ModelUnreadable", "nested too deeply"),
    ("config.json is huge", write("config.json", b" " * (2 << 20)), "ModelUnreadable", "has 2097152 bytes"),
    ("config.json is a pointer", write("config.json", LFS), "CheckpointTruncated", "git lfs pull"),
    ("another architecture", config_file(architectures=["Qwen2ForCausalLM"]), "NotLlama", "Qwen2ForCausalLM"),
    ("a list", write("config.json", b"[]"), "NotLlama", "not an object"),
    ("a size is missing", config_file(hidden_size=None), "ModelUnreadable", "hidden_size is null"),
    ("no tokenizer", without("tokenizer.json"), "ModelNotFound", "holds no tokenizer"),
    ("no weights", without("model.safetensors"), "ModelNotFound", "holds no *.safetensors"),
    ("one byte short", cut, "CheckpointTruncated", "40959 of 40960 bytes of weights are there"),
    ("empty", write("model.safetensors", b""), "CheckpointTruncated", "ends within its header, after 0 bytes"),
    ("cut in the header", write("model.safetensors", raw_file({"a": 1}, b"")[:12]), "CheckpointTruncated", "after 12 bytes"),
    ("a pointer", write("model.safetensors", LFS), "CheckpointTruncated", "git lfs pull"),
    (
        "a header of a terabyte",
        write("model.safetensors", struct.pack("<Q", 1 << 40)),
        "ModelUnreadable",
        "claims a header of 1099511627776",
    ),
    ("a header that is no JSON", write("model.safetensors", raw_file(b"{{", b"")), "ModelUnreadable", "its header is not JSON"),
    ("a header that is a list", write("model.safetensors", raw_file([], b"")), "ModelUnreadable", "not a JSON object"),
    ("a tensor twice", write("model.safetensors", raw_file(b'{"t": 1, "t": 2}', b"")), "ModelUnreadable", "a key is repeated"),
    ("bytes too many", write("model.safetensors", raw_file(entry([0, 4]), bytes(9))), "ModelUnreadable", "5 bytes follow the last tensor"),
    ("a hole", write("model.safetensors", raw_file(entry([4, 8]), bytes(8))), "ModelUnreadable", "hole or overlap at byte 0"),
    ("offsets backwards", write("model.safetensors", raw_file(entry([4, 0]), b"")), "ModelUnreadable", "no data_offsets"),
    ("negative offsets", write("model.safetensors", raw_file(entry([-4, 0]), b"")), "ModelUnreadable", "no data_offsets"),
    (
        "offsets of a petabyte",
        write("model.safetensors", raw_file(entry([0, 1 << 50], "X"), b"")),
        "CheckpointTruncated",
        "0 of 1125899906842624",
    ),
    ("a shape of another size", write("model.safetensors", raw_file(entry([0, 6]), bytes(6))), "ModelUnreadable", "does not take 6 bytes"),
    ("no shape", write("model.safetensors", raw_file(entry([0, 4], shape="2"), bytes(4))), "ModelUnreadable", "no dtype and shape"),
    ("a file missing", lose_shard, "CheckpointTruncated", "1 of the 3 weight files that model.safetensors.index.json names are missing"),
    ("a file with other tensors", swap_shard, "CheckpointTruncated", "lacks 1 tensors"),
    ("an index without a map", odd_index({}), "ModelUnreadable", "has no weight_map"),
    ("an index out of the folder", odd_index({"weight_map": {"a": "../x.safetensors"}}), "ModelUnreadable", "of the same folder"),
    ("an index of numbers", odd_index({"weight_map": {"a": 1}}), "ModelUnreadable", "has no weight_map"),
    ("a layer missing", config_file(num_hidden_layers=3), "CheckpointTruncated", "lack layer 2 of 3"),
]


@pytest.mark.parametrize(("what", "change", "reason", "words"), FAULTS, ids=[row[0] for row in FAULTS])
def test_a_fault_is_told_by_reason_and_in_words(model: Path, what: str, change: Any, reason: str, words: str) -> None:
    change(model)
    error = refused(model)
    assert error.reason == reason
    assert words in error.message
    assert error.retryable == (reason in {"ModelNotFound", "CheckpointTruncated"} or words in {"is not JSON", "nested too deeply"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"tensor_parallel": 3},
            "spec.parallelism.tensor is 3, which does not divide the model's 8 attention heads, 4 KV heads and an MLP of 96",
        ),
        ({"tensor_parallel": 0}, "Choose one of 1, 2, 4, 8"),
        ({"pipeline_parallel": 3}, "the model has 2 layers"),
    ],
)
def test_a_split_that_the_model_does_not_allow_is_refused(model: Path, change: dict[str, int], words: str) -> None:
    error = refused(model, serving(**change))
    assert (error.reason, error.retryable) == ("ShapeNotDivisible", False)
    assert words in error.message


def test_a_tokenizer_may_lie_elsewhere(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    assert preflight(str(model), serving(engine_args={"tokenizer": "/other"})).tensors == 3


def test_a_file_in_place_of_the_folder_is_named(model: Path) -> None:
    assert "is a file" in refused(model / "config.json").message


def test_a_pipe_blocks_nobody(model: Path) -> None:
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    assert "is not a regular file" in refused(model).message


def test_what_the_system_refuses_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    error = refused(model)
    assert (error.reason, error.retryable) == ("ModelUnreadable", True)
    assert "Permission denied" in error.message
    assert "user 1000" in error.message


def test_a_name_with_a_null_byte_is_told(model: Path) -> None:
    assert refused(Path(f"{model}\0")).reason in {"ModelUnreadable", "ModelNotFound"}


def test_only_headers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.safetensors"
    size = 1 << 40
    path.write_bytes(raw_file({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}, b""))
    os.truncate(path, path.stat().st_size + size)  # a terabyte that takes no room
    assert read_header(path) == (size, {"t"})


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=examples(150))


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_for_weights_are_a_checkpoint_or_a_checkpoint_error(model: Path, data: bytes) -> None:
    (model / "model.safetensors").write_bytes(data)
    assert refused(model).message


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6) | st.sampled_from(["BF16", "F32"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@FUZZ
@given(st.dictionaries(st.text(max_size=6), values, max_size=3), st.binary(max_size=40))
def test_any_header_is_read_or_refused(model: Path, header: dict[str, Any], data: bytes) -> None:
    path = model / "model.safetensors"
    path.write_bytes(raw_file(header, data))
    try:
        size, names = read_header(path)
    except CheckpointError as error:
        told = error.message
    else:
        told = ""
        assert size == len(data)
        assert names <= header.keys()
    assert len(told) < 1000


@FUZZ
@given(st.binary(max_size=100) | values.map(lambda value: json.dumps(value).encode()))
def test_any_config_and_any_index_are_read_or_refused(model: Path, data: bytes) -> None:
    (model / INDEX).write_bytes(data)
    assert refused(model).reason in {"ModelUnreadable", "CheckpointTruncated"}
    (model / INDEX).unlink()
    config = (model / "config.json").read_bytes()
    (model / "config.json").write_bytes(data)
    assert refused(model).reason in {"ModelUnreadable", "NotLlama", "CheckpointTruncated"}
    (model / "config.json").write_bytes(config)


def test_the_header_limit_is_far_above_any_llama() -> None:
    assert HEADER_LIMIT > 50 * 1_138 * 200  # 405B's tensors, 200 bytes each, fifty times over
