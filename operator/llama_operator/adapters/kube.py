"""The API server: reads, and writes that carry one field manager and are refused when the Lease is not held."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from llama_operator.adapters.kinds import KINDS
from llama_operator.api.depth import CUT, is_shallow, shallow_copy
from llama_operator.ports import CONFLICT, NOT_FOUND, ApiError, Conflict
from llama_operator.rendering import names

TIMEOUT_SECONDS = 10.0
WRITE_TIMEOUT_SECONDS = 4.0
"""Shorter than the Lease's margin (`lease.MARGIN_SECONDS`): a write that was allowed has ended before another may lead."""
PAGE_SIZE = 500
RECURSION_LIMIT = 24_000
"""Python's JSON goes one call deeper with each level, a copy two (Kopf makes some), and Python allows a thousand. The API server lets a
tenant store ten thousand levels (https://github.com/kubernetes-sigs/json, `maxDepth`); a list or an event has some more around them."""
STACK_BYTES = 8 << 20
SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def allow_deep_json() -> None:
    """Let this process read whatever the API server sends: our own requests cut it, but Kopf reads the same objects, and would end by one.

    No more than that: what agents answer may be deeper still, and must end at this limit and not at the stack's, of eight megabytes.
    """
    sys.setrecursionlimit(max(RECURSION_LIMIT, sys.getrecursionlimit()))
    threading.stack_size(STACK_BYTES)  # of threads from now on: some systems give them less than the main thread has


async def connect(kubeconfig: str | None = None, context: str | None = None) -> client.ApiClient:
    """A client from a kubeconfig where one is named, else from the pod's service account, else from the user's kubeconfig."""
    settings = client.Configuration()
    if kubeconfig is None and SERVICE_ACCOUNT_TOKEN.exists():  # noqa: ASYNC240 - one stat at start-up
        config.load_incluster_config(client_configuration=settings)
    else:
        await config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=settings)
    return client.ApiClient(settings)


def apart(api: client.ApiClient) -> client.ApiClient:
    """A client of the same server that shares no connection with the other."""
    return client.ApiClient(api.configuration)


class Kube:
    """Implements Reader and Writer."""

    def __init__(
        self,
        api: client.ApiClient,
        guard: Callable[[], None] = lambda: None,
        on_write: Callable[[str, str], None] | None = None,
        on_error: Callable[[str, int], None] | None = None,
        patience: float | None = None,
    ) -> None:
        """`guard` raises NotLeader when this process must not write; `on_write(verb, kind)` and `on_error(method, status)` count.

        `patience`: no request takes more seconds, and none uses the connection of another. Where one of several API servers is lost, all
        connections to it hang, and whoever asks again must not be given the next of them.
        """
        self._patience = patience
        self._api = api
        self._on_error = on_error or (lambda _method, _status: None)
        self._guard = guard
        self._on_write = on_write or (lambda _verb, _kind: None)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        *,
        cut: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """All objects of a kind, page by page, each of which `cut` may make smaller. Raises ApiError."""
        query: dict[str, str] = {"limit": str(PAGE_SIZE)}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        items: list[dict[str, Any]] = []
        while True:
            page = await self._request("GET", KINDS[kind].path(namespace), query)
            found = page.get("items") or []
            items += map(cut, found) if cut else found
            token = page.get("metadata", {}).get("continue")
            if not token:
                # A list leaves kind and apiVersion out of its items.
                return [{"apiVersion": KINDS[kind].api_version, "kind": kind, **item} for item in items]
            query["continue"] = token

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object; None where it is not. Raises ApiError."""
        try:
            return await self._request("GET", KINDS[kind].path(namespace, name))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make an object; None when one of that name exists. Raises ApiError, NotLeader."""
        self._begin("create", manifest["kind"])
        path = KINDS[manifest["kind"]].path(manifest["metadata"].get("namespace"))
        try:
            return await self._request("POST", path, {"fieldManager": names.FIELD_MANAGER}, manifest)
        except Conflict as error:
            if error.reason == "AlreadyExists":
                return None
            raise

    async def apply(self, manifest: Mapping[str, Any], subresource: str | None = None) -> dict[str, Any]:
        """Server-side apply. The uid in the metadata, where there is one, keeps it from making a deleted object anew. Raises ApiError,
        NotLeader.
        """
        self._begin("apply", manifest["kind"])
        metadata = manifest["metadata"]
        path = KINDS[manifest["kind"]].path(metadata.get("namespace"), metadata["name"], subresource)
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", path, query, manifest, "application/apply-patch+yaml")

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Merge patch (a mapping) or JSON patch (a list); None when the object is gone. Raises ApiError, NotLeader."""
        self._begin("patch", kind)
        content = "application/merge-patch+json" if isinstance(patch, Mapping) else "application/json-patch+json"
        try:
            return await self._request("PATCH", KINDS[kind].path(namespace, name), {"fieldManager": names.FIELD_MANAGER}, patch, content)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """Delete an object, if it is still the one with that uid. Raises ApiError, NotLeader."""
        self._begin("delete", kind)
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._request("DELETE", KINDS[kind].path(namespace, name), {}, options)
        except ApiError as error:
            # Gone, or another object bears the name by now: either way this one is not there.
            if error.status not in (NOT_FOUND, CONFLICT):
                raise

    async def replace(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """PUT with the resourceVersion that was read: the Lease's compare-and-swap. Not guarded, since it decides who holds the Lease.
        Raises ApiError.
        """
        metadata = manifest["metadata"]
        return await self._request("PUT", KINDS[manifest["kind"]].path(metadata["namespace"], metadata["name"]), {}, manifest)

    async def create_unguarded(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """POST before the Lease is held: the Lease itself. Raises ApiError, Conflict."""
        return await self._request("POST", KINDS[manifest["kind"]].path(manifest["metadata"]["namespace"]), {}, manifest)

    def _begin(self, verb: str, kind: str) -> None:
        self._guard()
        self._on_write(verb, kind)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        seconds = TIMEOUT_SECONDS if method == "GET" else WRITE_TIMEOUT_SECONDS
        headers = {"Accept": "application/json", "Content-Type": content_type}
        if self._patience is not None:
            seconds = min(seconds, self._patience)
            headers["Connection"] = "close"
        method, url, headers, body, _ = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=aiohttp.ClientTimeout(total=seconds))
            text = await answer.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._on_error(method, 0)
            raise ApiError(0, "NoAnswer", f"{method} {path}: {error or type(error).__name__}") from error
        # That something is not there, or is there already, or has changed, is an answer and no error.
        if answer.status >= 400 and answer.status not in (NOT_FOUND, CONFLICT):
            self._on_error(method, answer.status)
        return _parse(answer.status, text, f"{method} {path}")


def _parse(status: int, text: bytes, what: str) -> dict[str, Any]:
    try:
        body = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise ApiError(status, "NotJson", f"{what}: the answer is not JSON, or nested without end") from error
    if not is_shallow(body, CUT):
        body = shallow_copy(body)
    if status < 300 and isinstance(body, dict):
        return body
    reason = str(body.get("reason", "")) if isinstance(body, dict) else ""
    message = str(body.get("message", "")) if isinstance(body, dict) else ""
    kind = Conflict if status == CONFLICT else ApiError
    raise kind(status, reason, f"{what}: {message}")
