"""What a replica does around its engine: Ready only after a token, parked after a failure, requests counted."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from llama_serving import rundir
from llama_serving.server import Lifecycle
from llama_serving.status import EngineState


class Gauge:
    def __init__(self) -> None:
        self.values: list[float] = []

    def set(self, value: float) -> None:
        self.values.append(value)

    async def first(self) -> float:
        # Polled: the value comes from a thread that knows no event loop.
        while not self.values:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return self.values[0]


async def nothing() -> None:
    return None


async def test_ready_comes_after_the_warm_up_and_not_before(tmp_path: Path) -> None:
    lifecycle = Lifecycle(tmp_path, Gauge(), Gauge())
    phases = []

    async def warm_up() -> None:
        phases.append(lifecycle.state.phase)

    await lifecycle.bring_up(nothing, lambda: 46592, warm_up)
    assert phases == ["WarmingUp"]
    state = rundir.read_engine(tmp_path)
    assert state is not None
    assert (state.phase, state.kv_cache_tokens) == ("Ready", 46592)


@pytest.mark.parametrize("failing", ["start", "warm_up"])
async def test_an_engine_that_fails_says_why_and_stays_in_its_constructor(tmp_path: Path, failing: str) -> None:
    lifecycle = Lifecycle(tmp_path, Gauge(), Gauge())

    async def fail() -> None:
        raise RuntimeError("Engine core initialization failed. See root cause above.") from MemoryError("no room")

    steps: dict[str, Any] = {"start": nothing, "warm_up": nothing, failing: fail}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lifecycle.bring_up(steps["start"], lambda: None, steps["warm_up"]), 0.3)
    state = rundir.read_engine(tmp_path)
    assert state is not None
    assert state.phase == "Failed"
    assert state.root_cause is not None
    assert state.root_cause.reason == "OutOfMemory"


class FullDisk:
    """Writes of the engine's state fail until there is room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, self.write = True, rundir.write_engine
        monkeypatch.setattr(rundir, "write_engine", self)

    def __call__(self, state: Any, directory: Path) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.write(state, directory)


async def until_phase(directory: Path, phase: str) -> EngineState:
    # Polled: the file comes from a thread that knows no event loop.
    while (state := rundir.read_engine(directory)) is None or state.phase != phase:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return state


async def test_a_full_disk_costs_neither_the_replica_nor_its_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, gauge = FullDisk(monkeypatch), Gauge()
    lifecycle = Lifecycle(tmp_path, gauge, Gauge())
    await lifecycle.bring_up(nothing, lambda: 46592, nothing)
    assert rundir.read_engine(tmp_path) is None
    disk.full = False
    assert (await asyncio.wait_for(until_phase(tmp_path, "Ready"), 10)).kv_cache_tokens == 46592
    told = len(gauge.values)
    while len(gauge.values) == told:  # noqa: ASYNC110 - the value comes from a thread that knows no event loop
        await asyncio.sleep(0.02)


async def test_an_engine_that_fails_on_a_full_disk_parks_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch)
    lifecycle = Lifecycle(tmp_path, Gauge(), Gauge())

    async def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    parked = asyncio.create_task(lifecycle.bring_up(fail, lambda: None, nothing))
    disk.full = False
    state = await asyncio.wait_for(until_phase(tmp_path, "Failed"), 10)
    assert state.root_cause is not None
    assert not parked.done()
    parked.cancel()


async def test_the_gauge_says_0_before_anything_has_happened(tmp_path: Path) -> None:
    gauge = Gauge()
    Lifecycle(tmp_path, gauge, Gauge())
    assert await asyncio.wait_for(gauge.first(), 5) == 0


async def test_requests_are_counted_from_their_first_byte_to_their_last(tmp_path: Path) -> None:
    gauge = Gauge()
    lifecycle = Lifecycle(tmp_path, gauge, Gauge())
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()

    counted = lifecycle.count(app)
    tasks = [asyncio.create_task(counted({"type": "http", "method": method}, None, None)) for method in ("POST", "POST", "GET")]
    await asyncio.sleep(0.01)  # until the three are inside
    lifecycle.report()
    state = rundir.read_engine(tmp_path)
    assert state is not None
    assert state.in_flight == 2
    gate.set()
    await asyncio.gather(*tasks)
    assert gauge.values[-1] == 0


async def test_a_request_that_is_cancelled_is_counted_out(tmp_path: Path) -> None:
    lifecycle = Lifecycle(tmp_path, Gauge(), Gauge())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(lifecycle.count(app)({"type": "http", "method": "POST"}, None, None))
    await asyncio.sleep(0.01)  # until it is inside
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    lifecycle.report()
    assert lifecycle.state.in_flight == 0


def test_what_an_earlier_engine_wrote_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "load-3.json").write_text('{"done": 1, "total": 2, "since": 0}')
    Lifecycle(tmp_path, Gauge(), Gauge())
    assert rundir.read_load(tmp_path) is None
