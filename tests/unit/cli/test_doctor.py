"""`kubectl llama doctor`: every fault is found, in words that help, and what could not be looked at is not called well."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from tests.harness.builders import NEW, NOW
from tests.harness.cluster import FakeKubectl, condition, connect, deployment, node_manifest, replica
from tests.harness.command import GOLDEN, assert_refused, compare, run

from llama_operator import __version__
from llama_operator.adapters.kubectl import Finished
from llama_operator.api.schema import custom_resource_definition
from llama_operator.cli.doctor_checks import RIGHTS, look
from llama_operator.cli.doctor_facts import Facts, Samples
from llama_operator.cli.findings import Finding, Unread, worst
from llama_operator.lifecycle.observed import rfc3339

GFD = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/cuda.driver-version.major": "580"}
H100 = {"model": {"source": "file:///m"}, "hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 8}, "parallelism": {"tensor": 8}}
SERVING = {
    "phase": "Ready",
    "reason": "Complete",
    "replicas": [replica(0, "Ready")],
    "conditions": [condition("MetricsAvailable", "True", "Fresh", "fresh")],
}


def an_operator(**environment: str) -> dict[str, Any]:
    settings = {"PROMETHEUS_URL": "http://prometheus.monitoring:9090", "HEAD_STORAGE": "pvc", "HEAD_STORAGE_CLASS": "", **environment}
    variables = [{"name": f"LLAMA_OPERATOR_{key}", "value": value} for key, value in settings.items()]
    return {
        "metadata": {"name": "op", "namespace": "llama-system", "labels": {"app.kubernetes.io/version": __version__}},
        "spec": {"replicas": 1, "template": {"spec": {"serviceAccountName": "op", "containers": [{"env": variables}]}}},
        "status": {"readyReplicas": 1},
    }


def a_lease(name: str, age: float, namespace: str = "llama-system", holder: str = "op-1_ab") -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": rfc3339(NOW - age)}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def rules() -> list[dict[str, Any]]:
    return [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs)} for group, resource, verbs in RIGHTS]


def a_claim(phase: str = "Bound") -> dict[str, Any]:
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "demo-x-gcs", "namespace": "llm", "labels": {"app.kubernetes.io/managed-by": "llama-operator"}},
        "status": {"phase": phase},
    }


def a_class(default: bool = True) -> dict[str, Any]:
    return {"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": str(default).lower()}}}


HEALTHY = Facts(
    version={"major": "1", "minor": "34", "gitVersion": "v1.34.4"},
    crd=custom_resource_definition(),
    operators=[an_operator()],
    leases=[a_lease("llama-operator", 4)],
    deployments=[deployment(status=SERVING, spec=H100)],
    nodes=[node_manifest("a", labels=GFD), node_manifest("b", labels=GFD)],
    node_leases=[a_lease("a", 3, "kube-node-lease"), a_lease("b", 9, "kube-node-lease")],
    storage_classes=[a_class()],
    claims=[a_claim()],
    cluster_policies=[{"metadata": {"name": "gpu-cluster-policy"}, "status": {"state": "ready"}}],
    pod_monitors=True,
    samples=Samples(pods={f"llm/demo-{NEW}-g0-0": 1}),
    rights=rules(),
    now=NOW,
)


def findings(**changes: Any) -> list[Finding]:
    return look(replace(HEALTHY, **changes))


def test_a_healthy_cluster_has_nothing_but_ok() -> None:
    assert {finding.severity for finding in findings()} == {"ok"}
    assert {finding.check for finding in findings()} == {
        "cluster",
        "crd",
        "operator",
        "rights",
        "clock",
        "gpus",
        "storage",
        "prometheus",
        "deployments",
    }


def without(schema_path: tuple[str, ...]) -> dict[str, Any]:
    crd: dict[str, Any] = json.loads(json.dumps(custom_resource_definition()))
    node = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in schema_path[:-1]:
        node = node["properties"][name]
    del node["properties"][schema_path[-1]]
    return crd


def with_more() -> dict[str, Any]:
    crd: dict[str, Any] = json.loads(json.dumps(custom_resource_definition()))
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["novel"] = {"type": "string"}
    return crd


def not_served() -> dict[str, Any]:
    crd: dict[str, Any] = json.loads(json.dumps(custom_resource_definition()))
    crd["spec"]["versions"][0]["served"] = False
    return crd


def blind() -> dict[str, Any]:
    missing = condition("MetricsAvailable", "False", "MetricsMissing", "Prometheus has no request metric of pod x")
    return deployment(status={**SERVING, "conditions": [missing]}, spec={**H100, "autoscaling": {"maxReplicas": 2}})


FAULTS: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"version": {"major": "1", "minor": "28+", "gitVersion": "v1.28.3-eks"}},
        "error",
        "v1.28.3-eks is older than 1.30",
        "Upgrade the cluster",
    ),
    ({"crd": None}, "error", "knows no LlamaDeployment", "kubectl apply --server-side"),
    ({"crd": not_served()}, "error", "does not serve llama-operator.dev/v1alpha1", "kubectl apply"),
    ({"crd": without(("spec", "context", "kvCacheDtype"))}, "warning", "it lacks spec.context.kvCacheDtype", "kubectl apply"),
    ({"crd": with_more()}, "note", "it also has spec.novel", "of the operator's version"),
    ({"operators": []}, "error", "no operator is installed", "Install the chart"),
    ({"operators": [{**an_operator(), "status": {}}]}, "error", "llama-system/op: 0 of 1 pods are ready", "describe pods"),
    ({"leases": []}, "error", "nobody holds the Lease", "until it leads"),
    ({"leases": [a_lease("llama-operator", 90)]}, "error", "was renewed 87 s ago, it lasts 15 s", "log"),
    ({"rights": rules()[:-1]}, "error", "may not list networkpolicies, watch networkpolicies", "rbac.create"),
    ({"rights": [{**rule, "resourceNames": ["x"]} for rule in rules()]}, "error", "may not list llamadeployments", "rbac.create"),
    ({"node_leases": [a_lease("a", 3), a_lease("b", 300)]}, "warning", "the clocks of a, b differ", "NTP"),
    ({"now": NOW - 60}, "warning", "this machine's clock is 57 s behind the cluster's", "NTP"),
    ({"now": NOW + 3600}, "warning", "s ahead of the cluster's", "NTP"),
    ({"storage_classes": [], "claims": []}, "error", "no StorageClass is the default", "head.storage.className"),
    ({"operators": [an_operator(HEAD_STORAGE_CLASS="slow")], "claims": []}, "error", "is slow, and the cluster has fast", "Name one"),
    ({"operators": [an_operator(HEAD_STORAGE="emptyDir")]}, "warning", "losing a head pod reloads every replica", "head.storage.type"),
    ({"claims": [a_claim("Pending")]}, "error", "not bound: llm/demo-x-gcs", "describe pvc demo-x-gcs"),
    ({"samples": None}, "warning", "was given no Prometheus", "prometheus.url"),
    ({"samples": Samples(pods={})}, "error", f"not scraped: llm/demo-{NEW}-g0-0", "podMonitors.labels"),
    ({"samples": Samples(pods={}), "pod_monitors": False}, "error", "not scraped", "prometheus.io annotations"),
    ({"samples": Samples(pods={f"llm/demo-{NEW}-g0-0": 2})}, "error", "scraped twice", "not both"),
    ({"deployments": [blind()]}, "error", "llm/demo: the autoscaler is blind (MetricsMissing)", "docs/operations.md"),
    ({"nodes": [node_manifest("a", gpus=0, labels=GFD)]}, "error", "a have GPUs that no device plugin offers", "device plugin pods"),
    ({"nodes": [node_manifest("a", gpus=0)]}, "error", "no node offers nvidia.com/gpu, which llm/demo ask for", "device plugin"),
    (
        {"nodes": [node_manifest("a", labels={**GFD, "nvidia.com/cuda.driver-version.major": "570"})]},
        "error",
        "older than 580 on a (570)",
        "CUDA 13",
    ),
    ({"nodes": [node_manifest("a")]}, "note", "no label says which GPUs a have", "GPU Feature Discovery"),
    (
        {"nodes": [node_manifest("a", gpus=4, labels=GFD)]},
        "error",
        "asks for 8 nvidia.com/gpu on one node, and no node has more than 4",
        "Lower",
    ),
    (
        {"nodes": [node_manifest("a", labels={**GFD, "nvidia.com/gpu.product": "NVIDIA-H200"})]},
        "warning",
        "have nvidia-h200-141gb",
        "Correct spec.hardware",
    ),
    (
        {"nodes": [node_manifest("a", labels={**GFD, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED"})]},
        "warning",
        "time-sliced",
        "",
    ),
    (
        {"deployments": [deployment(status=SERVING, spec={**H100, "podTemplate": {"spec": {"nodeSelector": {"pool": "llm"}}}})]},
        "error",
        "selects nodes by pool=llm, and none of the 2 with enough GPUs",
        "Label the nodes",
    ),
    ({"cluster_policies": [{"metadata": {"name": "p"}, "status": {"state": "notReady"}}]}, "warning", "p is notReady", "gpu-operator"),
    (
        {"deployments": [deployment(status={"phase": "Failed", "reason": "DiskFull"}, spec=H100)]},
        "error",
        "is Failed (DiskFull)",
        "kubectl llama why demo -n llm",
    ),
    ({"deployments": [deployment(spec=H100)]}, "error", "no operator looks at it", "why demo"),
]


@pytest.mark.parametrize(("changes", "severity", "says", "remedy"), FAULTS, ids=[says for _, _, says, _ in FAULTS])
def test_each_fault_is_found_with_its_remedy(changes: dict[str, Any], severity: str, says: str, remedy: str) -> None:
    every = findings(**changes)
    found = [finding for finding in every if says in finding.message]
    assert [finding.severity for finding in found] == [severity], [finding.message for finding in every]
    assert remedy in found[0].remedy
    assert worst(every) == severity


@pytest.mark.parametrize(
    "fact",
    [
        "version",
        "crd",
        "operators",
        "leases",
        "deployments",
        "nodes",
        "node_leases",
        "storage_classes",
        "claims",
        "cluster_policies",
        "samples",
        "rights",
    ],
)
def test_what_may_not_be_read_is_a_note_and_never_ok(fact: str) -> None:
    found = findings(**{fact: Unread("bob may not")})
    assert any(finding.severity == "note" and "bob may not" in finding.message for finding in found)
    assert worst(found) == "note"


def healthy_cluster() -> FakeKubectl:
    rights = Finished(status=0, out=json.dumps({"status": {"resourceRules": rules(), "incomplete": False}}), err="")
    fake = Impersonating(rights=rights)
    fake.put(*HEALTHY.deployments, *HEALTHY.nodes, *HEALTHY.claims)  # type: ignore[misc]
    fake.raw = {
        "/version": HEALTHY.version,
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/llamadeployments.llama-operator.dev": HEALTHY.crd,
        "/apis/apps/v1/deployments": {"items": HEALTHY.operators},
        "/apis/coordination.k8s.io/v1/leases": {"items": HEALTHY.leases},
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases": {"items": HEALTHY.node_leases},
        "/apis/storage.k8s.io/v1/storageclasses": {"items": HEALTHY.storage_classes},
        "/apis/nvidia.com/v1/clusterpolicies": {"items": HEALTHY.cluster_policies},
        "/apis/monitoring.coreos.com/v1": {"kind": "APIResourceList"},
        "/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy/api/v1/query": {
            "status": "success",
            "data": {"resultType": "vector", "result": [{"metric": {"namespace": "llm", "pod": f"demo-{NEW}-g0-0"}, "value": [NOW, "1"]}]},
        },
    }
    return fake


class Impersonating(FakeKubectl):
    """Answers the review of the operator's rights too."""

    def __init__(self, rights: Finished) -> None:
        super().__init__()
        self.rights = rights

    def __call__(self, command: Any) -> Finished:
        if any(word.startswith("--as=") for word in command):
            self.asked.append(list(command))
            return self.rights
        return super().__call__(command)


