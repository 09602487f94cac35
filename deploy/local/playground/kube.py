"""Reading and changing objects of the cluster, and waiting for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from localcluster.api import Api, ApiError
from localcluster.errors import LocalClusterError
from localcluster.waiting import wait_for

NOT_FOUND = 404
MADE_HERE = "llama-operator.dev/playground"
"""The label of every namespace that the demo and the tests make."""
LLAMAS = "/apis/llama-operator.dev/v1alpha1"
CHILDREN = {
    "Pod": "/api/v1/namespaces/{ns}/pods",
    "Secret": "/api/v1/namespaces/{ns}/secrets",
    "Service": "/api/v1/namespaces/{ns}/services",
    "PersistentVolumeClaim": "/api/v1/namespaces/{ns}/persistentvolumeclaims",
    "ControllerRevision": "/apis/apps/v1/namespaces/{ns}/controllerrevisions",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies",
}


class Namespace:
    """One namespace of the cluster, and the LlamaDeployments in it."""

    def __init__(self, api: Api, name: str) -> None:
        """Nothing is made yet."""
        self.api = api
        self.name = name

    def make(self) -> Namespace:
        """Make the namespace, with the restricted Pod Security profile only warned about: demo pods mount host folders."""
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": {MADE_HERE: "true"}}})
        return self

    def made_here(self) -> bool | None:
        """Whether it bears our label; None: there is no such namespace."""
        found = self.get(f"/api/v1/namespaces/{self.name}")
        return (found["metadata"].get("labels") or {}).get(MADE_HERE) == "true" if found else None

    def refuse_theirs(self) -> None:
        """On a cluster that is not ours: raise LocalClusterError where somebody else made a namespace of this name. What is in it is
        theirs, and `remove` would take it with it.
        """
        if self.made_here() is False:
            raise LocalClusterError(
                f"namespace {self.name}: there is one in this cluster that was not made here (no label {MADE_HERE}=true). "
                "Use another cluster, or remove it if it is not needed"
            )

    def remove(self, seconds: float = 120) -> None:
        """Delete the namespace and wait until it is gone."""
        self.api.delete(f"/api/v1/namespaces/{self.name}")
        wait_for(f"namespace {self.name} gone", lambda: self.get(f"/api/v1/namespaces/{self.name}") is None, seconds=seconds, every=0.5)

    def get(self, path: str) -> dict[str, Any] | None:
        """An object by path, None where there is none."""
        try:
            found = self.api.get(path)
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return found if isinstance(found, dict) else None

    def llama_path(self, name: str) -> str:
        """The path of a LlamaDeployment."""
        return f"{LLAMAS}/namespaces/{self.name}/llamadeployments/{name}"

    def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Apply an object into this namespace. Raises ApiError."""
        body = json.loads(json.dumps(manifest))
        body["metadata"]["namespace"] = self.name
        applied: dict[str, Any] = self.api.apply(body)
        return applied

    def patch_llama(self, name: str, patch: Mapping[str, Any]) -> None:
        """Merge-patch a LlamaDeployment. Raises ApiError."""
        self.api.request("PATCH", self.llama_path(name), dict(patch), content_type="application/merge-patch+json")

    def delete_llama(self, name: str) -> None:
        """Delete a LlamaDeployment; it may take a while to go."""
        self.api.delete(self.llama_path(name))

    def llama(self, name: str) -> dict[str, Any]:
        """A LlamaDeployment; empty where it is not."""
        return self.get(self.llama_path(name)) or {}

    def status(self, name: str) -> dict[str, Any]:
        """Its status; empty where there is none yet."""
        return dict(self.llama(name).get("status") or {})

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One of its conditions; empty where there is none."""
        return next((dict(item) for item in self.status(name).get("conditions") or [] if item["type"] == kind), {})

    def children(self, name: str) -> dict[str, dict[str, Any]]:
        """Everything in the namespace that belongs to a LlamaDeployment, by `Kind/name`."""
        found: dict[str, dict[str, Any]] = {}
        for kind, path in CHILDREN.items():
            listed = self.api.get(f"{path.format(ns=self.name)}?labelSelector=llama-operator.dev/deployment={name}")
            found |= {f"{kind}/{item['metadata']['name']}": item for item in listed["items"]}
        return found

    def pods(self, name: str, component: str = "replica") -> list[dict[str, Any]]:
        """Its pods of a component, oldest first."""
        chosen = [
            item
            for key, item in self.children(name).items()
            if key.startswith("Pod/") and item["metadata"]["labels"].get("llama-operator.dev/component") == component
        ]
        return sorted(chosen, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    def agents(self, name: str) -> dict[str, dict[str, Any]]:
        """By pod, what its agent says of its engine; pods without one, as the later ranks of a gang, left out."""
        pods = [pod["metadata"]["name"] for pod in self.pods(name)]
        told = {pod: self.api.get(f"/api/v1/namespaces/{self.name}/pods/{pod}:8090/proxy/status")["engine"] for pod in pods}
        return {pod: engine for pod, engine in told.items() if engine}

    def engines(self, name: str) -> dict[str, tuple[int, float]]:
        """By pod: process id and start of the engine's process. A process that was replaced has others."""
        return {pod: (int(engine["pid"]), float(engine["startedAt"])) for pod, engine in self.agents(name).items()}

    def in_flight(self, name: str) -> int:
        """Requests in its engines, as counted within the last two seconds."""
        return sum(int(engine["inFlight"]) for engine in self.agents(name).values())

    def history(self, name: str, since: str) -> list[dict[str, Any]]:
        """Every version of a LlamaDeployment after a resourceVersion, oldest first, as a watch tells them. Raises ApiError."""
        where = f"{LLAMAS}/namespaces/{self.name}/llamadeployments?watch=true&timeoutSeconds=1"
        told = self.api.request("GET", f"{where}&resourceVersion={since}&fieldSelector=metadata.name%3D{name}")
        # One line is JSON already.
        events = [told] if isinstance(told, dict) else [json.loads(line) for line in str(told).splitlines()]
        for event in events:
            if event["type"] == "ERROR":
                raise ApiError(int(event["object"].get("code", 0)), str(event["object"].get("message")))
        return [event["object"] for event in events]

    def pod_log(self, name: str, lines: int) -> str:
        """The last lines of what a pod's main container wrote; why not, where it cannot be read."""
        try:
            return str(self.api.get(f"/api/v1/namespaces/{self.name}/pods/{name}/log?container=llama&tailLines={lines}"))
        except ApiError as error:
            return str(error)

    def kill_pod(self, name: str) -> None:
        """Delete a pod with no grace at all, as `kubectl delete pod --force --grace-period=0` does."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        self.api.request("DELETE", f"/api/v1/namespaces/{self.name}/pods/{name}", options)

    def wait(self, what: str, condition: Callable[[], Any], seconds: float, name: str | None = None) -> Any:
        """Wait until `condition` gives something true; on failure say what the LlamaDeployment said last. Raises NotReady.

        An API server that does not answer for a moment is asked again.
        """

        def patient() -> Any:
            try:
                return condition()
            except ApiError as error:
                if error.code in (0, 429) or error.code >= 500:
                    return None
                raise

        try:
            return wait_for(what, patient, seconds=seconds, every=0.5)
        except Exception as error:
            if name:
                error.add_note(f"{name}: {json.dumps(self.status(name), indent=1)[:6000]}")
            raise

    def wait_ready(self, name: str, replicas: int, seconds: float) -> dict[str, Any]:
        """Wait until exactly so many replicas are Ready, and none else is on its way in or out. Raises NotReady."""

        def ready() -> dict[str, Any] | None:
            status = self.status(name)
            alone = len(status.get("replicas") or []) == replicas
            return status if alone and status.get("ready") == f"{replicas}/{replicas}" and status.get("replicaCount") == replicas else None

        found: dict[str, Any] = self.wait(f"{name} has {replicas} ready replicas", ready, seconds, name)
        return found

    def wait_reason(self, name: str, kind: str, reason: str, seconds: float) -> dict[str, Any]:
        """Wait until a condition has a reason. Raises NotReady."""

        def there() -> dict[str, Any] | None:
            found = self.condition(name, kind)
            return found if found.get("reason") == reason else None

        found: dict[str, Any] = self.wait(f"{name} says {kind}: {reason}", there, seconds, name)
        return found

    def wait_gone(self, name: str, seconds: float) -> None:
        """Wait until a LlamaDeployment and all its children are gone. Raises NotReady."""
        self.wait(f"{name} and its children gone", lambda: not self.llama(name) and not self.children(name), seconds, name)
