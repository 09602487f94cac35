"""A cluster that `kubectl llama` can ask: objects in memory behind kubectl's own command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.harness.builders import KEY, NEW, NOW, raw_deployment

from llama_operator.adapters.kinds import KINDS
from llama_operator.adapters.kubectl import Finished, Kubectl
from llama_operator.lifecycle.observed import rfc3339
from llama_operator.rendering import names


@dataclass
class FakeKubectl:
    """Answers `get --raw` from its objects, and other paths from a table. `forbidden` are kinds that may not be listed."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    namespace: str = KEY.namespace
    asked: list[list[str]] = field(default_factory=list)

    def __call__(self, command: Sequence[str]) -> Finished:
        self.asked.append(list(command))
        words = [word for word in command[1:] if not word.startswith(("--kubeconfig", "--context", "--request-timeout"))]
        if words[:2] == ["config", "view"]:
            return Finished(status=0, out=self.namespace, err="")
        if words[0] == "logs":
            pod = next(word for word in words[1:] if word.startswith("pod/")).removeprefix("pod/")
            return (
                self._said(self.logs[pod]) if pod in self.logs else self._refused(f'Error from server (NotFound): pods "{pod}" not found')
            )
        assert words[:2] == ["get", "--raw"], words
        return self._get(words[2])

    def put(self, *objects: dict[str, Any]) -> FakeKubectl:
        self.objects += objects
        return self

    def _get(self, url: str) -> Finished:
        if url in self.raw:
            answer = self.raw[url]
            return answer if isinstance(answer, Finished) else self._said(answer if isinstance(answer, str) else json.dumps(answer))
        parts = urlsplit(url)
        if parts.path in self.raw:
            return self._said(json.dumps(self.raw[parts.path]))
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        for kind in KINDS.values():
            for namespace in {item["metadata"].get("namespace") for item in self.objects} | {None, self.namespace}:
                if parts.path == kind.path(namespace):
                    return self._list(kind.name, namespace if kind.namespaced else None, query)
        return self._one(parts.path)

    def _list(self, kind: str, namespace: str | None, query: Mapping[str, str]) -> Finished:
        if kind in self.forbidden:
            return self._refused(f'Error from server (Forbidden): {kind} is forbidden: User "bob" cannot list it')
        wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        found = [
            item
            for item in self.objects
            if item["kind"] == kind
            and (namespace is None or item["metadata"].get("namespace") == namespace)
            and wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]
        return self._said(json.dumps({"items": found, "metadata": {}}))

    def _one(self, path: str) -> Finished:
        for item in self.objects:
            kind = KINDS.get(item["kind"])
            if kind and path == kind.path(item["metadata"].get("namespace"), item["metadata"]["name"]):
                return self._said(json.dumps(item))
        return self._refused("Error from server (NotFound): the server could not find the requested resource")

    @staticmethod
    def _said(out: str) -> Finished:
        return Finished(status=0, out=out, err="")

    @staticmethod
    def _refused(err: str) -> Finished:
        return Finished(status=1, out="", err=err)


def connect(monkeypatch: pytest.MonkeyPatch, fake: FakeKubectl) -> FakeKubectl:
    """Every command of this test asks that cluster, at NOW."""
    monkeypatch.setattr("llama_operator.cli.cluster.Kubectl", partial(Kubectl, run=fake))
    return fake


def deployment(*, status: Mapping[str, Any] | None = None, spec: Mapping[str, Any] | None = None, key: names.Key = KEY) -> dict[str, Any]:
    """A LlamaDeployment of three hours ago."""
    made = raw_deployment(spec, key, creationTimestamp=rfc3339(NOW - 3 * 3600))
    return {**made, "status": dict(status)} if status is not None else made