def test_a_cluster_is_read_and_shown_as_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_operator.cli.doctor_reading.time.time", lambda: NOW)
    fake = connect(monkeypatch, healthy_cluster())
    answer = run("doctor")
    assert (answer.status, answer.err) == (0, "")
    compare("doctor.txt", answer.out)
    (asked,) = [command for command in fake.asked if "--as=system:serviceaccount:llama-system:op" in command]
    assert "create" in asked
    del fake.raw["/apis/coordination.k8s.io/v1/leases"]
    fake.raw["/apis/coordination.k8s.io/v1/leases"] = {"items": []}
    assert run("doctor").status == 2
    document = json.loads(run("doctor", "-o", "json").out)
    assert document["worst"] == "error"
    assert next(item["remedy"] for item in document["findings"] if item["severity"] == "error").endswith("until it leads.")


@pytest.mark.parametrize(
    "answer", ["<html>login</html>", '{"status": "error", "error": "too many samples"}', '{"status": "success"}', "[]", "{"]
)
def test_a_prometheus_that_answers_nonsense_is_a_note(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_operator.cli.doctor_reading.time.time", lambda: NOW)
    fake = connect(monkeypatch, healthy_cluster())
    path = next(path for path in fake.raw if path.endswith("/query"))
    del fake.raw[path]
    monkeypatch.setattr(
        Impersonating,
        "_one",
        lambda _self, asked: (
            Finished(status=0, out=answer, err="") if asked.endswith("/query") else Finished(status=1, out="", err="(NotFound)")
        ),
    )
    document = json.loads(run("doctor", "-o", "json").out)
    assert document["worst"] == "note"
    assert any("Prometheus was not asked from here" in item["message"] for item in document["findings"])


def test_a_cluster_that_does_not_answer_at_all_is_an_error_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = connect(monkeypatch, FakeKubectl())
    fake.raw["/version"] = Finished(status=1, out="", err="Unable to connect to the server: dial tcp: no such host")
    assert_refused(("doctor",), ["cluster: no answer (Unable to connect to the server: dial tcp: no such host) is given"])


def test_the_rights_that_are_asked_for_are_those_of_the_chart() -> None:
    manifests = yaml.safe_load_all((GOLDEN.parent / "chart" / "defaults.yaml").read_text(encoding="utf-8"))
    granted = {
        (group, resource, verb)
        for role in manifests
        if role and role["kind"] == "ClusterRole" and role["metadata"]["name"] not in {"llama-view", "llama-edit"}
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {(group, resource, verb) for group, resource, verbs in RIGHTS for verb in verbs} <= granted
