"""The plugin that counts the bytes of a load, with tensors that only know their size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from llama_serving import progress, rundir, taken
from llama_serving.status import Progress


@dataclass
class Tensor:
    elements: int

    def numel(self) -> int:
        return self.elements

    def element_size(self) -> int:
        return 2


def test_every_tensor_is_passed_on_unchanged_and_the_last_word_is_all() -> None:
    told: list[tuple[int, Progress]] = []
    tensors = [(f"layer{index}", Tensor(10)) for index in range(5)]
    got = list(progress.count(iter(tensors), 100, 3, lambda rank, step, _: told.append((rank, step))))
    assert got == tensors
    assert told[-1] == (3, Progress(done=100, total=100))


def test_no_more_is_told_than_there_is() -> None:
    told: list[Progress] = []
    list(progress.count(iter([("a", Tensor(500)), ("b", Tensor(500))]), 100, 0, lambda _, step, __: told.append(step)))
    assert all(step.done <= 100 for step in told)


def test_a_run_directory_that_cannot_be_written_does_not_stop_a_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LLAMA_RUN_DIR", str(blocked))
    assert len(list(progress.count(iter([("a", Tensor(1))]), 2, 0, progress.tell))) == 1


def test_the_weights_of_a_model_are_those_of_its_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_RUN_DIR", str(tmp_path))
    taken.tell("weights", 2, taken.parameter_bytes([Tensor(5), Tensor(7)]))
    assert rundir.read_bytes("weights", tmp_path) == 24


def test_a_cache_whose_layers_are_views_of_one_memory_counts_once() -> None:
    @dataclass
    class Storage:
        address: int

        def data_ptr(self) -> int:
            return self.address

        def nbytes(self) -> int:
            return 100

    @dataclass
    class View:
        address: int

        def untyped_storage(self) -> Storage:
            return Storage(self.address)

    assert taken.cache_bytes([View(1), View(1), View(2)]) == 200


@pytest.mark.parametrize("count", [None, 0, -5])
def test_a_size_that_is_not_known_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    monkeypatch.setenv("LLAMA_RUN_DIR", str(tmp_path))
    taken.tell("memory", 0, count)
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_cannot_be_written_does_not_stop_a_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LLAMA_RUN_DIR", str(blocked))
    taken.tell("memory", 0, 1)


def test_the_total_is_the_bytes_of_the_weight_files(tmp_path: Path) -> None:
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 10)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 5)
    (tmp_path / "config.json").write_text("{}")
    assert progress.checkpoint_bytes(tmp_path) == 15
    assert progress.checkpoint_bytes(tmp_path / "nowhere") == 0
