"""What the keeper decides: GPUs of nodes, volumes of claims, targets of Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localcluster import keeper

ROOT = Path("/volumes")


def claim(**changes: Any) -> dict[str, Any]:
    spec = {"storageClassName": "local-path", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    chosen = {"volume.kubernetes.io/selected-node": "node-a"}
    meta: dict[str, Any] = {"name": "gcs", "namespace": "llm", "uid": "u1", "annotations": chosen}
    return {
        "metadata": {**meta, **changes.pop("metadata", {})},
        "spec": {**spec, **changes.pop("spec", {})},
        "status": changes.pop("status", {"phase": "Pending"}),
    }


def test_a_pending_claim_gets_a_volume_bound_to_it_alone() -> None:
    volume = keeper.volume_for(claim(), ROOT)
    assert volume is not None
    assert volume["spec"]["claimRef"]["uid"] == "u1"
    assert volume["spec"]["capacity"] == {"storage": "1Gi"}
    assert volume["spec"]["hostPath"]["path"] == f"/volumes/{volume['metadata']['name']}"
    assert volume == keeper.volume_for(claim(), ROOT), "a second look makes the same volume, not another"


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("another class is another's business", {"spec": {"storageClassName": "fast"}}),
        ("no class is asked for", {"spec": {"storageClassName": ""}}),
        ("no pod that uses the claim has a node yet", {"metadata": {"annotations": {}}}),
        ("a bound claim has its volume", {"spec": {"volumeName": "local-u1"}}),
        ("a claim that goes away needs none", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        ("a claim that lost its volume is not given a new one", {"status": {"phase": "Lost"}}),
    ],
)
def test_no_volume_is_made_for(sentence: str, changes: dict[str, Any]) -> None:
    assert keeper.volume_for(claim(**changes), ROOT) is None, sentence


@pytest.mark.parametrize(
    ("sentence", "label", "phase", "claims", "want"),
    [
        ("bound volumes stay", True, "Bound", {"u1"}, False),
        ("released volumes go", True, "Released", set(), True),
        ("failed volumes go", True, "Failed", set(), True),
        ("a volume waiting for its claim stays", True, "Available", {"u1"}, False),
        ("a volume whose claim never came back goes", True, "Available", set(), True),
        ("others' volumes are left alone", False, "Released", set(), False),
    ],
)
def test_volumes_are_deleted_when_their_claim_is_gone(sentence: str, label: bool, phase: str, claims: set[str], want: bool) -> None:
    volume = {
        "metadata": {"labels": {keeper.LABEL: "true"} if label else {}},
        "spec": {"claimRef": {"uid": "u1"}},
        "status": {"phase": phase},
    }
    assert keeper.is_released(volume, claims) is want, sentence


@pytest.mark.parametrize(
    ("sentence", "status", "patched"),
    [
        ("a node without GPUs gets them", {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}}, True),
        ("a node that registered anew has none", {"capacity": {keeper.GPU: "0"}, "allocatable": {keeper.GPU: "0"}}, True),
        ("a node with GPUs is not written to", {"capacity": {keeper.GPU: "8"}, "allocatable": {keeper.GPU: "8"}}, False),
        ("a node that has said nothing yet is left for later", {}, False),
    ],
)
def test_nodes_have_eight_gpus(sentence: str, status: dict[str, Any], patched: bool) -> None:
    patch = keeper.gpu_patch({"status": status})
    assert bool(patch) is patched, sentence
    assert all(part["path"].endswith("/nvidia.com~1gpu") and part["value"] == "8" for part in patch)


def pod(name: str, *, ip: str | None = "10.213.16.5", scrape: str | None = "true") -> dict[str, Any]:
    annotations = {"prometheus.io/port": "8080", "kubectl.kubernetes.io/other": "x", **({"prometheus.io/scrape": scrape} if scrape else {})}
    status = {"phase": "Running", **({"podIP": ip} if ip else {})}
    meta = {"name": name, "namespace": "llm", "annotations": annotations, "labels": {"llama-operator.dev/deployment": "demo"}}
    return {"metadata": meta, "spec": {"nodeName": "node-a"}, "status": status}


def test_targets_carry_the_labels_that_kubernetes_discovery_would_give() -> None:
    (group,) = keeper.targets([pod("head")])
    labels = group["labels"]
    assert group["targets"] == ["10.213.16.5"]
    assert labels["__meta_kubernetes_namespace"] == "llm"
    assert labels["__meta_kubernetes_pod_name"] == "head"
    assert labels["__meta_kubernetes_pod_annotation_prometheus_io_port"] == "8080"
    assert labels["__meta_kubernetes_pod_label_llama_operator_dev_deployment"] == "demo"
    assert not any("kubectl" in name for name in labels)


def test_only_pods_that_ask_for_it_and_have_an_address_are_scraped() -> None:
    pods = [pod("b"), pod("no-address", ip=None), pod("says-no", scrape="false"), pod("says-nothing", scrape=None), pod("a")]
    assert [group["labels"]["__meta_kubernetes_pod_name"] for group in keeper.targets(pods)] == ["a", "b"]
    assert keeper.targets(pods) == keeper.targets(pods[::-1]), "the order of the list does not rewrite the file"


def test_the_targets_file_is_written_only_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "d" / "pods.json"
    keeper.write_targets(file, keeper.targets([pod("a")]))
    first = file.stat().st_ino
    keeper.write_targets(file, keeper.targets([pod("a")]))
    assert file.stat().st_ino == first
    keeper.write_targets(file, [])
    assert file.read_text() == "[]"
