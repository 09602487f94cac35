"""The nodes' cgroups: `/TOP/NODE` (TOP: `llama-local`) in every hierarchy, so that neither kubelet sees, or kills, the other's pods."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from .errors import LocalClusterError
from .waiting import wait_for

V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")


def hierarchies(mounts: str) -> tuple[list[Path], list[Path]]:
    """From the text of /proc/self/mounts: mount points of cgroup v1 hierarchies, and of v2 (beside v1 it has no controllers)."""
    rows = [line.split() for line in mounts.splitlines()]
    return [Path(row[1]) for row in rows if len(row) > 2 and row[2] == "cgroup"], [
        Path(row[1]) for row in rows if len(row) > 2 and row[2] == "cgroup2"
    ]


def _mounted() -> tuple[list[Path], list[Path]]:
    return hierarchies(Path("/proc/self/mounts").read_text())


def make(top: str, node: str) -> str:
    """Make the node's cgroup in every hierarchy and return its path as the kubelet's `cgroupRoot`.

    Raises:
        LocalClusterError: no cgroup hierarchy is mounted.

    """
    v1, v2 = _mounted()
    if not v1 and not v2:
        raise LocalClusterError("no cgroup hierarchy is mounted at /sys/fs/cgroup: the kubelet needs one")
    for mount in v1:
        for path in (mount / top, mount / top / node):
            path.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # a new cpuset is empty, and a process cannot enter it
                if (path / name).is_file() and not (path / name).read_text().strip():
                    (path / name).write_text((path.parent / name).read_text())
    if not v1:
        for path in (v2[0], v2[0] / top):
            path.mkdir(exist_ok=True)
            _enable(path)
        (v2[0] / top / node).mkdir(exist_ok=True)
    return f"/{top}/{node}"


def _enable(path: Path) -> None:
    there = (path / "cgroup.controllers").read_text().split()
    (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in V2_CONTROLLERS if name in there))


def _trees(top: str, node: str | None) -> list[Path]:
    v1, v2 = _mounted()
    # v2 beside v1 too: runc makes its cgroups there as well.
    return [path for mount in (*v1, *v2) if (path := mount / top / (node or "")).is_dir()]


def processes(top: str, node: str | None = None) -> set[int]:
    """Pids in the node's cgroups (all nodes' when None): the pods' processes, and nothing else."""
    pids: set[int] = set()
    for tree in _trees(top, node):
        for where, _, _ in os.walk(tree):
            try:
                pids.update(int(pid) for pid in (Path(where) / "cgroup.procs").read_text().split())
            except OSError:  # the cgroup went away while we looked: nothing is in it
                continue
    return pids


def kill_all(top: str, node: str | None = None) -> None:
    """End every process of a node's pods with SIGKILL.

    Raises:
        NotReady: some are still there after 20 s.

    """

    def none_left() -> bool:
        for pid in processes(top, node):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not processes(top, node)

    wait_for(f"no process is left in the cgroups of {node or 'the nodes'}", none_left, seconds=20)


def remove(top: str) -> None:
    """Remove our cgroups from every hierarchy, from the leaves up. Nothing happens if there are none."""
    for tree in _trees(top, None):
        wait_for(f"{tree} is removed", lambda tree=tree: _removed(tree), seconds=20)  # type: ignore[misc]


def _removed(tree: Path) -> bool:
    for where, _, _ in os.walk(tree, topdown=False):
        try:
            Path(where).rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # EBUSY while the kernel still takes a dead process out: the caller looks again
            return False
    return not tree.exists()
