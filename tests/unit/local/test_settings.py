"""Where the local cluster lies, and when another cluster is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster import settings
from localcluster.cluster import Cluster
from localcluster.errors import ForeignCluster, LocalClusterError


def test_the_cache_is_where_the_user_says_else_where_the_system_keeps_caches() -> None:
    assert settings.default_cache({"LLAMA_CACHE": "/data/llama"}, root=True) == Path("/data/llama")
    assert settings.default_cache({}, root=True) == Path("/var/cache/llama-operator")
    assert settings.default_cache({"HOME": "/home/me"}, root=False) == Path("/home/me/.cache/llama-operator")


@pytest.mark.parametrize("path", ["relative/path", "/var/lib/llama", "/run/llama"])
def test_a_cache_that_cannot_work_is_refused_by_name(path: str) -> None:
    with pytest.raises(LocalClusterError, match=f"LLAMA_CACHE: .*{path}.*/var/cache/llama-operator"):
        settings.load({"LLAMA_CACHE": path})


def test_two_clusters_on_one_machine_share_nothing_but_the_cache() -> None:
    one, other = settings.Settings(cache=Path("/c")), settings.Settings(cache=Path("/c"), name="trial")
    for what in ("run", "logs", "last_logs", "kubeconfig", "audit_log", "link", "cgroup"):
        assert getattr(one, what) != getattr(other, what), what
    assert len(settings.Settings(cache=Path("/c"), name="eightlet").link) <= 15, "the kernel's limit of a link's name"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"LLAMA_KUBECONFIG": "/k"}, "LLAMA_CONTEXT is not set"),
        ({"LLAMA_CONTEXT": "c"}, "LLAMA_KUBECONFIG is not set"),
        ({"LLAMA_KUBECONFIG": "/no/such/file", "LLAMA_CONTEXT": "c"}, "there is no file /no/such/file"),
    ],
)
def test_another_cluster_is_used_only_when_it_is_named_whole(environ: dict[str, str], says: str) -> None:
    with pytest.raises(ForeignCluster, match=says):
        settings.foreign(environ)


def test_a_context_that_the_file_lacks_is_refused_and_those_it_has_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("contexts: [{name: production, context: {cluster: p, user: p}}]\nclusters: []\nusers: []\n")
    monkeypatch.setenv("LLAMA_KUBECONFIG", str(file))
    monkeypatch.setenv("LLAMA_CONTEXT", "test")
    with pytest.raises(ForeignCluster, match="has no context 'test'; it has production"):
        Cluster().ensure_up()


def test_another_cluster_is_never_stopped_broken_or_given_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("contexts: []\n")
    monkeypatch.setenv("LLAMA_KUBECONFIG", str(file))
    monkeypatch.setenv("LLAMA_CONTEXT", "theirs")
    cluster = Cluster()
    for act in (
        cluster.down,
        cluster.status,
        cluster.restart_apiserver,
        lambda: cluster.lose_node("node-a"),
        lambda: cluster.stop_process("etcd"),
        lambda: cluster.load_image(file),
        lambda: cluster.host_ip,
    ):
        with pytest.raises(ForeignCluster, match="only the local cluster has it"):
            act()
    assert (cluster.kubeconfig, cluster.context) == (file, "theirs")
