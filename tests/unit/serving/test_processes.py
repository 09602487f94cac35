"""PID 1's work: every orphan is reaped, and the exit status of the one program is not lost."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from llama_serving.agent.processes import Processes, alive, descendants


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.02)


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    made = Processes()
    yield made
    await made.end_orphans()


def start(processes: Processes, code: str) -> int:
    with tempfile.TemporaryFile() as output:
        return processes.start([sys.executable, "-c", code], os.environ, output)


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(0)", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)]
)
async def test_the_exit_status_is_told(processes: Processes, code: str, status: int) -> None:
    assert await asyncio.wait_for(processes.wait(start(processes, code)), 10) == status


async def test_a_program_that_ignores_the_term_signal_is_killed(processes: Processes) -> None:
    pid = start(processes, "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)")
    await until(lambda: "python" in Path(f"/proc/{pid}/cmdline").read_text())
    await asyncio.sleep(0.3)  # until it has set its handler; a kill before that passes the test as well
    await asyncio.wait_for(processes.stop(pid, 0.5), 10)
    assert not processes.running(pid)
    assert await processes.wait(pid) in (-9, -15)


async def test_orphans_come_to_the_agent_and_are_reaped(processes: Processes, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"import os, time\nif os.fork() == 0:\n    os.setsid()\n    open({str(note)!r}, 'w').write(str(os.getpid()))\n    time.sleep(60)"
    await processes.wait(start(processes, code))
    await until(lambda: note.exists() and note.read_text() != "")
    orphan = int(note.read_text())
    assert orphan in descendants(os.getpid())
    await processes.end_orphans()
    await until(lambda: not Path(f"/proc/{orphan}").exists())  # not even a zombie


def test_a_process_that_is_gone_is_not_alive() -> None:
    assert alive(os.getpid())
    assert not alive(2**22 + 1)
