"""A small client of the API server: JSON over HTTPS, with a client certificate or token from a kubeconfig. No Kubernetes library."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from .errors import ForeignCluster, LocalClusterError

MANAGER = "llama-local"
# kind -> plural, where adding an "s" to the lower-cased kind is wrong
IRREGULAR = {
    "NetworkPolicy": "networkpolicies",
    "StorageClass": "storageclasses",
    "Ingress": "ingresses",
    "PriorityClass": "priorityclasses",
}
CLUSTER_SCOPED = {
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "CustomResourceDefinition",
    "PriorityClass",
}


class ApiError(LocalClusterError):
    """The API server refused a request; `code` is its HTTP status (0: no connection)."""

    def __init__(self, code: int, message: str) -> None:
        """Keep the status beside the message."""
        super().__init__(message)
        self.code = code


def object_path(manifest: dict[str, Any]) -> str:
    """The URL path of one object, from its apiVersion, kind, namespace (default `default`) and name."""
    version, kind, meta = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scope = "" if kind in CLUSTER_SCOPED else f"/namespaces/{meta.get('namespace', 'default')}"
    return f"{root}{scope}/{IRREGULAR.get(kind, kind.lower() + 's')}/{meta['name']}"


class Api:
    """Requests to one API server. Every call opens its own connection: the server may be restarted between two."""

    def __init__(self, kubeconfig: Path, context: str) -> None:
        """Read the kubeconfig.

        Raises:
            ForeignCluster: it has no context of that name, or logs in by a plugin.

        """
        config = yaml.safe_load(kubeconfig.read_text())
        contexts = {entry["name"]: entry["context"] for entry in config.get("contexts") or []}
        if context not in contexts:
            raise ForeignCluster(f"{kubeconfig} has no context {context!r}; it has {', '.join(sorted(contexts)) or 'none'}")
        cluster = next(entry["cluster"] for entry in config["clusters"] if entry["name"] == contexts[context]["cluster"])
        user: dict[str, Any] = next(
            (entry["user"] for entry in config.get("users") or [] if entry["name"] == contexts[context]["user"]), {}
        )
        for way in ("exec", "auth-provider"):
            if way in user:
                raise ForeignCluster(
                    f"{kubeconfig}: the context {context} logs in by {way!r}, which is not supported here. "
                    "Give a kubeconfig with a token or a client certificate, for example of a service account"
                )
        self.server = str(cluster["server"])
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._tls = _tls_context(cluster, user, kubeconfig.parent)

    def request(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", seconds: float = 10) -> Any:
        """Send one request and return the decoded answer (text where it is not JSON).

        Raises:
            ApiError: status 400 or above, or no connection.

        """
        where = urlsplit(self.server)
        port = where.port or 443
        connection = http.client.HTTPSConnection(str(where.hostname), port, context=self._tls, timeout=seconds)
        headers = {**self._headers, "Accept": "application/json", "Content-Type": content_type, "User-Agent": MANAGER}
        try:
            connection.request(method, where.path + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(0, f"{method} {self.server}{path}: {error}") from error
        finally:
            connection.close()
        try:
            value: Any = json.loads(text)
        except ValueError:
            value = text
        if answer.status >= 400:
            said = value.get("message", text) if isinstance(value, dict) else text
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {said}")
        return value

    def get(self, path: str) -> Any:
        """GET a path."""
        return self.request("GET", path)

    def apply(self, manifest: dict[str, Any]) -> Any:
        """Server-side apply one object, taking over its fields."""
        path = f"{object_path(manifest)}?fieldManager={quote(MANAGER)}&force=true"
        return self.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")

    def apply_file(self, file: Path, **values: str) -> None:
        """Apply every document of a YAML file, after replacing `${NAME}` by `values`."""
        text = file.read_text()
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        for manifest in yaml.safe_load_all(text):
            if manifest:
                self.apply(manifest)

    def delete(self, path: str) -> None:
        """DELETE a path; not finding it is no error."""
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.code != 404:
                raise

    def ready(self) -> bool:
        """Whether the API server says it is ready."""
        try:
            return bool(self.request("GET", "/readyz", seconds=2) == "ok")
        except ApiError:
            return False


def _tls_context(cluster: dict[str, Any], user: dict[str, Any], base: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "certificate-authority-data" in cluster:
        context.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    elif "certificate-authority" in cluster:
        context.load_verify_locations(cafile=str(base / cluster["certificate-authority"]))
    if "client-certificate-data" in user:
        # The ssl module takes a client certificate from files only.
        with tempfile.TemporaryDirectory() as scratch:
            pair = Path(scratch) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
            context.load_cert_chain(pair)
    elif "client-certificate" in user:
        context.load_cert_chain(base / user["client-certificate"], base / user["client-key"])
    return context
