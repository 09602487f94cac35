"""Kopf as the source of events: every change of a LlamaDeployment or of a child puts its key into the work queue. Nothing is decided here.

Kopf's change handlers, timers, daemons and indexes are not used: they lose updates, miss deletions after a 410, or die for good after one
failed patch (docs/adr/0001-kopf-as-event-source.md). The resync covers what a watch misses.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import kopf

from llama_operator.adapters.kinds import CHILD_KINDS, KINDS
from llama_operator.control.settings import Settings
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue
from llama_operator.rendering import names

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def make_registry(store: Store, queue: WorkQueue[names.Key], settings: Settings) -> kopf.OperatorRegistry:
    """Handlers that fill the store and the queue."""
    registry = kopf.OperatorRegistry()

    async def observe(type: str | None, body: Any, **_: Any) -> None:  # noqa: A002 - Kopf's name of the argument
        manifest = _plain(body)
        metadata = manifest["metadata"]
        kind = manifest["kind"]
        if kind == names.KIND:
            key: names.Key | None = names.Key(metadata["namespace"], metadata["name"])
        else:
            key = names.key_of(metadata.get("labels") or {}, metadata["namespace"])
        if kind != "Pod":
            if type == "DELETED":
                store.drop(kind, metadata["namespace"], metadata["name"], metadata.get("uid"))
            else:
                store.put(manifest)
        if key:
            queue.add(key)

    for kind in (names.KIND, "Pod", *CHILD_KINDS):
        place = KINDS[kind]
        version = place.prefix.rsplit("/", 1)[1]
        group = place.prefix.split("/")[2] if place.prefix.startswith("/apis/") else ""
        kopf.on.event(group, version, place.plural, id=f"observe-{place.plural}", registry=registry)(observe)

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        if settings.kubeconfig or not SERVICE_ACCOUNT.exists():
            return kopf.login_with_kubeconfig(**kwargs)
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        return kopf.ConnectionInfo(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            ca_path=str(SERVICE_ACCOUNT / "ca.crt"),
            token=(SERVICE_ACCOUNT / "token").read_text().strip(),
        )

    return registry


def make_kopf_settings() -> kopf.OperatorSettings:
    """Kopf's settings: it watches, and neither posts events nor keeps anything in annotations."""
    options = kopf.OperatorSettings()
    options.posting.enabled = False
    options.scanning.disabled = True
    options.watching.server_timeout = 240
    options.watching.client_timeout = 300
    options.watching.connect_timeout = 10
    options.networking.request_timeout = 30
    # Kopf ends the whole operator when these run out; an API server that fails for an hour is no reason to.
    options.networking.error_backoffs = _Backoffs()
    for kind in ("Pod", *CHILD_KINDS):
        options.watching.label_selectors[KINDS[kind].plural] = names.MANAGED_SELECTOR
    return options


class _Backoffs:
    """Pauses without end, in seconds; Kopf iterates over them anew for each request."""

    def __iter__(self) -> Any:
        return itertools.chain((1, 1, 2, 3, 5, 8), itertools.repeat(15))


def _plain(body: Any) -> dict[str, Any]:
    """Kopf's read-only view as the plain dict that it wraps."""
    return {key: _unwrap(value) for key, value in dict(body).items()}


def _unwrap(value: Any) -> Any:
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: _unwrap(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unwrap(item) for item in value]
    return value
