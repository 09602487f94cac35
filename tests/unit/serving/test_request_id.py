"""One id for a request: the client's where it may stand in a log, else one of ours; and the answer carries it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.depth import examples

from llama_serving.request_id import ALLOWED, MOST_CHARACTERS, RequestId

Headers = list[tuple[bytes, bytes]]
OURS = "00000000-0000-4000-8000-000000000000"


async def ask(headers: Headers, answered: Headers | None = None) -> tuple[list[bytes], Headers]:
    """The ids that the app behind sees, and the headers that the client gets from it."""
    seen: list[bytes] = []
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-request-id")
        await send({"type": "http.response.start", "status": 200, "headers": answered or []})
        await send({"type": "http.response.body", "body": b"yes"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": headers}
    await RequestId(app, make=lambda: OURS)(scope, receive, send)
    assert scope["headers"] is headers, "the server's own scope stays as it is"
    return seen, list(sent[0]["headers"])


@pytest.mark.parametrize(
    "given_id",
    [b"client-123", b"3ee2c5e3-64e5-4aae-9324-35971c0d8733", b"Root=1-67891233-abcdef012345678912345678", b"x" * MOST_CHARACTERS],
)
async def test_a_client_s_id_is_the_engine_s_and_the_answer_s(given_id: bytes) -> None:
    seen, answer = await ask([(b"host", b"h"), (b"x-request-id", given_id)])
    assert seen == [given_id]
    assert answer == [(b"x-request-id", given_id)]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x-request-id", b"")],
        [(b"x-request-id", b"one"), (b"x-request-id", b"two")],
        [(b"x-request-id", b"x" * (MOST_CHARACTERS + 1))],
        [(b"x-request-id", b"abc -- POST /v1/completions 200 forged")],
        [(b"x-request-id", "a\u2028INFO forged".encode())],
        [(b"x-request-id", b"a\x0bINFO forged")],
        [(b"x-request-id", b"a\nINFO forged")],
        [(b"x-request-id", b"a\x1b[31m")],
        [(b"x-request-id", b"a\xff")],
        [(b"x-request-id", b"a%s{}'\"<>")],
    ],
    ids=repr,
)
async def test_an_id_that_is_missing_or_could_forge_a_log_line_is_replaced_by_ours(headers: Headers) -> None:
    seen, answer = await ask(headers)
    assert seen == [OURS.encode()]
    assert answer == [(b"x-request-id", OURS.encode())]


async def test_an_answer_carries_one_id_whoever_wrote_one_behind() -> None:
    _, answer = await ask([(b"x-request-id", b"mine")], [(b"content-type", b"text/plain"), (b"X-Request-ID", b"another")])
    assert answer == [(b"content-type", b"text/plain"), (b"x-request-id", b"mine")]


@given(st.lists(st.binary(max_size=200), max_size=3))
@settings(max_examples=examples(100))
async def test_whatever_a_client_sends_one_id_goes_on_that_may_stand_in_a_log(values: list[bytes]) -> None:
    seen, answer = await ask([(b"x-request-id", value) for value in values])
    assert len(seen) == 1
    assert ALLOWED.fullmatch(seen[0])
    assert answer == [(b"x-request-id", seen[0])]


async def test_a_websocket_passes_by() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await RequestId(app)({"type": "websocket"}, None, None)  # type: ignore[arg-type]
    assert seen == ["websocket"]
