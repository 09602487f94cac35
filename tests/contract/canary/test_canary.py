"""The canary against endpoints that answer, refuse, break and hang."""

from __future__ import annotations

import asyncio
import gzip
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


async def names_an_odd_charset(request: web.Request) -> web.StreamResponse:
    answer = await stream(request, "text/event-stream; charset=hex")
    await answer.write(b'data: {"choices": [{"text": "\xff"}]}\n\n')
    return answer


async def only_ever_comments(request: web.Request) -> web.StreamResponse:
    answer = await stream(request, "text/event-stream")
    while True:
        await answer.write(b": still there\n")
        await asyncio.sleep(0.05)


async def never_ends_its_line(request: web.Request) -> web.StreamResponse:
    answer = await stream(request, "text/event-stream")
    while True:
        await answer.write(b"x" * 16384)


async def packs_it(request: web.Request) -> web.StreamResponse:
    answer = await stream(request, "text/event-stream", **{"Content-Encoding": "gzip"})
    await answer.write(gzip.compress(b'data: {"choices": []}\n' * 10000))
    return answer


async def stream(request: web.Request, kind: str, **headers: str) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": kind, **headers})
    await answer.prepare(request)
    return answer


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
        yield HttpCanary(client, clock=lambda: float(next(ticks)), seconds=1.0)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (answers, Answer(outcome="answered", seconds=1.0)),
        (refuses, Answer(outcome="refused")),
        (says_nothing, Answer(outcome="refused")),
        (fails_late, Answer(outcome="refused")),
        (hangs, Answer(outcome="silent")),
        (names_an_odd_charset, Answer(outcome="answered", seconds=1.0)),
        (only_ever_comments, Answer(outcome="silent")),
        (never_ends_its_line, Answer(outcome="refused")),
        (packs_it, Answer(outcome="refused")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_an_endpoint_does_is_told_apart(serve: Any, canary: HttpCanary, handler: Handler, expected: Answer) -> None:
    assert await canary.ask(await serve(handler), "served") == expected


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1/v1", "not a url", "http://[::bad/v1"])
async def test_an_endpoint_that_is_not_there_is_silent(canary: HttpCanary, endpoint: str) -> None:
    assert (await canary.ask(endpoint, "served")).outcome == "silent"


async def test_only_what_serves_is_asked_and_what_came_of_it_is_exported(serve: Any, canary: HttpCanary) -> None:
    endpoint, store, own = await serve(answers), Store(), OwnMetrics()
    windows = {"minReplicas": 1, "schedules": [{"name": "night", "minReplicas": 0}]}
    kinds: list[tuple[str, int, dict[str, Any]]] = [
        ("up", 1, {"autoscaling": {"minReplicas": 1, "schedules": None}}),
        ("down", 0, {}),
        ("sleeps", 1, {"autoscaling": {"minReplicas": 0}}),
        ("sleeps-at-night", 1, {"autoscaling": windows}),
        ("odd", 1, {"model": 7}),
        ("odder", 1, {"autoscaling": {"schedules": [3]}}),
    ]
    for name, ready, spec in kinds:
        store.put(
            {
                "kind": "LlamaDeployment",
                "metadata": {"name": name, "namespace": "llm", "uid": name, "resourceVersion": "1"},
                "spec": {"model": {"servedName": "served"}, **spec},
                "status": {"readyReplicas": ready, "endpoint": endpoint},
            }
        )
        own.happened(Key("llm", name), Happened())
    await look_around(canary, store, own)
    for name, _, _ in kinds:
        own.show(Key("llm", name), [])
    said = [line for line in own.exposition().decode().splitlines() if line.startswith("llama_operator_canary")]
    assert len(said) == 2
    assert all('llama_operator_dev_deployment="up"' in line for line in said)
