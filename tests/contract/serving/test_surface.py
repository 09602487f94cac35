"""The simulated engine's HTTP app by itself: what an OpenAI client meets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from bench.endpoint.barehost import free_port

from llama_serving.engines.simulated import SimulatedArgs, SimulatedEngine

pytestmark = pytest.mark.serving
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    import asyncio

    import uvicorn

    from llama_serving.engines.openai_surface import build_surface

    engine = SimulatedEngine(SimulatedArgs(load_seconds=0, tokens_per_second=1000), context_tokens=100)
    await engine.load(lambda _: None)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(build_surface(engine, "m"), host="127.0.0.1", port=port, log_level="warning", ws="none"))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 -- uvicorn tells by this flag alone
            await asyncio.sleep(0.02)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    server.should_exit = True
    await task


async def test_the_model_is_listed_and_can_be_looked_up(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/models") as answer:
        assert [card["id"] for card in (await answer.json())["data"]] == ["m"]
    async with client.get("/v1/models/m") as answer:
        assert (await answer.json())["max_model_len"] == 100
    async with client.get("/v1/models/other") as answer:
        assert answer.status == 404
    async with client.get("/health") as answer:
        assert answer.status == 200


async def test_a_stream_is_a_role_then_words_then_usage_then_done(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/chat/completions", json={**CHAT, "stream": True, "stream_options": {"include_usage": True}}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line[6:] for line in (await answer.text()).split("\n\n") if line]
    assert events[-1] == "[DONE]"
    bodies = [json.loads(event) for event in events[:-1]]
    assert bodies[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [body["choices"][0]["finish_reason"] for body in bodies[1:4]] == [None, None, "length"]
    assert bodies[4]["usage"]["completion_tokens"] == 3
    assert len({body["id"] for body in bodies}) == 1


async def test_an_answer_that_is_not_streamed_comes_whole(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/completions", json={"model": "m", "prompt": "hello", "max_tokens": 2}) as answer:
        body = await answer.json()
    assert body["object"] == "text_completion"
    assert body["choices"][0]["finish_reason"] == "length"


async def test_what_users_say_is_in_no_log(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even where the request is refused, and whatever the level."""
    caplog.set_level(0)
    for more in ({}, {"stream": True}, {"max_tokens": 1_000_000}, {"max_tokens": "x"}):
        body = {**CHAT, "messages": [{"role": "user", "content": "canary-of-a-prompt"}], **more}
        async with client.post("/v1/chat/completions", json=body) as answer:
            await answer.read()
    said = capfd.readouterr()
    assert "canary" not in caplog.text + said.out + said.err


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (json.dumps({**CHAT, "model": "x"}).encode(), 404)])
async def test_a_bad_body_gets_an_openai_error(client: aiohttp.ClientSession, body: bytes, status: int) -> None:
    async with client.post("/v1/chat/completions", data=body) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["code"] == status
