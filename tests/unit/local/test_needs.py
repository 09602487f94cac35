"""What the local cluster says where it cannot be started: what is missing, for what, and what to do instead."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from localcluster import cluster, debian
from localcluster.cluster import Cluster
from localcluster.errors import MissingTool
from localcluster.progress import Progress
from localcluster.settings import Settings

TOOLS = ("unshare", "nsenter", "setsid", "mount", "ip")


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that was never started."""
    for name in ("LLAMA_KUBECONFIG", "LLAMA_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return Cluster(Settings(cache=tmp_path / "cache"), progress=Progress(quiet=True))


def machine_with(monkeypatch: pytest.MonkeyPatch, *tools: str) -> None:
    """A machine that has these programs on any path, and no other."""

    def which(name: str, **_: Any) -> str | None:
        return f"/usr/bin/{name}" if name in tools else None

    monkeypatch.setattr(shutil, "which", which)


@pytest.mark.parametrize("what", ["start", "stop"])
def test_without_root_it_says_what_root_is_needed_for_and_what_else_there_is(
    trial: Cluster, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingTool) as refused:
        (trial.ensure_up if what == "start" else trial.down)()
    assert str(refused.value) == (
        f"root is needed to {what} the local cluster (namespaces, mounts, cgroups). "
        "Run as root, or use a cluster of your own: LLAMA_KUBECONFIG and LLAMA_CONTEXT"
    )
    assert not trial.settings.cache.exists(), "nothing was begun"


@pytest.mark.parametrize(
    ("tool", "package"),
    [("unshare", "util-linux"), ("nsenter", "util-linux"), ("setsid", "util-linux"), ("mount", "mount"), ("ip", "iproute2")],
)
def test_a_program_that_root_lacks_is_named_with_its_package(
    trial: Cluster, monkeypatch: pytest.MonkeyPatch, tool: str, package: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine_with(monkeypatch, *(name for name in TOOLS if name != tool))
    with pytest.raises(MissingTool) as refused:
        trial.ensure_up()
    assert str(refused.value) == (
        f"{tool} is not on PATH: it is needed to start the local cluster (package {package}). "
        "Install it with the machine's package manager, then try again"
    )
    assert not trial.settings.cache.exists(), "nothing was begun"


def test_root_on_a_machine_with_all_of_them_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine_with(monkeypatch, *TOOLS)
    cluster._need_root("start the local cluster")


@pytest.mark.parametrize(
    ("there", "says"),
    [((), "apt-get and dpkg not found: "), (("dpkg",), "apt-get not found: "), (("apt-get",), "dpkg not found: ")],
    ids=["neither", "no apt-get", "no dpkg"],
)
def test_where_debians_packages_cannot_be_taken_those_that_are_needed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], says: str
) -> None:
    machine_with(monkeypatch, "runc", *there)
    settings = Settings(cache=tmp_path / "cache")
    with pytest.raises(MissingTool) as refused:
        debian.ensure(settings, Progress(quiet=True))
    told = str(refused.value)
    assert told.startswith(f"{says}the local cluster takes buildah, busybox-static, conntrack, containerd, containernetworking-plugins, ")
    assert "runc" not in told, "it is on PATH"
    assert told.endswith(
        "from Debian's or Ubuntu's packages. Run it on a Debian or Ubuntu machine (a container with --privileged will do), or "
        "use a cluster of your own with LLAMA_KUBECONFIG and LLAMA_CONTEXT"
    )
    assert not settings.cache.exists(), "nothing was begun"


def test_on_debian_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, "apt-get", "dpkg")
    debian._need_debian(["runc"])
