"""kubectl and Helm see the cluster in use and no other, and write what they note of it to no place of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localcluster import commandline, programs
from localcluster.cluster import Cluster
from localcluster.errors import MissingTool
from localcluster.programs import Programs
from localcluster.settings import Settings
from playground.tools import Tools

SAYS = f"#!{sys.executable} -I\nimport json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a kubectl and a helm that say with what they were called."""
    found = tmp_path / "bin"
    found.mkdir()
    for name in ("kubectl", "helm"):
        (found / name).write_text(SAYS, encoding="utf-8")
        (found / name).chmod(0o755)
    return found


@pytest.fixture
def local(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The local cluster, which does not run, with these programs."""
    for name in ("LLAMA_KUBECONFIG", "LLAMA_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    cluster = Cluster(Settings(cache=tmp_path / "cache"))
    # Stands for the layout, whose making would fetch every program of the cluster.
    cluster.__dict__["layout"] = SimpleNamespace(programs={name: folder / name for name in ("kubectl", "helm")})
    return cluster


@pytest.fixture
def foreign(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster of the user's."""
    (tmp_path / "theirs").touch()
    monkeypatch.setenv("LLAMA_KUBECONFIG", str(tmp_path / "theirs"))
    monkeypatch.setenv("LLAMA_CONTEXT", "far")
    monkeypatch.setenv("PATH", str(folder))
    return Cluster(Settings(cache=tmp_path / "cache"))


def called(cluster: Cluster) -> list[tuple[list[str], dict[str, str]]]:
    """Arguments and environment of a kubectl and of a helm."""
    tools = Tools(cluster)
    kubectl = subprocess.run([*tools.kubectl(), "get", "pods"], env=tools.env(), capture_output=True, text=True, check=True).stdout
    return [tuple(json.loads(said)) for said in (kubectl, tools.helm("list"))]


def test_on_the_local_cluster_everything_lies_in_what_down_removes(local: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/me/.kube/config")
    monkeypatch.setenv("KUBECACHEDIR", "/home/me/.kube/cache")
    run = local.settings.run
    for (flag, context, *_), env in called(local):
        assert (flag, context) in {("--context", "llama-local"), ("--kube-context", "llama-local")}
        assert (env["KUBECONFIG"], env["KUBECACHEDIR"]) == (str(run / "kubeconfig"), str(run / "kube-cache"))


def test_on_another_cluster_its_kubeconfig_is_read_and_nothing_lies_where_a_local_one_would_run(foreign: Cluster) -> None:
    assert foreign.foreign is not None
    for (_, context, *_), env in called(foreign):
        assert (context, env["KUBECONFIG"]) == ("far", str(foreign.foreign.kubeconfig))
        assert env["KUBECACHEDIR"] == str(foreign.settings.cache / "kube-cache")


def test_a_program_that_another_cluster_needs_and_the_path_lacks_is_named(foreign: Cluster, folder: Path) -> None:
    (folder / "helm").unlink()
    with pytest.raises(MissingTool, match=r"^helm is needed for the cluster of LLAMA_KUBECONFIG and is not on the PATH; install it$"):
        Tools(foreign).helm("list")


def test_the_command_hands_kubectl_the_same(local: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    found = Programs({"kubectl": folder / "kubectl"}, {"kubectl": "PATH"})
    monkeypatch.setattr(programs, "ensure", lambda *_: found)
    monkeypatch.setattr(os, "execve", lambda *words: given.extend(words))
    commandline._kubectl(local, SimpleNamespace(words=["--", "get", "pods"]))  # type: ignore[arg-type] - what argparse would give
    program, argv, env = given
    assert program == folder / "kubectl"
    assert argv == ["kubectl", "--kubeconfig", str(local.kubeconfig), "--context", "llama-local", "get", "pods"]
    assert local.environment.items() <= env.items()
    assert env["PATH"] == os.environ["PATH"]
