"""The box from the host's side: start it, talk to its first process, run commands in it, end it.

No pid is ever written down, so none can be stale: the box is found by its command line, which holds the run directory, and is killed
through a pidfd opened before that command line is checked.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import commands
from .boxinit import SOCKET
from .errors import LocalClusterError
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGE_ROOT = Path(__file__).resolve().parent.parent


class Box:
    """One box, named by its run directory; it may be running or not."""

    def __init__(self, run: Path) -> None:
        """Nothing is started."""
        self.run_dir = run

    @property
    def pid(self) -> int | None:
        """The host's pid of the box's first process, or None when the box does not run."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and is_first_process(entry, self.run_dir):
                return int(entry.name)
        return None

    def start(self) -> None:
        """Start the box, if it does not run, and wait until it answers.

        Raises:
            NotReady: it did not answer within 20 s; its log says why.

        """
        if self.pid is None:
            log = self.run_dir / "logs" / "box.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            env = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "PYTHONUNBUFFERED": "1"}
            # setsid --fork: the box must not be a child of the command that started it.
            argv = ["setsid", "--fork", "unshare", "--pid", "--mount", "--net", "--fork", "--"]
            with log.open("ab") as sink:
                subprocess.run(
                    [*argv, *init_argv(self.run_dir)], env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, check=True, cwd="/"
                )
        wait_for("the box answers", self._answers, seconds=20, hint=f"See {self.run_dir}/logs/box.log")

    def processes(self) -> dict[str, dict[str, Any]]:
        """Every process that was ever started in the box: `pid` (the box's), `running`, `exit`. Empty when the box does not run."""
        if self.pid is None:
            return {}
        return dict(self._ask({"op": "list"})["processes"])

    def spawn(self, name: str, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> None:
        """Start a named process unless it runs; its output goes to logs/NAME.log. `env` is added to a minimal environment."""
        base = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "HOME": "/root"}
        log = self.run_dir / "logs" / f"{name}.log"
        self._ask({"op": "start", "name": name, "argv": [str(word) for word in argv], "env": {**base, **(env or {})}, "log": str(log)})

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a named process; nothing happens if it does not run."""
        self._ask({"op": "signal", "name": name, "signal": int(number)})

    def running(self, name: str) -> bool:
        """Whether a named process runs."""
        return bool(self.processes().get(name, {}).get("running"))

    def end(self, name: str, *, grace: float = 10) -> None:
        """End a named process: SIGTERM, and SIGKILL after `grace` seconds (0: SIGKILL at once)."""
        if grace > 0:
            self.signal(name, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while self.running(name) and time.monotonic() < deadline:
                time.sleep(0.05)  # noqa: TID251 - polls with a deadline; what follows it is not an error but SIGKILL
        self.signal(name, signal.SIGKILL)
        wait_for(f"{name} has ended", lambda: not self.running(name), seconds=10)

    def inside(self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, seconds: float = 120) -> str:
        """Run a command in the box's namespaces and return what it prints.

        Raises:
            LocalClusterError: the box does not run, or the command failed.

        """
        pid = self.pid
        if pid is None:
            raise LocalClusterError("the local cluster does not run. Start it: python -m localcluster up")
        return commands.run(["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "--", *argv], env=env, seconds=seconds)

    def kill(self) -> None:
        """End the box and, with it, every process in it. Nothing happens if it does not run."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                _kill_if_first(int(entry.name), self.run_dir)
        wait_for("the box has ended", lambda: self.pid is None, seconds=30)

    def _answers(self) -> bool:
        try:
            return "processes" in self._ask({"op": "list"})
        except LocalClusterError:
            return False

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(self.run_dir / SOCKET))
                with client.makefile("rwb") as stream:
                    stream.write(json.dumps(request).encode() + b"\n")
                    stream.flush()
                    line = stream.readline()
        except OSError as error:
            raise LocalClusterError(f"the local cluster does not answer ({error}). Start it: python -m localcluster up") from error
        answer: dict[str, Any] = json.loads(line) if line else {"error": "no answer"}
        if "error" in answer:
            raise LocalClusterError(f"the box says: {answer['error']}")
        return answer


def init_argv(run: Path) -> list[str]:
    """The command line of a box's first process; it names the run directory, and is how the box is found."""
    return [sys.executable, "-m", "localcluster.boxinit", str(run)]


def is_first_process(entry: Path, run: Path) -> bool:
    """Whether /proc/PID (`entry`) is the first process of the box of `run`: by command line, and by being PID 1 of a deeper namespace."""
    try:
        argv = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
        status = (entry / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if [word.decode(errors="replace") for word in argv[-3:]] != init_argv(run)[1:] or len(argv) != 4:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) >= 2 and numbers[-1] == "1"


def _kill_if_first(pid: int, run: Path) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if is_first_process(Path("/proc") / str(pid), run):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
