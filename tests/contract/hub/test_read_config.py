"""The operator's look at a model's config.json: read once, bounded, and never a reason to refuse when it fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.http import dripping, local_client
from tests.harness.hub import FakeHub, Repo

from llama_operator.adapters.hub import MAX_BYTES, Hub, HubProblem, parse_config

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    repos = {
        "org/llama": Repo(files={"config.json": json.dumps(CONFIG).encode()}),
        "org/gated": Repo(files={"config.json": b"{}"}, tokens={"t"}),
        "org/huge": Repo(files={"config.json": b" " * (MAX_BYTES + 1)}),
        "org/list": Repo(files={"config.json": b"[]"}),
        "org/text": Repo(files={"config.json": b"<html>"}),
        "org/deep": Repo(files={"config.json": b"[" * 100_000}),
    }
    with FakeHub(repos) as made:
        yield made


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def ask(url: str, *sources: str, clock: Clock | None = None, revision: str | None = None) -> list[dict[str, Any] | HubProblem]:
    async with local_client() as client:
        reader = Hub(client, url, monotonic=clock or Clock())
        return [await reader.read_config(source, revision) for source in sources]


async def test_a_public_config_is_read(hub: FakeHub) -> None:
    assert await ask(hub.url, "hf://org/llama") == [CONFIG]
    assert hub.seen[0].path == "/org/llama/resolve/main/config.json"


async def test_it_is_asked_for_once(hub: FakeHub) -> None:
    assert await ask(hub.url, "hf://org/llama", "hf://org/llama") == [CONFIG, CONFIG]
    assert len(hub.seen) == 1


async def test_a_failure_is_remembered_for_a_while_only(hub: FakeHub) -> None:
    clock = Clock()
    hub.faults.server_errors = 1
    async with local_client() as client:
        reader = Hub(client, hub.url, monotonic=clock, retry_seconds=60)
        assert isinstance(await reader.read_config("hf://org/llama"), HubProblem)
        clock.now += 59
        assert isinstance(await reader.read_config("hf://org/llama"), HubProblem)
        clock.now += 2
        assert await reader.read_config("hf://org/llama") == CONFIG


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf://org/gated", "answers 401"),
        ("hf://org/none", "answers 401"),
        ("hf://org/huge", "is larger than"),
        ("hf://org/list", "holds no JSON object"),
        ("hf://org/text", "is not JSON"),
        ("hf://org/deep", "is not JSON"),
        ("file:///model", "is not on the hub"),
    ],
)
async def test_whatever_goes_wrong_is_unknown(hub: FakeHub, source: str, words: str) -> None:
    (answer,) = await ask(hub.url, source)
    assert isinstance(answer, HubProblem)
    assert words in answer.message


async def test_a_hub_that_is_not_there_is_unknown() -> None:
    (answer,) = await ask("http://127.0.0.1:1", "hf://org/llama")
    assert isinstance(answer, HubProblem)
    assert "ConnectError" in answer.message


async def test_no_hub_at_all_is_unknown() -> None:
    assert await ask("", "hf://org/llama") == [HubProblem("the operator was given no hub")]


def test_a_number_too_long_for_python_is_not_json() -> None:
    assert isinstance(parse_config(b'{"a": ' + b"1" * 5000 + b"}", "u"), HubProblem)


async def test_a_hub_that_drips_is_given_up_after_the_time_for_the_whole() -> None:
    async with dripping() as url, local_client() as client:
        reader = Hub(client, url, monotonic=Clock(), seconds=0.3)
        problem = await reader.read_config("hf://org/llama")
    assert problem == HubProblem(f"{url}/org/llama/resolve/main/config.json: no whole answer within 0.3 s")
