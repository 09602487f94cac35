"""The API server as it answers over HTTP: conflicts told apart, pages joined, and every bad answer an ApiError that names the request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from llama_operator.adapters import kube
from llama_operator.adapters.kube import Kube
from llama_operator.ports import ApiError, Conflict, NotLeader

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "llm"}}


async def serve(handler: Handler, call: Callable[[Kube], Awaitable[Any]], **options: Any) -> Any:
    """Run `call` against a server that answers every request with `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{port}"
    adapter = Kube(client.ApiClient(settings), **options)
    try:
        return await call(adapter)
    finally:
        await adapter.close()
        await runner.cleanup()


def says(status: int, body: Any) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json")

    return handler


def failure(status: int, reason: str, message: str = "because") -> Handler:
    return says(status, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status})


async def test_a_create_of_what_exists_is_none_and_a_conflict_is_raised() -> None:
    assert await serve(failure(409, "AlreadyExists"), lambda api: api.create(POD)) is None
    with pytest.raises(Conflict):
        await serve(failure(409, "Conflict"), lambda api: api.create(POD))


async def test_what_is_not_there_is_none_for_a_get_and_a_patch_and_nothing_for_a_delete() -> None:
    gone = failure(404, "NotFound")
    assert await serve(gone, lambda api: api.get("Pod", "llm", "a")) is None
    assert await serve(gone, lambda api: api.patch("Pod", "llm", "a", {})) is None
    assert await serve(gone, lambda api: api.delete("Pod", "llm", "a", uid="u")) is None
    assert await serve(failure(409, "Conflict"), lambda api: api.delete("Pod", "llm", "a", uid="u")) is None


@pytest.mark.parametrize(
    ("handler", "status", "reason"),
    [
        (failure(401, "Unauthorized"), 401, "Unauthorized"),
        (failure(403, "Forbidden"), 403, "Forbidden"),
        (failure(410, "Expired"), 410, "Expired"),
        (failure(422, "Invalid"), 422, "Invalid"),
        (failure(429, "TooManyRequests"), 429, "TooManyRequests"),
        (failure(500, "InternalError"), 500, "InternalError"),
        (says(502, "<html>bad gateway</html>"), 502, "NotJson"),
        (says(200, "<html>log in</html>"), 200, "NotJson"),
        (says(200, '{"items": ['), 200, "NotJson"),
        (says(503, []), 503, ""),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
async def test_every_other_answer_is_an_error_that_names_the_request(handler: Handler, status: int, reason: str) -> None:
    with pytest.raises(ApiError, match="GET /api/v1/namespaces/llm/pods") as raised:
        await serve(handler, lambda api: api.list("Pod", "llm"))
    assert (raised.value.status, raised.value.reason) == (status, reason)


async def test_an_answer_that_does_not_come_in_time_is_an_error_without_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "TIMEOUT_SECONDS", 0.1)
    end = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        await end.wait()
        return web.Response()

    async def call(api: Kube) -> Any:
        try:
            return await api.list("Pod")
        finally:
            end.set()

    with pytest.raises(ApiError) as raised:
        await serve(never, call)
    assert (raised.value.status, raised.value.reason) == (0, "NoAnswer")


async def test_a_server_that_is_not_there_is_an_error_without_status() -> None:
    settings = client.Configuration()
    settings.host = "http://127.0.0.1:1"
    adapter = Kube(client.ApiClient(settings))
    try:
        with pytest.raises(ApiError) as raised:
            await adapter.get("Pod", "llm", "a")
    finally:
        await adapter.close()
    assert raised.value.reason == "NoAnswer"


async def test_pages_are_joined_and_items_get_their_kind_and_version() -> None:
    asked: list[dict[str, str]] = []

    async def pages(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        second = "continue" in request.query
        name, more = ("b", "") if second else ("a", "next")
        return web.json_response({"metadata": {"continue": more}, "items": [{"metadata": {"name": name}}]})

    found = await serve(pages, lambda api: api.list("Pod", labels="a=b", fields="spec.nodeName!="))
    assert found == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}} for name in "ab"]
    assert asked[1] == {"limit": "500", "labelSelector": "a=b", "fieldSelector": "spec.nodeName!=", "continue": "next"}
    cut = await serve(pages, lambda api: api.list("Pod", cut=lambda item: {"name": item["metadata"]["name"]}))
    assert cut == [{"apiVersion": "v1", "kind": "Pod", "name": name} for name in "ab"]


async def test_writes_go_where_and_as_they_should() -> None:
    seen: list[tuple[str, str, str, Any]] = []

    async def echo(request: web.Request) -> web.Response:
        body = await request.json()
        seen.append((request.method, request.path_qs, request.content_type, body))
        return web.json_response(POD)

    async def calls(api: Kube) -> None:
        await api.create(POD)
        await api.apply(POD, "status")
        await api.patch("Pod", "llm", "a", {"metadata": {"labels": {}}})
        await api.patch("Pod", "llm", "a", [{"op": "test"}])
        await api.delete("Pod", "llm", "a", uid="u", grace_seconds=0)

    await serve(echo, calls)
    path = "/api/v1/namespaces/llm/pods"
    assert [(method, where, kind) for method, where, kind, _ in seen] == [
        ("POST", f"{path}?fieldManager=llama-operator", "application/json"),
        ("PATCH", f"{path}/a/status?fieldManager=llama-operator&force=true", "application/apply-patch+yaml"),
        ("PATCH", f"{path}/a?fieldManager=llama-operator", "application/merge-patch+json"),
        ("PATCH", f"{path}/a?fieldManager=llama-operator", "application/json-patch+json"),
        ("DELETE", f"{path}/a", "application/json"),
    ]
    assert seen[-1][3]["preconditions"] == {"uid": "u"}
    assert (seen[-1][3]["gracePeriodSeconds"], seen[-1][3]["propagationPolicy"]) == (0, "Background")


async def test_without_the_lease_nothing_is_sent() -> None:
    asked: list[str] = []

    async def count(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.json_response({})

    def refuse() -> None:
        raise NotLeader("lost")

    for call in (
        lambda api: api.create(POD),
        lambda api: api.apply(POD),
        lambda api: api.patch("Pod", "llm", "a", {}),
        lambda api: api.delete("Pod", "llm", "a"),
    ):
        with pytest.raises(NotLeader):
            await serve(count, call, guard=refuse)
    assert asked == []
