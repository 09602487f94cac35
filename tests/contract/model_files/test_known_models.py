"""What the operator knows of a model before a pod exists: asked for once, never with a token, and never a reason to fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.harness.checkpoints import CONFIG, file_of, tensors_of
from tests.harness.http import local_client
from tests.harness.hub import FakeHub, Repo

from llama_operator.adapters.hub import Hub
from llama_operator.adapters.model_files.hub import HubReader
from llama_operator.adapters.models import KEEP_SECONDS, RETRY_SECONDS, KnownModels
from llama_operator.api.problems import Problem
from llama_operator.planning.admission import Unread
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.models.contents import ModelContents

TENSORS = tensors_of(CONFIG)
CONFIG_JSON = json.dumps(CONFIG).encode()
NEW_METHOD = json.dumps(CONFIG | {"quantization_config": {"quant_method": "of-next-year"}}).encode()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    whole = {"config.json": CONFIG_JSON, "model.safetensors": file_of(TENSORS)}
    repos = {
        "org/whole": Repo(files=whole),
        "org/gated": Repo(files=whole, tokens={"somebody's"}),
        "org/config-alone": Repo(files={"config.json": CONFIG_JSON, "pytorch_model.bin": b"x"}),
        "org/new-method": Repo(files=whole | {"config.json": NEW_METHOD}),
        "org/other": Repo(files=whole | {"config.json": json.dumps(CONFIG | {"architectures": ["T5"]}).encode()}),
        "org/text": Repo(files={"config.json": b"<html>"}),
    }
    with FakeHub(repos) as made:
        yield made


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def models(url: str, clock: Clock | None = None) -> AsyncIterator[KnownModels]:
    ticks = clock or Clock()
    async with local_client() as client:
        yield KnownModels(HubReader(client, url) if url else None, Hub(client, url, monotonic=ticks), monotonic=ticks)


async def test_a_model_is_known_from_its_headers_and_looked_up_once(hub: FakeHub) -> None:
    async with models(hub.url) as known:
        first = await known.facts("hf://org/whole")
        asked = len(hub.seen)
        assert await known.facts("hf://org/whole") is first
    assert isinstance(first, ModelFacts)
    assert (first.known_from, first.checkpoint_bytes) == ("checkpoint", sum(tensor.nbytes for tensor in TENSORS))
    assert len(hub.seen) == asked


async def test_the_catalogue_needs_no_hub(hub: FakeHub) -> None:
    async with models(hub.url) as known:
        found = await known.facts("hf://meta-llama/Llama-3.1-405B-Instruct-FP8")
    assert isinstance(found, ModelFacts)
    assert found.known_from == "catalogue"
    assert hub.seen == []


@pytest.mark.parametrize("source", ["pvc://models/x", "file:///models/x"])
async def test_files_that_only_the_pods_see_are_not_known(source: str) -> None:
    async with models("") as known:
        assert await known.facts(source) == Unread(why=f"the files of {source} can be seen from its pods alone")


async def test_a_config_alone_is_enough_where_the_weights_have_no_headers(hub: FakeHub) -> None:
    async with models(hub.url) as known:
        found = await known.facts("hf://org/config-alone")
    assert isinstance(found, ModelFacts)
    assert found.known_from == "config"


async def test_what_the_planner_does_not_understand_is_left_to_the_engine(hub: FakeHub) -> None:
    async with models(hub.url) as known:
        found = await known.facts("hf://org/new-method")
    assert isinstance(found, Unread)
    assert not found.soon
    assert "of-next-year" in found.why
    assert found.shape is not None
    assert found.shape.layers == CONFIG["num_hidden_layers"]


async def test_what_is_no_llama_is_a_problem(hub: FakeHub) -> None:
    async with models(hub.url) as known:
        found = await known.facts("hf://org/other")
    assert isinstance(found, Problem)
    assert "T5" in found.message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf://org/gated", "answers 401"),
        ("hf://org/none", "private, or not there"),
        ("hf://org/text", "config.json"),
        ("hf://odd", "no model of the hub"),
    ],
)
async def test_what_cannot_be_read_is_not_asked_for_again_soon(hub: FakeHub, source: str, words: str) -> None:
    clock = Clock()
    async with models(hub.url, clock) as known:
        found = await known.facts(source)
        assert isinstance(found, Unread)
        assert not found.soon
        assert words in found.why
        asked = len(hub.seen)
        clock.now += KEEP_SECONDS - 1
        assert await known.facts(source) is found
    assert len(hub.seen) == asked


@pytest.mark.parametrize("fault", ["rate_limited", "server_errors"])
async def test_a_hub_that_fails_is_asked_again_after_a_pause(hub: FakeHub, fault: str) -> None:
    clock = Clock()
    setattr(hub.faults, fault, 1)
    async with models(hub.url, clock) as known:
        found = await known.facts("hf://org/whole")
        assert isinstance(found, Unread)
        assert found.soon
        clock.now += RETRY_SECONDS - 1
        assert await known.facts("hf://org/whole") is found
        clock.now += 2
        assert isinstance(await known.facts("hf://org/whole"), ModelFacts)


async def test_an_operator_without_a_hub_asks_nobody() -> None:
    async with models("") as known:
        assert await known.facts("hf://org/whole") == Unread(why="the operator was given no hub to ask")


async def test_a_hub_that_is_away_may_come_back() -> None:
    async with models("http://127.0.0.1:1") as known:
        found = await known.facts("hf://org/whole")
    assert isinstance(found, Unread)
    assert found.soon


class Endless:
    """A reader whose headers never end."""

    async def read_model(self, source: str, revision: str | None = None) -> ModelContents:
        await asyncio.Event().wait()
        raise AssertionError(source, revision)

    read_adapter = read_model


async def test_headers_that_take_too_long_give_way_to_the_config(hub: FakeHub) -> None:
    async with local_client() as client:
        known = KnownModels(Endless(), Hub(client, hub.url, monotonic=Clock()), monotonic=Clock(), read_seconds=0.05)
        found = await known.facts("hf://org/whole")
    assert isinstance(found, ModelFacts)
    assert found.known_from == "config"


class Counting:
    """A reader that says how many read at the same time."""

    def __init__(self) -> None:
        self.now, self.most, self.read = 0, 0, list[str]()

    async def read_model(self, source: str, revision: str | None = None) -> ModelContents:
        del revision
        self.now += 1
        self.most = max(self.most, self.now)
        self.read.append(source)
        await asyncio.sleep(0.01)
        self.now -= 1
        return ModelContents(config=CONFIG, tensors=tuple(TENSORS), files=("model.safetensors",))

    read_adapter = read_model


async def test_one_model_is_read_at_a_time_and_once_for_all_who_ask() -> None:
    """At a start all workers meet models that nobody has read yet."""
    reader = Counting()
    async with local_client() as client:
        known = KnownModels(reader, Hub(client, "", monotonic=Clock()), monotonic=Clock())
        found = await asyncio.gather(*(known.facts(f"hf://org/{n % 4}") for n in range(8)))
    assert {type(each) for each in found} == {ModelFacts}
    assert (reader.most, sorted(reader.read)) == (1, [f"hf://org/{n}" for n in range(4)])


async def test_who_waits_too_long_for_a_turn_asks_again_soon_and_is_not_remembered_as_unread() -> None:
    clock = Clock()
    async with local_client() as client:
        known = KnownModels(Counting(), Hub(client, "", monotonic=clock), monotonic=clock, read_seconds=0.02)
        async with known._turn:
            assert await known.facts("hf://org/next") == Unread(why="other models were read for 0 s", soon=True)
        known._read_seconds = 60.0
        assert isinstance(await known.facts("hf://org/next"), ModelFacts)


async def test_no_more_than_so_many_are_remembered(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_operator.adapters.models.KEEP", 2)
    async with models(hub.url) as known:
        for source in ("hf://org/whole", "hf://org/gated", "hf://org/other"):
            await known.facts(source)
        asked = len(hub.seen)
        await known.facts("hf://org/other")
        assert len(hub.seen) == asked
        await known.facts("hf://org/whole")
        assert len(hub.seen) > asked
