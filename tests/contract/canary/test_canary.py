"""The canary against endpoints that answer, refuse, break and hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from aiohttp import web

from llama_operator.adapters.canary import Answer, HttpCanary
from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.control.canary import look_around
from llama_operator.control.store import Store
from llama_operator.lifecycle.measures import Happened
from llama_operator.rendering.names import Key

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answers(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    assert (body["max_tokens"], body["stream"], body["model"]) == (1, True, "served")
    return web.Response(text='data: {"choices": [{"text": "x"}]}\n\ndata: [DONE]\n\n', content_type="text/event-stream")


async def refuses(_: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "no replica"}, status=503)


async def says_nothing(_: web.Request) -> web.StreamResponse:
    return web.Response(text="data: [DONE]\n\n", content_type="text/event-stream")


async def fails_late(_: web.Request) -> web.StreamResponse:
    return web.Response(text='data: {"error": {"message": "engine died"}}\n\n', content_type="text/event-stream")


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_post("/v1/completions", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def canary() -> AsyncIterator[HttpCanary]:
    ticks = iter(range(100))
    async with httpx.AsyncClient(timeout=0.5, trust_env=False) as client:
        yield HttpCanary(client, clock=lambda: float(next(ticks)))


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (answers, Answer(outcome="answered", seconds=1.0)),
        (refuses, Answer(outcome="refused")),
        (says_nothing, Answer(outcome="refused")),
        (fails_late, Answer(outcome="refused")),
        (hangs, Answer(outcome="silent")),
    ],
    ids=["answers", "refuses", "says nothing", "fails late", "hangs"],
)
async def test_what_an_endpoint_does_is_told_apart(serve: Any, canary: HttpCanary, handler: Handler, expected: Answer) -> None:
    assert await canary.ask(await serve(handler), "served") == expected


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1/v1", "not a url", "http://[::bad/v1"])
async def test_an_endpoint_that_is_not_there_is_silent(canary: HttpCanary, endpoint: str) -> None:
    assert (await canary.ask(endpoint, "served")).outcome == "silent"


async def test_only_what_serves_is_asked_and_what_came_of_it_is_exported(serve: Any, canary: HttpCanary) -> None:
    endpoint, store, own = await serve(answers), Store(), OwnMetrics()
    for name, ready in (("up", 1), ("down", 0)):
        store.put(
            {
                "kind": "LlamaDeployment",
                "metadata": {"name": name, "namespace": "llm", "uid": name, "resourceVersion": "1"},
                "spec": {"model": {"servedName": "served"}},
                "status": {"readyReplicas": ready, "endpoint": endpoint},
            }
        )
        own.happened(Key("llm", name), Happened())
    await look_around(canary, store, own)
    for name in ("up", "down"):
        own.show(Key("llm", name), [])
    said = [line for line in own.exposition().decode().splitlines() if line.startswith("llama_operator_canary")]
    assert len(said) == 2
    assert all('llama_operator_dev_deployment="up"' in line for line in said)
