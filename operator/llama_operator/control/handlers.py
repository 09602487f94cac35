"""Kopf as the source of events: every change of a LlamaDeployment but its status, or of a child, puts its key into the work queue. Nothing
is decided here.

Kopf's change handlers, timers, daemons and indexes are not used: they lose updates, miss deletions after a 410, or die for good after one
failed patch (docs/adr/0001-kopf-as-event-source.md). The resync covers what a watch misses.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import kopf

from llama_operator.adapters.kinds import CHILD_KINDS, KINDS
from llama_operator.api.depth import shallow_copy
from llama_operator.control.settings import Settings
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue
from llama_operator.rendering import names

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

ENDING_SECONDS = 1.0
"""After it what has not ended is cancelled again; longer than Kopf's 0.1 s between a watch that ends and the next one."""


Deliver = Callable[[str | None, dict[str, Any]], None]
"""Takes an event's type (None for what was there at the start) and the object."""


def observe(store: Store, queue: WorkQueue[names.Key], event: str | None, manifest: dict[str, Any]) -> None:
    """One event: the store learns of it, and the LlamaDeployment it concerns is looked at.

    Unless it only tells of a status: nearly always that of our own last pass. A status that says something new in every pass, as an agent
    may bring about, would else make a pass for each write without any pause.
    """
    metadata, kind = manifest["metadata"], manifest["kind"]
    if kind == names.KIND:
        key: names.Key | None = names.Key(metadata["namespace"], metadata["name"])
    else:
        key = names.key_of(metadata.get("labels") or {}, metadata["namespace"])
    only_status = False
    if kind != "Pod":
        if event == "DELETED":
            store.drop(kind, metadata["namespace"], metadata["name"], metadata.get("uid"))
        else:
            store.put(manifest)
        only_status = kind == names.KIND and not store.heard(manifest, gone=event == "DELETED")
    if key and not only_status:
        queue.add(key)


async def watch(deliver: Deliver, settings: Settings) -> None:
    """Watch until cancelled. Raises what ended Kopf.

    Kopf runs in a thread of its own: it takes the signal handlers of the main thread, and cancels tasks that are not its own when it ends.
    """
    loop, halt = asyncio.get_running_loop(), threading.Event()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    def tell(error: BaseException | None) -> None:
        # Kopf waits for the flag in a thread of its own, and its loop does not close before that one ends.
        halt.set()
        _call(loop, settle, error)

    async def operate() -> None:
        tasks = await kopf.spawn_tasks(
            registry=make_registry(partial(_call, loop, deliver), settings),
            settings=make_kopf_settings(),
            standalone=True,
            # Kopf would ask the system for a user name, and the image's user has none.
            identity=cast("Any", settings.pod_name),
            clusterwide=not settings.watch_namespaces,
            namespaces=settings.watch_namespaces,
            stop_flag=halt,
        )
        first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # Told before anything is tidied up: the rest may be slow to end.
        tell(next((error for task in first if not task.cancelled() and (error := task.exception())), None))
        await _end(tasks)

    def run() -> None:
        error: BaseException | None = None
        try:
            asyncio.run(operate())
        except BaseException as caught:  # noqa: BLE001 - it is raised again in the main thread
            error = caught
        tell(error)

    threading.Thread(target=run, name="kopf", daemon=True).start()
    try:
        await ended
    finally:
        halt.set()


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel Kopf's tasks, then what these began, as often as it takes.

    Kopf's own end (`kopf.run_tasks`) cancels once and waits. A watch that waits for the head of its answer can swallow that (Kopf's
    `api.stream` takes it for a pause), and begins anew: Kopf would never end.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, _ = await asyncio.wait(left, timeout=ENDING_SECONDS)
        for task in ended:
            # Looked at, or Python reports it as an error that nobody saw. The first one has been told.
            _ = task.cancelled() or task.exception()
        left = asyncio.all_tasks() - {asyncio.current_task()}


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *given: Any) -> None:
    """In the main loop, from Kopf's thread."""
    with suppress(RuntimeError):  # the loop is closed: the process ends, and nobody is left who would want to hear it
        loop.call_soon_threadsafe(function, *given)


def make_registry(deliver: Deliver, settings: Settings) -> kopf.OperatorRegistry:
    """Handlers that deliver every event, and the way to log in."""
    registry = kopf.OperatorRegistry()

    async def receive(type: str | None, body: Any, **_: Any) -> None:  # noqa: A002 - Kopf's name of the argument
        deliver(type, shallow_copy(body))

    for kind in (names.KIND, "Pod", *CHILD_KINDS):
        place = KINDS[kind]
        version = place.prefix.rsplit("/", 1)[1]
        group = place.prefix.split("/")[2] if place.prefix.startswith("/apis/") else ""
        kopf.on.event(group, version, place.plural, id=f"observe-{place.plural}", registry=registry)(receive)

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