def pod_manifest(
    gang: int | None = 0,
    rank: int = 0,
    *,
    node: str | None = "node-a",
    ready: bool = True,
    gpus: int = 0,
    revision: str = NEW,
    key: names.Key = KEY,
) -> dict[str, Any]:
    """A pod as the API server gives it; `gang` None is the head."""
    if gang is None:
        name, labels = names.head(key.name, revision), names.head_labels(key.name, revision)
    else:
        name, labels = names.gang_pod(key.name, revision, gang, rank), names.gang_labels(key.name, revision, gang, rank)
    requests = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": rfc3339(NOW - 60)}]
    if node is None:
        conditions.append({"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "uid": f"uid-{name}",
            "labels": labels,
            "creationTimestamp": rfc3339(NOW - 600),
        },
        "spec": {"containers": [{"name": "llama", "resources": {"requests": requests}}], **({"nodeName": node} if node else {})},
        "status": {"phase": "Pending" if node is None else "Running", "conditions": conditions},
    }


def node_manifest(
    name: str, *, gpus: int = 8, labels: Mapping[str, str] | None = None, ready: bool = True, cordoned: bool = False
) -> dict[str, Any]:
    """A node."""
    offered = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"allocatable": offered, "capacity": offered, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def condition(kind: str, status: str, reason: str, message: str, age: float = 60) -> dict[str, Any]:
    """One condition of a status."""
    when = rfc3339(NOW - age)
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1, "lastTransitionTime": when}


def replica(
    gang: int, phase: str, *, pods: int = 1, percent: float | None = None, message: str = "", revision: str = NEW, age: float = 120
) -> dict[str, Any]:
    """One replica of a status."""
    entry: dict[str, Any] = {
        "gang": gang,
        "phase": phase,
        "message": message,
        "pods": [names.gang_pod(KEY.name, revision, gang, rank) for rank in range(pods)],
        "nodes": [],
        "attempts": 0,
        "since": rfc3339(NOW - age),
    }
    return {**entry, "percent": percent} if percent is not None else entry


def loading_cluster() -> FakeKubectl:
    """A deployment of two replicas on two pods each: one ready, one at 42 %, an old revision's gang that drains, and a pod that waits."""
    hardware = {"hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 8}}
    status = {
        "observedGeneration": 1,
        "phase": "Updating",
        "reason": "RollingOut",
        "ready": "1/3",
        "endpoint": "http://demo.llm.svc/v1",
        "revision": NEW,
        "replicas": [
            replica(0, "Ready", pods=2, age=7200),
            replica(1, "LoadingWeights", pods=2, percent=42.0, message="loading weights: 42 % of 812 GB"),
            replica(2, "Draining", revision="bbbbbbbbbb", message="3 requests left"),
        ],
        "plan": {"tensorParallel": 8, "pipelineParallel": 2, "gpus": 16, "kvCacheTokens": 100000},
        "conditions": [
            condition("Accepted", "True", "Fits", "it fits"),
            condition("Available", "True", "Serving", "1 replica is Ready"),
            condition("Progressing", "True", "RollingOut", "gang 2 of revision bbbbbbbbbb has 3 requests left"),
            condition("Scaling", "True", "Steady", "3 replicas for 12 requests"),
            condition("MetricsAvailable", "True", "Fresh", "all fresh"),
            condition("Degraded", "False", "Healthy", "nothing is known to be broken"),
        ],
    }
    return FakeKubectl().put(
        deployment(status=status, spec={"model": {"source": "file:///m"}, **hardware}),
        pod_manifest(None, node="node-c"),
        pod_manifest(0, 0, node="node-a", gpus=8),
        pod_manifest(0, 1, node="node-b", gpus=8),
        pod_manifest(1, 0, node="node-c", gpus=8, ready=False),
        pod_manifest(1, 1, node="node-d", gpus=8, ready=False),
        pod_manifest(2, 0, node="node-e", gpus=8, revision="bbbbbbbbbb"),
        pod_manifest(3, 0, node=None, gpus=8, ready=False),
        *(node_manifest(f"node-{letter}", cordoned=letter == "e") for letter in "abcde"),
        node_manifest("cpu-only", gpus=0),
    )
