"""The operator itself: quiet at rest, one leader, and nothing of its going or coming touches a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.harness.command import run

from localcluster.audit import WRITES, count
from playground.client import Client
from playground.kube import Namespace
from playground.operator import NAMESPACE
from playground.stage import Stage

pytestmark = pytest.mark.cluster
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:llama-operator"


def pods_of(namespace: Namespace, *names: str) -> dict[str, str]:
    """Pods of several deployments, by name."""
    every = [pod for name in names for component in ("replica", "head") for pod in namespace.pods(name, component)]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in every}


def test_two_deployments_here_and_one_elsewhere_are_all_served(stage: Stage, namespace: Namespace, client: Client) -> None:
    elsewhere = stage.namespace("test-operator-elsewhere")
    for space, name in ((namespace, "one"), (namespace, "two"), (elsewhere, "one")):
        space.apply(stage.simulated(name, model={"source": "file:///simulated", "servedName": f"{name}-of-{space.name}"}))
    for space, name in ((namespace, "one"), (namespace, "two"), (elsewhere, "one")):
        space.wait_ready(name, 1, 400)  # six Ray nodes start at once, perhaps on two cores
        assert client.chat(f"http://{name}.{space.name}", f"{name}-of-{space.name}", "Hello")["status"] == 200
    assert client.chat(f"http://one.{namespace.name}", f"one-of-{elsewhere.name}", "Hello")["status"] == 404
    elsewhere.delete_llama("one")
    elsewhere.wait_gone("one", 60)
    elsewhere.remove()


def test_a_load_test_comes_from_inside_the_cluster_and_leaves_nothing(
    stage: Stage, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real tool, vLLM's own, in a pod beside the deployment."""
    for variable, value in (stage.cluster.environment | {"PATH": f"{Path(stage.tools.program('kubectl')).parent}:/usr/bin:/bin"}).items():
        monkeypatch.setenv(variable, value)
    at = ("-n", namespace.name, "--kubeconfig", str(stage.cluster.kubeconfig), "--context", stage.cluster.context)
    before = pods_of(namespace, "one")
    load = ("--concurrency", "4", "--requests", "20", "--input-tokens", "64", "--output-tokens", "16", "--longest", "5m")
    answer = run("bench", "one", *load, "--output", str(tmp_path / "report"), "-o", "json", *at)
    assert answer.status == 0, answer.err
    report = json.loads(answer.out)
    (only,) = report["runs"]
    assert (only["completed"], only["failures"], only["promptTokens"], only["outputTokens"]) == (20, [], 20 * 64, 20 * 16)
    assert only["peakInFlight"] <= 4
    assert 0 < only["timeToFirstToken"]["p50"]["value"] < only["endToEnd"]["p50"]["value"]
    assert report["deployment"]["revision"] == namespace.status("one")["revision"]
    assert "<svg" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    jobs = f"/apis/batch/v1/namespaces/{namespace.name}/jobs"
    assert [item for item in namespace.api.get(jobs)["items"] if not item["metadata"].get("deletionTimestamp")] == []
    assert pods_of(namespace, "one") == before


def test_at_rest_it_writes_nothing_and_lists_at_most_twice_a_pass(local: Stage, namespace: Namespace) -> None:
    before = pods_of(namespace, "one", "two")
    for name in ("one", "two"):
        namespace.wait_reason(name, "Progressing", "Complete", 60)
    # The last events of the load may still be on their way; then nothing moves any more.
    audit, quiet = local.cluster.audit, [""]
    namespace.wait("the objects rest", lambda: _unchanged(namespace, quiet), 60)
    mark, passes = audit.mark(), local.operator.metric("llama_operator_reconcile_passes_total")
    namespace.wait("12 passes", lambda: local.operator.metric("llama_operator_reconcile_passes_total") >= passes + 12, 180)
    done = local.operator.metric("llama_operator_reconcile_passes_total") - passes
    counts = count(audit.since(mark), user=ACCOUNT)
    writes = {what: number for what, number in counts.items() if what[0] in WRITES and what[1] != "leases"}
    assert writes == {}
    # One list of pods a pass, those under way included, and one of the watch; the resync's lists of other kinds come at their own pace.
    under_way = len(namespace.api.get("/apis/llama-operator.dev/v1alpha1/llamadeployments")["items"])
    assert counts["list", "pods"] <= done + under_way + 1
    assert pods_of(namespace, "one", "two") == before


def _unchanged(namespace: Namespace, seen: list[str]) -> bool:
    """The resource versions are those of the look before."""
    now = ",".join(namespace.llama(name)["metadata"]["resourceVersion"] for name in ("one", "two"))
    same, seen[0] = now == seen[0], now
    return same


def test_a_frozen_leader_is_replaced_and_does_not_write_again(local: Stage, namespace: Namespace) -> None:
    before = pods_of(namespace, "one", "two")
    local.operator.scale(2)
    first = local.operator.holder()
    assert first is not None
    uid = local.operator.uid(first)
    local.freeze_pod(uid)
    try:
        namespace.wait("the standby leads", lambda: local.operator.holder() not in (None, first), 60)
        namespace.patch_llama("one", {"spec": {"replicas": 2}})
        namespace.wait_ready("one", 2, 120)
    finally:
        local.thaw_pod(uid)
    second = local.operator.holder()
    namespace.patch_llama("one", {"spec": {"replicas": 1}})
    namespace.wait_ready("one", 1, 120)
    assert local.operator.holder() == second
    assert pods_of(namespace, "one", "two") == before
    local.operator.scale(1)


def test_uninstalling_the_chart_leaves_models_and_objects_alone_and_installing_it_again_goes_on(
    stage: Stage, namespace: Namespace, client: Client
) -> None:
    before = pods_of(namespace, "one", "two")
    stage.operator.uninstall()
    assert client.chat("http://one", f"one-of-{namespace.name}", "Hello")["status"] == 200
    assert namespace.llama("one")["spec"]["engine"]["type"] == "simulated"
    stage.operator.install()
    namespace.patch_llama("two", {"spec": {"replicas": 2}})
    namespace.wait_ready("two", 2, 120)
    assert before.items() <= pods_of(namespace, "one", "two").items()
