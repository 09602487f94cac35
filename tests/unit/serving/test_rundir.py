"""The small files between the engine's processes and the agent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_serving import rundir
from llama_serving.status import PHASES, EngineState, Progress, RootCause, human_bytes


@given(
    phase=st.sampled_from(PHASES),
    pid=st.integers(1, 4_194_304),
    tokens=st.none() | st.integers(0, 10**9),
    in_flight=st.integers(0, 10**6),
    cause=st.none() | st.builds(RootCause, reason=st.just("EngineFailed"), message=st.text(), retryable=st.booleans()),
)
def test_an_engine_s_state_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, phase: object, pid: int, tokens: int | None, in_flight: int, cause: RootCause | None
) -> None:
    state = EngineState(phase=phase, since=1.5, pid=pid, started_at=0.5, kv_cache_tokens=tokens, in_flight=in_flight, root_cause=cause)  # type: ignore[arg-type]
    assert EngineState.from_dict(state.to_dict()) == state


def test_a_written_state_is_read_back(tmp_path: Path) -> None:
    state = EngineState(phase="Ready", since=2.0, pid=1, started_at=1.0)
    rundir.write_engine(state, tmp_path / "run")
    assert rundir.read_engine(tmp_path / "run") == state
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["engine.json"]  # nothing is left of the writing


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"phase": "Dancing", "since": 1, "pid": 1, "startedAt": 1}', '{"phase": "Ready", "since": "x"}']
)
def test_a_file_that_makes_no_sense_is_no_state(tmp_path: Path, text: str) -> None:
    (tmp_path / "engine.json").write_text(text)
    assert rundir.read_engine(tmp_path) is None


def test_the_load_is_summed_over_the_ranks_of_the_pod(tmp_path: Path) -> None:
    for rank in range(3):
        rundir.write_load(rank, Progress(done=10 * rank, total=100), 1.0, tmp_path)
    (tmp_path / "load-9.json").write_text("half a fi")
    assert rundir.read_load(tmp_path) == Progress(done=30, total=300)


@pytest.mark.parametrize("what", ["weights", "memory"])
def test_what_is_taken_is_what_the_fullest_rank_of_the_pod_takes(tmp_path: Path, what: str) -> None:
    assert rundir.read_bytes(what, tmp_path) is None
    for rank, count in enumerate((10, 30, 20)):
        rundir.write_bytes(what, rank, count, tmp_path)
    for rank, text in ((7, "half a fi"), (8, '{"bytes": "many"}'), (9, '{"bytes": -1}')):
        (tmp_path / f"{what}-{rank}.json").write_text(text)
    assert rundir.read_bytes(what, tmp_path) == 30
    rundir.clear(tmp_path)
    assert rundir.read_bytes(what, tmp_path) is None


def test_no_rank_no_load(tmp_path: Path) -> None:
    assert rundir.read_load(tmp_path) is None


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_percent_lies_between_0_and_100(done: int, total: int) -> None:
    assert 0 <= Progress(done=done, total=total).percent <= 100


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (269_060_552, "269 MB"), (410_100_000_000, "410 GB"), (8_800_000_000, "8.8 GB"), (2 * 10**12, "2.0 TB")],
)
def test_sizes_are_told_in_powers_of_ten(count: int, text: str) -> None:
    assert human_bytes(count) == text
