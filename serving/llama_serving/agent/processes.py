"""The processes under the agent: PID 1 must reap every orphan of the pod, and must not lose the exit status of the one it started.

One `waitpid(-1)` loop on SIGCHLD does both; `subprocess`'s own waiting would fight with it and is not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
KILL_GRACE_SECONDS = 5.0


class Processes:
    """Starts programs and reaps everything. One a process; must be made inside the running loop, in the main thread."""

    def __init__(self) -> None:
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._loop = asyncio.get_running_loop()
        _become_subreaper()
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def start(self, command: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> int:
        """Start a program in a session of its own, its output to `output`. Returns the pid. Raises OSError."""
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        # Reaped by _reap; told so that Popen neither waits for it nor warns that nobody did.
        process.returncode = 0
        self._exits[process.pid] = self._loop.create_future()
        self._reap()  # it may have ended before the future was there
        return process.pid

    async def wait(self, pid: int) -> int:
        """The exit status of a program that `start` started; negative for a signal."""
        return await asyncio.shield(self._exits[pid])

    def running(self, pid: int) -> bool:
        """Whether it has not ended."""
        return not self._exits[pid].done()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            future = self._exits.get(pid)
            if future is not None and not future.done():
                future.set_result(os.waitstatus_to_exitcode(status))

    async def stop(self, pid: int, grace_seconds: float) -> None:
        """End a program: SIGTERM, and SIGKILL to its whole session after `grace_seconds`."""
        if not self.running(pid):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        done, _ = await asyncio.wait([self._exits[pid]], timeout=grace_seconds)
        if not done:
            logger.warning("process %d did not end within %.0f s; killing it", pid, grace_seconds)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            await self.wait(pid)

    async def end_orphans(self) -> None:
        """Kill whatever is left under the agent: Ray's workers and the engines' processes outlive a killed raylet."""
        deadline = time.monotonic() + KILL_GRACE_SECONDS
        while (left := descendants(os.getpid())) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.1)  # until the kernel has ended them; bounded by the deadline
            self._reap()


def _become_subreaper() -> None:
    """Let orphans of the pod come to the agent although it may not be PID 1 (a bare host, a shared PID namespace)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        logger.warning("prctl(PR_SET_CHILD_SUBREAPER): %s; orphans are left to PID 1", os.strerror(ctypes.get_errno()))


def descendants(root: int) -> list[int]:
    """The processes below `root`, zombies not among them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "pid (name) state ppid": the name may hold anything, the last bracket ends it.
            rest = (entry / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
            if rest[0] != "Z":
                children.setdefault(int(rest[1]), []).append(int(entry.name))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def alive(pid: int) -> bool:
    """Whether a process of this id runs (a zombie does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return not text.rsplit(")", 1)[1].lstrip().startswith("Z")
