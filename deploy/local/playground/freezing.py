"""Signals to the processes of a pod, past the kubelet: frozen, as by a hypervisor that pauses a machine, they hold what they hold and
notice nothing; killed, they say nothing to anybody.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def processes(pod_uid: str) -> list[int]:
    """Process ids, on this machine, of everything in a pod: the kubelet names the pod's cgroups by its uid."""
    marks = (f"pod{pod_uid}", f"pod{pod_uid.replace('-', '_')}")
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "cgroup").read_text()
        except OSError:
            continue
        if any(mark in text for mark in marks):
            found.append(int(entry.name))
    return found


def send(pod_uid: str, number: signal.Signals, program: str = "") -> int:
    """Send a signal to the processes of a pod with `program` in their command line; how many got it."""
    chosen = [pid for pid in processes(pod_uid) if program in _command(pid)]
    for pid in chosen:
        os.kill(pid, number)
    return len(chosen)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
