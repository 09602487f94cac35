"""What the demo takes away from a cluster that is not ours, and what it never touches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from localcluster.api import ApiError
from localcluster.errors import LocalClusterError
from playground.demo_down import clear
from playground.kube import MADE_HERE, Namespace
from playground.stage import Stage

DEMO = "/api/v1/namespaces/demo"
LLAMAS = "/apis/llama-operator.dev/v1alpha1"
OURS = {"metadata": {"name": "demo", "labels": {MADE_HERE: "true"}}}
THEIRS = {"metadata": {"name": "demo"}}


class Cluster:
    """Objects by their path."""

    def __init__(self, **objects: Any) -> None:
        self.objects: dict[str, Any] = objects

    def get(self, path: str) -> Any:
        if path not in self.objects:
            if path.endswith("s") or "?" in path:
                prefix = path.partition("?")[0]
                return {"items": [found for name, found in self.objects.items() if name.startswith(f"{prefix}/")]}
            raise ApiError(404, path)
        return self.objects[path]

    def apply(self, manifest: Any) -> Any:
        self.objects[DEMO] = manifest
        return manifest

    def delete(self, path: str) -> None:
        self.objects = {name: found for name, found in self.objects.items() if not name.startswith(path)}


def cleared(cluster: Cluster) -> tuple[list[str], bool]:
    gone: list[bool] = []
    stage = SimpleNamespace(api=cluster, operator=SimpleNamespace(uninstall=lambda: gone.append(True)))
    return clear(cast("Stage", stage)), bool(gone)


def test_a_namespace_of_the_demo_s_name_that_somebody_else_made_is_left_alone() -> None:
    cluster = Cluster(**{DEMO: THEIRS, f"{DEMO}/pods/theirs": {}})
    said, uninstalled = cleared(cluster)
    assert not uninstalled
    assert len(cluster.objects) == 2
    assert said == ["there is no namespace demo that the demo made: nothing was touched"]


@pytest.mark.parametrize("foreign", [True, False])
def test_on_another_cluster_a_namespace_that_somebody_else_made_is_refused_and_its_own_taken_again(foreign: bool) -> None:
    """The local cluster is ours with all that is in it, from whatever version."""

    def space(cluster: Cluster) -> Namespace:
        return Stage.namespace(cast("Stage", SimpleNamespace(api=cluster, cluster=SimpleNamespace(foreign=foreign))), "demo")

    theirs = Cluster(**{DEMO: THEIRS})
    if foreign:
        with pytest.raises(LocalClusterError, match=MADE_HERE):
            space(theirs)
        assert theirs.objects == {DEMO: THEIRS}
    else:
        space(theirs)
    cluster = Cluster()
    for _ in range(2):
        space(cluster)
    assert cluster.objects[DEMO]["metadata"]["labels"] == {MADE_HERE: "true"}


def test_what_the_demo_made_is_gone_and_the_operator_with_it() -> None:
    cluster = Cluster(**{DEMO: OURS, f"{LLAMAS}/llamadeployments": {"items": []}})
    said, uninstalled = cleared(cluster)
    assert uninstalled
    assert DEMO not in cluster.objects
    assert "Helm leaves the CRD" in said[-1]


def test_an_operator_that_looks_after_other_deployments_stays() -> None:
    cluster = Cluster(**{DEMO: OURS, f"{LLAMAS}/llamadeployments": {"items": [{}]}})
    said, uninstalled = cleared(cluster)
    assert not uninstalled
    assert said[-1] == "the operator stays: it looks after 1 other LlamaDeployments"
