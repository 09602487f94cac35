"""Kopf's own watches against an API server that has forgotten: 410 as an event of the stream, and as the answer's status.

From the deletion that no watch told to the child that is made again, the way is shown in `tests/sim/test_stories.py`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llama_operator.adapters.kinds import CHILD_KINDS, KINDS
from llama_operator.adapters.kube import Kube, allow_deep_json, connect
from llama_operator.api.depth import CUT, is_shallow
from llama_operator.api.validation import validate
from llama_operator.control.handlers import observe, watch
from llama_operator.control.resync import resync
from llama_operator.control.settings import Settings
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue
from llama_operator.rendering import names

WATCHED = (names.KIND, "Pod", *CHILD_KINDS)
KEY = names.Key("llm", "demo")
SERVICE = "Service", KEY.name
HOSTILE, DEEP = names.Key("llm", "hostile"), "stands for what is deep"
GONE = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}


class Server:
    """Discovery, lists and watches of what the operator watches. It can end every watch and forget what happened until then."""

    def __init__(self, refuses: str = "", busy: bool = False) -> None:
        """`refuses` is a kind whose watch gets its 410 as the answer's status. A busy server then lets every other watch wait for its answer."""
        self.refuses, self.busy = refuses, busy
        self.objects, self.log = dict[tuple[str, str], dict[str, Any]](), list[tuple[int, str, dict[str, Any]]]()
        self.version, self.oldest, self.levels = 100, 0, 0
        self.lists, self.refused = Counter[str](), Counter[str]()
        self.streams = list[asyncio.Queue[tuple[int, str, dict[str, Any]] | None]]()
        self.back, self.idle, self.kept = asyncio.Event(), asyncio.Event(), set[str]()
        self.back.set()
        for kind in WATCHED:
            self.put(kind, KEY.name, event="ADDED")

    def put(self, kind: str, name: str, generation: int = 1, event: str = "MODIFIED") -> None:
        """Make, change, or with DELETED remove an object."""
        self.version += 1
        labels = {} if kind == names.KIND else names.common_labels(KEY.name)
        metadata = {"namespace": KEY.namespace, "name": name, "uid": f"{kind}-{name}", "labels": labels, "generation": generation}
        made = {"kind": kind, "apiVersion": KINDS[kind].api_version, "metadata": metadata | {"resourceVersion": str(self.version)}}
        made |= {"spec": {"podTemplate": DEEP}} if name == HOSTILE.name else {}
        self.objects[kind, name] = made
        if event == "DELETED":
            del self.objects[kind, name]
        self.log.append((self.version, event, made))
        for stream in self.streams:
            stream.put_nowait(self.log[-1])

    def cut(self) -> None:
        """End every watch; a new one waits until `forget`."""
        self.back.clear()
        for stream in self.streams:
            stream.put_nowait(None)
        self.streams.clear()

    def forget(self) -> None:
        """Answer watches again: what happened so far is not known any more."""
        self.oldest = self.version
        self.back.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        for kind in WATCHED:
            if path == KINDS[kind].path(None):
                return await (self._watch(request, kind) if request.query.get("watch") else self._list(kind))
        return web.json_response(self._discovery(path))

    async def _list(self, kind: str) -> web.Response:
        self.lists[kind] += 1
        items = [made for (of, _), made in self.objects.items() if of == kind]
        text = self._text({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        return web.Response(text=text, content_type="application/json")

    def _text(self, body: Any) -> str:
        """As JSON, and what is DEEP so many levels deep."""
        return json.dumps(body).replace(f'"{DEEP}"', '{"a":' * self.levels + "1" + "}" * self.levels)

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        await self.back.wait()
        seen = int(request.query["resourceVersion"])
        if seen < self.oldest:
            self.refused[kind] += 1
            if kind == self.refuses:
                await until("every other watch waits", lambda: not self.busy or self.kept == set(WATCHED) - {kind})
                return web.json_response(GONE, status=410)
            return web.Response(text=json.dumps({"type": "ERROR", "object": GONE}) + "\n", content_type="application/json")
        if self.busy and self.oldest:
            self.kept.add(kind)
            await self.idle.wait()
        news = asyncio.Queue[tuple[int, str, dict[str, Any]] | None]()
        self.streams.append(news)
        for entry in self.log:
            news.put_nowait(entry)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        while (entry := await news.get()) is not None:
            version, event, made = entry
            if version > seen and made["kind"] == kind:
                await answer.write(self._text({"type": event, "object": made}).encode() + b"\n")
        return answer

    def _discovery(self, path: str) -> Any:
        prefixes = {KINDS[kind].prefix for kind in WATCHED} | {"/apis/apiextensions.k8s.io/v1"}
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/apis":
            versions = [prefix.removeprefix("/apis/") for prefix in prefixes if prefix.startswith("/apis/")]
            each = [(found.split("/")[0], {"groupVersion": found, "version": found.split("/")[1]}) for found in versions]
            return {"groups": [{"name": group, "versions": [version], "preferredVersion": version} for group, version in each]}
        found = [(KINDS[kind].plural, kind) for kind in WATCHED if KINDS[kind].prefix == path]
        # Kopf begins only where there are these two.
        found += [("namespaces", "Namespace")] if path == "/api/v1" else []
        found += [("customresourcedefinitions", "CustomResourceDefinition")] if "apiextensions" in path else []
        rest = {"singularName": "", "namespaced": True, "verbs": ["get", "list", "watch", "patch"]}
        return {"resources": [{"name": plural, "kind": kind, **rest} for plural, kind in found]}


@asynccontextmanager
async def serving(server: Server, settings: Settings) -> AsyncIterator[Kube]:
    """The server, a kubeconfig of it, and our own client."""
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    await asyncio.to_thread(Path(str(settings.kubeconfig)).write_text, json.dumps(config))
    kube = Kube(await connect(settings.kubeconfig))
    try:
        yield kube
    finally:
        await kube.close()
        await runner.cleanup()


@asynccontextmanager
async def watching(store: Store, queue: WorkQueue[names.Key], settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """Kopf, as the operator runs it."""
    task = asyncio.create_task(watch(partial(observe, store, queue), settings))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for thread in [thread for thread in threading.enumerate() if thread.name == "kopf"]:
            await asyncio.to_thread(thread.join, 20)
            assert not thread.is_alive(), "Kopf's loop is open still"


async def until(what: str, condition: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 30
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.02)


async def worked_off(queue: WorkQueue[names.Key]) -> list[names.Key]:
    """The keys that wait, taken out."""
    keys = []
    while len(queue):
        keys.append(await queue.get())
        queue.done(keys[-1])
    return keys


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With the kubeconfig that Kopf reads; `serving` writes it."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return Settings(kubeconfig=str(tmp_path / "kubeconfig"))


@pytest.fixture
def deep_json() -> Iterator[None]:
    """As the operator's process begins."""
    before = sys.getrecursionlimit()
    allow_deep_json()
    yield
    sys.setrecursionlimit(before)


def generation(store: Store) -> int:
    return int((store.deployment(KEY) or {"metadata": {"generation": 0}})["metadata"]["generation"])


async def go_blind(server: Server, store: Store) -> None:
    """From a store that is full, by way of a watch that works, to changes that no watch will ever tell."""
    await until("everything is known", lambda: generation(store) == 1 and SERVICE in store.children(KEY))
    await until("every kind is listed", lambda: set(server.lists) == set(WATCHED))
    server.put(names.KIND, KEY.name, generation=2)
    await until("a change comes", lambda: generation(store) == 2)
    server.cut()
    server.put(*SERVICE, event="DELETED")
    server.put(names.KIND, KEY.name, generation=3)
    server.forget()


async def test_a_watch_that_tells_410_lists_again_and_a_resync_notices_what_was_deleted_meanwhile(settings: Settings) -> None:
    server, store, queue = Server(), Store(), WorkQueue[names.Key]()
    async with serving(server, settings) as kube, watching(store, queue, settings) as kopf:
        await go_blind(server, store)
        await until("what changed meanwhile is known", lambda: generation(store) == 3)
        await until("every kind is listed again", lambda: all(server.lists[kind] >= 2 for kind in WATCHED))
        assert set(server.refused) == set(WATCHED)
        # No list says what is not in it any more, and the watch begins after it.
        assert SERVICE in store.children(KEY)
        await worked_off(queue)
        await resync(kube, store, queue, ())
        assert SERVICE not in store.children(KEY)
        assert await worked_off(queue) == [KEY]

        server.put("Pod", "another")
        await until("a later change comes", lambda: len(queue))
        assert not kopf.done()


async def refused(server: Server, settings: Settings) -> None:
    """A process that ends for it."""
    store = Store()
    async with watching(store, WorkQueue[names.Key](), settings) as kopf:
        await go_blind(server, store)
        with pytest.raises(Exception, match="too old resource version"):
            await asyncio.wait_for(kopf, 30)


@pytest.mark.parametrize("busy", [False, True], ids=["", "while the others wait for theirs"])
async def test_a_watch_that_is_refused_with_410_ends_the_process_and_the_next_one_begins_with_lists(settings: Settings, busy: bool) -> None:
    """Kubernetes tells 410 in the stream; a proxy before it might not. Never must a watch end while the operator goes on without it."""
    server = Server(refuses="Service", busy=busy)
    async with serving(server, settings) as kube:
        await refused(server, settings)
        server.idle.set()
        store, queue = Store(), WorkQueue[names.Key]()
        await resync(kube, store, queue, ())
        assert (generation(store), SERVICE in store.children(KEY)) == (3, False)
        assert await worked_off(queue) == [KEY]
        server.lists.clear()
        async with watching(store, queue, settings):
            await until("every kind is listed again", lambda: set(server.lists) == set(WATCHED))
            server.put(names.KIND, KEY.name, generation=4)
            await until("a later change comes", lambda: generation(store) == 4)


@pytest.mark.usefixtures("deep_json")
@pytest.mark.parametrize("levels", [5_000, 9_980])
async def test_one_object_that_is_as_deep_as_the_api_server_allows_stops_neither_watch_nor_list(settings: Settings, levels: int) -> None:
    server, store, queue = Server(), Store(), WorkQueue[names.Key]()
    server.levels = levels
    server.put(names.KIND, HOSTILE.name, event="ADDED")
    async with serving(server, settings) as kube:
        await resync(kube, store, queue, ())
        assert sorted(await worked_off(queue)) == [KEY, HOSTILE]
        listed = store.deployment(HOSTILE)
        store = Store()
        async with watching(store, queue, settings) as kopf:
            await until("both are known", lambda: {KEY, HOSTILE} <= set(store.deployments()))
            server.put(names.KIND, HOSTILE.name, generation=2)
            server.put(names.KIND, KEY.name, generation=2)
            await until("a later change comes", lambda: generation(store) == 2)
            assert not kopf.done()
        for seen in (listed, store.deployment(HOSTILE)):
            assert is_shallow(seen, CUT)
            assert "spec.podTemplate" in [problem.field for problem in validate(seen)]
