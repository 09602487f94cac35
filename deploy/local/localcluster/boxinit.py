"""The first process of the box: sets up its mounts, starts programs on request, reaps everything, and takes all down when it ends.

Run by `box.start` as PID 1 of a new PID, mount and network namespace: `python -m localcluster.boxinit RUN_DIR`. Requests come through
the UNIX socket RUN_DIR/box.sock, one JSON object a connection:

    {"op": "list"}                                        -> {"processes": {name: {"pid": …, "running": true, "exit": null}}}
    {"op": "start", "name", "argv", "env", "log"}         -> the same for that name; nothing happens if it runs already
    {"op": "signal", "name", "signal"}                    -> the same

Programs are not restarted when they end: tests stop them on purpose, and `up` starts what is missing.
Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

SOCKET = "box.sock"
PRIVATE = {"var-log": "/var/log", "var-lib": "/var/lib"}
# The kubelet writes these to the kernel at its start, for the whole machine. They belong to the user: inside the box they are covered by
# files that already hold what the kubelet wants, so that it finds nothing to write (pkg/kubelet/cm/container_manager_linux.go).
COVERED_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# These belong to the network namespace, which is ours.
NETWORK_SYSCTLS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}


def _mount(*argv: str) -> None:
    subprocess.run(["mount", *argv], check=True)


def set_up_mounts(run: Path) -> None:
    """Give the box its own /proc, /run, /var/lib and /var/log; nothing mounted from here on reaches the host."""
    _mount("--make-rprivate", "/")
    # Shared among the box's own processes only: the kubelet insists that its volumes propagate.
    _mount("--make-rshared", "/")
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")  # containerd's shims, CNI's namespaces, the iptables lock
    # Places that the kubelet, containerd and the CNI library write to whatever they are told.
    for private, public in PRIVATE.items():
        (run / private).mkdir(exist_ok=True)
        _mount("--bind", str(run / private), public)
    (run / "sysctl").mkdir(exist_ok=True)
    for name, value in COVERED_SYSCTLS.items():
        real, cover = Path("/proc/sys") / name, run / "sysctl" / name.replace("/", ".")
        if real.exists():
            cover.write_text(f"{value}\n")
            _mount("--bind", str(cover), str(real))
    for name, value in NETWORK_SYSCTLS.items():
        with contextlib.suppress(FileNotFoundError):  # no bridge netfilter in this kernel: Services still work across nodes
            (Path("/proc/sys") / name).write_text(value)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Supervisor:
    """Starts, lists and signals named processes. All are children of this one."""

    def __init__(self) -> None:
        """No processes yet."""
        self._pids: dict[str, int] = {}
        self._exits: dict[str, int] = {}

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; an `error` in the answer says what was wrong with it."""
        match request.get("op"):
            case "list":
                return {"processes": {name: self._state(name) for name in {*self._pids, *self._exits}}}
            case "start":
                return self._start(request)
            case "signal":
                name = str(request["name"])
                if name in self._pids:
                    os.kill(self._pids[name], int(request["signal"]))
                return self._state(name)
            case other:
                return {"error": f"unknown op {other!r}: list, start or signal"}

    def reap(self) -> None:
        """Collect every ended process, our own and the orphans that fall to PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name in [name for name, known in self._pids.items() if known == pid]:
                del self._pids[name]
                self._exits[name] = os.waitstatus_to_exitcode(status)

    def _state(self, name: str) -> dict[str, Any]:
        return {"pid": self._pids.get(name), "running": name in self._pids, "exit": self._exits.get(name)}

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        name = str(request["name"])
        if name in self._pids:
            return self._state(name)
        log = Path(request["log"])
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            try:
                child = subprocess.Popen(
                    request["argv"],
                    env=request["env"],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                return {"error": f"{name}: {error}"}
        child.returncode = 0  # `reap` collects it: without this Popen's destructor would warn, or wait for it itself
        self._pids[name] = child.pid
        self._exits.pop(name, None)
        return self._state(name)


def serve(run: Path) -> None:
    """Answer requests and reap, until killed."""
    supervisor = Supervisor()
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    path = run / SOCKET
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(0o600)
    server.listen(16)
    while True:
        ready, _, _ = select.select([server.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        supervisor.reap()
        if server.fileno() in ready:
            connection, _ = server.accept()
            with connection:
                _answer(connection, supervisor)


def _answer(connection: socket.socket, supervisor: Supervisor) -> None:
    connection.settimeout(5)  # a client that sends no whole line must not stop the reaping
    try:
        with connection.makefile("rwb") as stream:
            line = stream.readline()
            if not line:
                return
            try:
                answer = supervisor.handle(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                answer = {"error": f"request {line[:200]!r}: {error!r}"}
            stream.write(json.dumps(answer).encode() + b"\n")
    except OSError as error:
        print(f"a client went away: {error}", flush=True)


def main() -> None:
    """Set up the box named by the first argument, then serve."""
    run = Path(sys.argv[1])
    set_up_mounts(run)
    serve(run)


if __name__ == "__main__":
    main()
