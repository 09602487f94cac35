"""The operator's release: installed with Helm as a user does, and broken as nodes and people do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from localcluster.api import Api
from localcluster.waiting import wait_for
from playground.tools import Tools

NAMESPACE = "llama-system"
RELEASE = "llama-operator"
CRD = "llamadeployments.llama-operator.dev"
RESYNC_SECONDS = 10
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/llama-operator"


class Operator:
    """One release of the chart."""

    def __init__(self, tools: Tools, api: Api, image: str, prometheus_url: str) -> None:
        """Nothing is installed yet."""
        self._tools, self._api, self._image, self._prometheus = tools, api, image, prometheus_url

    def install(self, *, chart: Path | None = None, **values: Any) -> None:
        """`helm upgrade --install`, and wait until it is ready. `values` are chart values by their dotted path, with __ for the dots.

        `chart` is another chart than this checkout's.
        """
        repository, _, tag = self._image.rpartition(":")
        chosen: dict[str, Any] = {
            "image.repository": repository,
            "image.tag": tag,
            "image.pullPolicy": "IfNotPresent",
            "prometheus.url": self._prometheus,
            "reconcile.resyncSeconds": RESYNC_SECONDS,
            "reconcile.retryBaseSeconds": 3,
            **{key.replace("__", "."): value for key, value in values.items()},
        }
        sets = [word for key, value in chosen.items() for word in ("--set-json", f"{key}={json.dumps(value)}")]
        # Helm makes a CRD and never upgrades one: as docs/install.md tells users.
        if self._crd_is_there():
            self._api.apply_file(self._tools.chart() / "crds" / "llamadeployments.yaml")
        self._upgrade(chart or self._tools.chart(), "--install", "--create-namespace", *sets)

    def upgrade_with_former_values(self) -> None:
        """`helm upgrade --reuse-values` to this checkout's chart: no value is given, and no default of it counts."""
        self._upgrade(self._tools.chart(), "--reuse-values")

    def _upgrade(self, chart: Path, *flags: str) -> None:
        """Run `helm upgrade`, and wait until the operator leads."""
        self._tools.helm("upgrade", RELEASE, str(chart), "--namespace", NAMESPACE, *flags, "--wait", "--timeout", "120s")
        wait_for("the operator leads", lambda: self.holder() is not None, seconds=60)

    def _crd_is_there(self) -> bool:
        listed = self._api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        return any(item["metadata"]["name"] == CRD for item in listed["items"])

    def uninstall(self) -> None:
        """`helm uninstall`, and wait until its pods are gone."""
        self._tools.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
        wait_for("the operator's pods gone", lambda: not self.pods(), seconds=60)

    def pods(self) -> list[dict[str, Any]]:
        """Its pods."""
        listed = self._api.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/name=llama-operator")
        return list(listed["items"])

    def identity(self) -> str:
        """The process that holds the Lease: its pod's name, and what tells it from others in that pod. Empty where none is known to."""
        try:
            lease = self._api.get(LEASE)
        except Exception:  # noqa: BLE001 - no Lease yet, or the API server is being restarted: either way nobody is known to lead
            return ""
        return str((lease.get("spec") or {}).get("holderIdentity") or "")

    def holder(self) -> str | None:
        """The pod that holds the Lease, where it is one that exists."""
        identity = self.identity()
        return next((pod["metadata"]["name"] for pod in self.pods() if identity.startswith(pod["metadata"]["name"] + "_")), None)

    def scale(self, replicas: int) -> None:
        """Set the number of operator pods and wait for it."""
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}"
        self._api.request("PATCH", path, {"spec": {"replicas": replicas}}, content_type="application/merge-patch+json")

        def there() -> bool:
            pods = self.pods()
            ready = [
                pod
                for pod in pods
                if any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions") or [])
            ]
            return len(pods) == replicas and len(ready) == replicas

        wait_for(f"{replicas} operator pods", there, seconds=90)

    def uid(self, pod: str) -> str:
        """The uid of one of its pods."""
        return next(str(item["metadata"]["uid"]) for item in self.pods() if item["metadata"]["name"] == pod)

    def execute(self, *command: str) -> str:
        """What a command in the leading pod prints. Raises LocalClusterError with what it said when it fails."""
        return self._tools.execute(NAMESPACE, str(self.holder()), *command)

    def metric(self, name: str) -> float:
        """The sum over labels of one of its own metrics, from the leading pod. Raises ApiError, LookupError."""
        text = str(self._api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{self.holder()}:8082/proxy/metrics"))
        values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if re.match(rf"{re.escape(name)}[{{ ]", line)]
        if not values:
            raise LookupError(f"the operator has no metric {name}")
        return sum(float(value) for value in values)

    def kill(self) -> None:
        """Delete the leading pod with no grace, as a lost node would; its Deployment makes another."""
        name = self.holder()
        if name:
            options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
            self._api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", options)

    def logs(self, lines: int = 200) -> str:
        """The last lines of every operator pod."""
        from localcluster.commands import run

        texts = []
        for pod in self.pods():
            command = [*self._tools.kubectl(), "logs", "-n", NAMESPACE, pod["metadata"]["name"], f"--tail={lines}"]
            texts.append(run(command, env=self._tools.env()))
        return "\n".join(texts)
