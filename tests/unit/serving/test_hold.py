"""Requests that are held while no replica runs: so many, so long, and beyond that an answer that says when to come again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from llama_serving.hold import Hold

CHAT = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}


class Proxy:
    """Serve's proxy: answers once `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 499, "headers": []})
            raise
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})


class Stage:
    """A Hold around a Proxy, with a clock that is set by hand."""

    def __init__(self, **bounds: Any) -> None:
        self.now, self.proxy = 100.0, Proxy()
        self.hold = Hold(self.proxy, clock=lambda: self.now, **bounds)

    async def ask(self, **scope: Any) -> tuple[int, dict[str, str], bytes]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        await self.hold({**CHAT, **scope}, receive, send)
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        return sent[0]["status"], headers, sent[1]["body"]

    async def begin(self, count: int) -> list[asyncio.Task[Any]]:
        tasks = [asyncio.create_task(self.ask()) for _ in range(count)]
        await asyncio.sleep(0)  # until they are inside
        await asyncio.sleep(0)
        return tasks


async def test_requests_wait_until_a_replica_answers() -> None:
    stage = Stage()
    tasks = await stage.begin(3)
    assert stage.hold.waiting == 3
    stage.proxy.gate.set()
    assert [answer[0] for answer in await asyncio.gather(*tasks)] == [200, 200, 200]
    assert stage.hold.waiting == 0


async def test_beyond_the_number_a_request_is_refused_at_once_and_told_when_to_come_again() -> None:
    stage = Stage(most=2)
    tasks = await stage.begin(2)
    status, headers, body = await stage.ask()
    assert (status, headers["retry-after"], stage.proxy.asked) == (503, "60", 2)
    assert json.loads(body)["error"]["message"] == (
        "The model is scaled to zero or still loads, and 2 requests wait for a replica already. Try again in 60 s."
    )
    stage.proxy.gate.set()
    assert [answer[0] for answer in await asyncio.gather(*tasks)] == [200, 200]


async def test_what_the_last_load_took_is_what_is_told_less_what_has_passed() -> None:
    stage = Stage(most=1)
    for _ in range(2):
        stage.proxy.gate.clear()
        (task,) = await stage.begin(1)
        stage.now += 90
        assert stage.hold.retry_after() == (60 if stage.now < 200 else 5)
        stage.proxy.gate.set()
        await task
    stage.proxy.gate.clear()
    (task,) = await stage.begin(1)
    stage.now += 30
    assert (await stage.ask())[1]["retry-after"] == "60"
    stage.now += 20
    assert (await stage.ask())[1]["retry-after"] == "40"
    stage.proxy.gate.set()
    await task


async def test_nobody_is_held_longer_than_the_bound_and_only_one_answer_is_given() -> None:
    stage = Stage(longest=0.01)
    status, headers, body = await stage.ask()
    assert (status, headers["retry-after"], stage.hold.waiting) == (503, "60", 0)
    assert b"no replica was there within 0 s" in body


async def test_a_client_that_goes_is_forgotten() -> None:
    stage = Stage()
    (task,) = await stage.begin(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stage.hold.waiting == 0


@pytest.mark.parametrize("other", [{"method": "GET"}, {"path": "/internal/route"}, {"path": "/-/healthz"}])
async def test_what_is_no_request_to_the_model_passes(other: dict[str, Any]) -> None:
    stage = Stage(most=1)
    tasks = await stage.begin(1)
    stage.proxy.gate.set()
    assert (await stage.ask(**other))[0] == 200
    await asyncio.gather(*tasks)
