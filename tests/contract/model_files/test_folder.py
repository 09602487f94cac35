"""A model in a folder is known from its headers, and whatever lies there instead of one is refused in words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG, file_of, header_of, sharded, tensors_of
from tests.harness.depth import examples

from llama_operator.adapters.model_files import folder
from llama_operator.adapters.model_files.folder import FolderReader
from llama_operator.adapters.model_files.sequence import CONFIG_LIMIT
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.models.contents import ModelContents
from llama_operator.planning.models.index import INDEX_FILE
from llama_operator.planning.models.safetensors import Tensor
from llama_operator.ports import ModelFilesError

TENSORS = tensors_of(CONFIG)


def write(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "a model", {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": file_of(TENSORS)})


async def read(path: Path) -> ModelContents:
    return await FolderReader().read_model(f"file://{path}")


async def refused(source: str) -> ModelFilesError:
    with pytest.raises(ModelFilesError) as error:
        await FolderReader().read_model(source)
    assert error.value.remedy.endswith(".")
    return error.value


async def test_one_file_and_many_are_one_model(model: Path, tmp_path: Path) -> None:
    one = await read(model)
    many = await read(write(tmp_path / "b", {"config.json": json.dumps(CONFIG).encode()} | sharded(TENSORS, 5)))
    bare = write(tmp_path / "c", {"config.json": json.dumps(CONFIG).encode()} | sharded(TENSORS, 5))
    (bare / INDEX_FILE).unlink()
    facts = [contents.facts("m") for contents in (one, many, await read(bare))]
    assert isinstance(facts[0], ModelFacts)
    assert facts[0] == facts[1] == facts[2]
    assert facts[0].known_from == "checkpoint"


async def test_a_huge_file_is_as_quick_as_a_small_one(model: Path) -> None:
    """405 GB that the disk does not hold: a file with a hole, whose header alone is read."""
    size = 405 * 10**9
    start, data = header_of([Tensor("a", "U8", (size,), size)])
    with (model / "model.safetensors").open("wb") as file:
        file.write(start)
        file.truncate(len(start) + data)
    assert (await read(model)).tensors[0].nbytes == size


async def test_the_hubs_own_cache_is_made_of_links(model: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(model / name)
    assert await read(snapshot) == await read(model)


async def test_an_adapter_is_read_too(tmp_path: Path) -> None:
    factors = [Tensor("x.lora_A.weight", "F32", (4, 8), 128)]
    path = write(tmp_path / "lora", {"adapter_config.json": b'{"r": 4}', "adapter_model.safetensors": file_of(factors)})
    contents = await FolderReader().read_adapter(f"file://{path}")
    assert (contents.config, contents.tensors) == ({"r": 4}, tuple(factors))


@pytest.mark.parametrize("source", ["hf://org/x", "file://host/x", "file://", "file:///\x00", "pvc://a/b", ""])
async def test_what_is_no_folder_is_refused(source: str) -> None:
    assert (await refused(source)).reason in {"NotFound", "Unreadable"}


Fault = tuple[str, Any, str, str]


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("name", "break_", "reason", "words"),
    [
        ("config.json", Path.unlink, "NotFound", "holds no config.json"),
        ("config.json", dangling, "NotFound", "holds no config.json"),
        ("config.json", loop, "Unreadable", "Too many levels of symbolic links"),
        ("config.json", pipe, "Unreadable", "not a regular file"),
        ("config.json", directory, "Unreadable", "not a regular file"),
        ("config.json", device, "Unreadable", "not a regular file"),
        ("config.json", lambda path: path.write_bytes(b" " * (CONFIG_LIMIT + 1)), "Unreadable", "more than 1048576 bytes"),
        ("config.json", lambda path: path.write_bytes(b"\xff"), "Unreadable", "is not JSON"),
        ("config.json", lambda path: path.write_bytes(b"[" * 100_000), "Unreadable", "is not JSON"),
        ("model.safetensors", Path.unlink, "NotFound", "holds no *.safetensors file"),
        ("model.safetensors", dangling, "NotFound", "holds no model.safetensors"),
        ("model.safetensors", loop, "Unreadable", "Too many levels of symbolic links"),
        ("model.safetensors", pipe, "Unreadable", "not a regular file"),
        ("model.safetensors", device, "Unreadable", "not a regular file"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "Unreadable", "of 0 bytes"),
        ("model.safetensors", lambda path: path.write_bytes((100).to_bytes(8, "little")), "Unreadable", "ends within its header"),
        ("model.safetensors", lambda path: path.write_bytes(file_of(TENSORS) + b"\0"), "Unreadable", "bytes of weights"),
        ("model.safetensors", lambda path: os.truncate(path, 5000), "Unreadable", "model.safetensors"),
    ],
)
async def test_files_that_are_none_are_refused(model: Path, name: str, break_: Any, reason: str, words: str) -> None:
    break_(model / name)
    error = await refused(f"file://{model}")
    assert (error.reason, words in error.message) == (reason, True), error


async def test_a_folder_without_a_shard_says_which(tmp_path: Path) -> None:
    path = write(tmp_path / "m", {"config.json": json.dumps(CONFIG).encode()} | sharded(TENSORS, 3))
    (path / "model-00002-of-00003.safetensors").unlink()
    error = await refused(f"file://{path}")
    assert (error.reason, "1 of 3 weight files (model-00002-of-00003.safetensors)" in error.message) == ("NotFound", True)


async def test_a_folder_of_too_many_files_is_not_listed_to_the_end(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LISTING_MAX", 1)
    assert "too many files" in (await refused(f"file://{model}")).message


async def test_a_folder_that_may_not_be_listed_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder.os, "scandir", scandir)
    error = await refused(f"file://{model}")
    assert (error.reason, "Permission denied" in error.message) == ("Unreadable", True)


async def test_a_file_that_becomes_a_pipe_while_it_is_opened_is_not_waited_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regular = (model / "config.json").stat()
    monkeypatch.setattr(Path, "stat", lambda self, **_: regular)
    pipe(model / "config.json")
    assert "not a regular file" in (await refused(f"file://{model}")).message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(40))
@given(
    st.dictionaries(
        st.sampled_from(["config.json", "model.safetensors", INDEX_FILE, "hf_quant_config.json"]), st.binary(max_size=40), max_size=4
    )
)
async def test_any_bytes_are_contents_or_an_error(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = write(tmp_path / "m", files)
    try:
        assert isinstance(await read(path), ModelContents)
    except ModelFilesError as error:
        assert error.message  # noqa: PT017 -- either outcome is right
    finally:
        for name in files:
            (path / name).unlink()
