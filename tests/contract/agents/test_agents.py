"""The agents' HTTP port as docs/contracts.md has it. A pod is the user's: whatever answers there must not stop the operator."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.harness.http import dripping, local_client

from llama_operator.adapters import agents as adapter
from llama_operator.adapters.agents import HttpAgents
from llama_operator.adapters.bounded import make_client
from llama_operator.lifecycle.observed import Agent, Unknown
from llama_operator.ports import AgentError

EXAMPLE = {
    "schemaVersion": 1,
    "role": "replica",
    "pod": "demo-1a2b3c4d5e-g0-0",
    "phase": "LoadingWeights",
    "since": 1790000000.0,
    "progress": {"percent": 42.5, "done": 114000000, "total": 269000000, "unit": "bytes"},
    "message": "loading weights: 42 % of 269 MB",
    "rootCause": None,
    "ray": {"joined": True, "nodeId": "ab12"},
    "engine": {"pid": 123, "startedAt": 1790000000.0, "kvCacheTokens": 46592, "inFlight": 3},
    "weightBytesPerRank": 269000000,
    "memoryBytesPerRank": 1342741824,
    "versions": {"ray": "2.60.0", "vllm": "0.29.0", "python": "3.11.2", "llamaServing": "0.1.0"},
}
"""The example of docs/contracts.md."""


def with_agent(handler: Callable[[httpx.Request], Any], call: Callable[[HttpAgents], Any]) -> Any:
    async def run() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            return await call(HttpAgents(client))

    return asyncio.run(run())


def status(content: str, code: int = 200) -> Any:
    return with_agent(lambda _: httpx.Response(code, content=content), lambda agents: agents.status("10.0.0.1"))


def test_the_documented_answer_is_read() -> None:
    assert status(json.dumps(EXAMPLE)) == Agent(
        phase="LoadingWeights",
        since=1790000000.0,
        percent=42.5,
        message="loading weights: 42 % of 269 MB",
        joined=True,
        in_flight=3,
        kv_cache_tokens=46592,
        weight_bytes=269_000_000,
        memory_bytes=1_342_741_824,
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", 200),
        ("<html>", 200),
        ('{"phase": "Rea', 200),
        ("[]", 200),
        ("null", 200),
        ('"Ready"', 200),
        ("{}", 200),
        ('{"phase": "Ready", "engine": []}', 200),
        ('{"phase": "Ready", "engine": [1]}', 200),
        ('{"phase": "Ready", "engine": {"inFlight": "many"}}', 200),
        ('{"phase": "Ready", "progress": {"percent": NaN}}', 200),
        ('{"phase": "Ready", "rootCause": "x"}', 200),
        ('{"phase": "Ready"}', 500),
        ("not found", 404),
        ("", 302),
        ("[" * 100_000, 200),
    ],
)
def test_what_is_no_answer_is_unknown_or_harmless(content: str, code: int) -> None:
    said = status(content, code)
    assert isinstance(said, (Unknown, Agent))
    assert isinstance(said, Unknown) or said == Agent(phase="Ready")


@pytest.mark.parametrize(
    "error", [httpx.ConnectTimeout("timed out"), httpx.ReadTimeout("timed out"), httpx.RemoteProtocolError("cut")], ids=str
)
def test_an_agent_that_does_not_answer_is_unknown_and_its_drain_fails(error: httpx.HTTPError) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    assert with_agent(handler, lambda agents: agents.status("10.0.0.1")) == Unknown(f"{type(error).__name__}: {error}")
    with pytest.raises(AgentError, match=r"agent at 10\.0\.0\.1"):
        with_agent(handler, lambda agents: agents.drain("10.0.0.1", "t", 120))


@pytest.mark.parametrize("calls", ["status", "drain"])
def test_an_answer_that_drips_is_given_up_after_the_time_for_the_whole(calls: str) -> None:
    """No part of it comes late, so that httpx alone would wait for as long as it goes on."""

    async def run() -> Agent | Unknown | None:
        async with dripping() as url, local_client(timeout=0.3) as client:
            asked = HttpAgents(client, port=int(url.rsplit(":", 1)[1]))
            return await (asked.status("127.0.0.1") if calls == "status" else asked.drain("127.0.0.1", "t", 120))

    if calls == "status":
        assert asyncio.run(run()) == Unknown("ReadTimeout: no whole answer within 0.3 s")
    else:
        with pytest.raises(AgentError, match=r"no whole answer within 0\.3 s"):
            asyncio.run(run())


def test_hundreds_of_questions_that_time_out_together_leave_room_for_the_next() -> None:
    """As when the network of a large cluster stands still for a few seconds."""
    silent, answering = asyncio.Event(), set[asyncio.Task[None]]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not silent.is_set():
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"phase":"Ready"}')
        await reader.read()
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.create_task(answer(reader, writer)))

    async def run() -> list[Agent | Unknown]:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1000)
        async with make_client(httpx.Timeout(0.5), proxies=False) as client:
            asked = HttpAgents(client, port=server.sockets[0].getsockname()[1])
            silent.set()
            for _ in range(2):
                lost = await asyncio.gather(*(asked.status("127.0.0.1") for _ in range(240)))
                assert {type(each) for each in lost} == {Unknown}
            silent.clear()
            client.timeout = httpx.Timeout(10.0)
            found = await asyncio.gather(*(asked.status("127.0.0.1") for _ in range(5)))
        server.close()
        await asyncio.gather(*answering, return_exceptions=True)  # some never got their question
        return found

    assert asyncio.run(run()) == [Agent(phase="Ready")] * 5


def test_an_answer_without_end_is_not_kept() -> None:
    assert status(" " * (adapter.MOST_BYTES + 1) + json.dumps(EXAMPLE)) == Unknown(
        "RemoteProtocolError: the answer has more than 65536 bytes"
    )


def test_an_answer_that_grows_by_unpacking_is_not_unpacked() -> None:
    packed = gzip.compress(json.dumps(EXAMPLE).encode())
    sent = httpx.Response(200, content=packed, headers={"Content-Encoding": "gzip"})
    found = with_agent(lambda _: sent, lambda agents: agents.status("10.0.0.1"))
    assert found == Unknown("RemoteProtocolError: the answer was sent compressed, unasked")


def test_a_drain_carries_the_deadline_and_the_token() -> None:
    seen: list[tuple[str, str, Any, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, str(request.url), json.loads(request.content), request.headers["Authorization"]))
        return httpx.Response(202)

    with_agent(handler, lambda agents: agents.drain("fd00::1", "t0k", 120))
    assert seen == [("POST", "http://[fd00::1]:8090/drain", {"deadlineSeconds": 120}, "Bearer t0k")]


@pytest.mark.parametrize("code", [401, 404, 409, 500])
def test_a_drain_that_is_refused_is_raised(code: int) -> None:
    with pytest.raises(AgentError, match=str(code)):
        with_agent(lambda _: httpx.Response(code), lambda agents: agents.drain("10.0.0.1", "t", 120))
