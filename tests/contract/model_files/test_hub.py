"""A model on the hub is known from its headers: no weight is read, every refusal has its remedy, and no token is ever told."""

from __future__ import annotations

import copy
import json
import logging
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG, QUANTISED, file_of, header_of, sharded, tensors_of
from tests.harness.http import local_client
from tests.harness.hub import FakeHub, Faults, Repo

from llama_operator.adapters.model_files.hub import HubReader, retry_after
from llama_operator.adapters.model_files.sequence import CONFIG_LIMIT, HEADERS_LIMIT
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.models.from_config import facts_from_config
from llama_operator.planning.models.lora import AdapterFacts, adapter_from_tensors
from llama_operator.planning.models.safetensors import HEADER_LIMIT, Tensor, read_tensors
from llama_operator.ports import ModelFilesError
from llama_serving.config import ModelShape

TOKEN = "hf_this-token-must-never-be-told"
TENSORS = tensors_of(CONFIG)
CONFIG_JSON = json.dumps(CONFIG).encode()
MODELOPT = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
ADAPTER = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "base_model_name_or_path": "org/whole"}
FACTORS = [
    Tensor(f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_{side}.weight", "F32", shape, 4 * 4 * 256)
    for n in range(3)
    for side, shape in (("A", (4, 256)), ("B", (256, 4)))
]


def repos() -> dict[str, Repo]:
    """A hub's content of its own for each test; the files' bytes are made once."""
    return copy.deepcopy(_repos())


@cache
def _repos() -> dict[str, Repo]:
    whole = {"config.json": CONFIG_JSON, "model.safetensors": file_of(TENSORS)}
    modelopt = tensors_of(CONFIG | {"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head"]}})
    return {
        "org/whole": Repo(files=whole, branches=("main", "refs/pr/1")),
        "org/gated": Repo(files=whole, tokens={TOKEN}),
        "org/sharded": Repo(files={"config.json": CONFIG_JSON} | sharded(TENSORS, 12)),
        "org/modelopt": Repo(
            files={
                "config.json": CONFIG_JSON,
                "hf_quant_config.json": json.dumps(MODELOPT).encode(),
                "model.safetensors": file_of(modelopt),
            }
        ),
        "org/adapter": Repo(files={"adapter_config.json": json.dumps(ADAPTER).encode(), "adapter_model.safetensors": file_of(FACTORS)}),
        "org/empty": Repo(files={}),
        "org/no-weights": Repo(files={"config.json": CONFIG_JSON}),
        "org/text": Repo(files={"config.json": b"<html>"}),
        "org/huge": Repo(files={"config.json": b" " * (CONFIG_LIMIT + 1)}),
        "org/cut": Repo(files=whole | {"model.safetensors": header_of(TENSORS)[0] + bytes(1000)}),
        "org/cut-header": Repo(files=whole | {"model.safetensors": header_of(TENSORS)[0][:500]}),
        "org/no-header": Repo(files=whole | {"model.safetensors": b""}),
        "org/long-header": Repo(files=whole | {"model.safetensors": (HEADER_LIMIT + 1).to_bytes(8, "little") + bytes(100)}),
        "org/zero-header": Repo(files=whole | {"model.safetensors": bytes(8)}),
        "org/lfs": Repo(files=whole | {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}),
        "org/bad-quant": Repo(files=whole | {"hf_quant_config.json": b"{"}),
        "org/missing-shard": Repo(
            files={k: v for k, v in ({"config.json": CONFIG_JSON} | sharded(TENSORS, 3)).items() if "00002-of" not in k}
        ),
        "org/other-shard": Repo(
            files={"config.json": CONFIG_JSON} | sharded(TENSORS, 2) | {"model-00002-of-00002.safetensors": file_of(TENSORS[:1])}
        ),
        "org/elsewhere": Repo(files=whole | {"model.safetensors.index.json": b'{"weight_map": {"a": "../../other/model.safetensors"}}'}),
    }


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(repos(), Faults()) as made:
        yield made


async def read(
    url: str, source: str, *, token: str | None = None, revision: str | None = None, seconds: float = 20.0, timeout: float = 5.0
) -> Any:
    async with local_client(timeout) as client:
        reader = HubReader(client, url, token, request_seconds=seconds)
        return await (reader.read_adapter if "adapter" in source else reader.read_model)(source, revision)


async def refused(url: str, source: str, **more: Any) -> ModelFilesError:
    with pytest.raises(ModelFilesError) as error:
        await read(url, source, **more)
    assert TOKEN not in str(error.value) + repr(error.value) + error.value.message + error.value.remedy
    return error.value


@pytest.mark.parametrize("faults", [Faults(), Faults(to_other_host=True), Faults(ignore_range=True)])
@pytest.mark.parametrize("source", ["hf://org/whole", "hf://org/sharded/"])
async def test_a_model_is_known_from_its_headers(faults: Faults, source: str) -> None:
    with FakeHub(repos(), faults) as hub:
        contents = await read(hub.url, source)
    assert sorted(contents.tensors, key=lambda tensor: tensor.name) == sorted(TENSORS, key=lambda tensor: tensor.name)
    facts = contents.facts("m")
    assert isinstance(facts, ModelFacts)
    assert facts.layers == facts_from_config("m", CONFIG).layers  # type: ignore[union-attr]


async def test_only_headers_are_asked_for(hub: FakeHub) -> None:
    await read(hub.url, "hf://org/sharded")
    start = header_of(TENSORS[2::12])[0]
    parts = [seen.range for seen in hub.bodies("model-00003-of-00012.safetensors")]
    assert parts == ["bytes=0-7", f"bytes=8-{len(start) - 1}"]
    assert hub.sent < 60_000


async def test_a_server_that_sends_everything_is_not_listened_to_until_the_end() -> None:
    """A file of 64 MB, of which the reader wants the first kilobytes: what is more than the sockets' buffers hold is never sent."""
    size = 64 << 20
    big = [Tensor("a", "U8", (size,), size)]
    with FakeHub({"org/big": Repo(files={"config.json": b"{}", "model.safetensors": file_of(big)})}, Faults(ignore_range=True)) as hub:
        contents = await read(hub.url, "hf://org/big")
        assert contents.tensors == tuple(big)
        assert hub.sent < size


async def test_modelopts_own_file_is_read_where_config_json_is_silent(hub: FakeHub) -> None:
    facts = (await read(hub.url, "hf://org/modelopt")).facts("m")
    assert isinstance(facts, ModelFacts)
    assert facts.quantization is not None
    assert facts.quantization.method == "modelopt"
    hub.state.repos["org/modelopt"].files["config.json"] = json.dumps(CONFIG | {"quantization_config": QUANTISED["modelopt fp8"]}).encode()
    assert (await read(hub.url, "hf://org/modelopt")).quant_file is None


async def test_an_adapter_is_known_from_its_header(hub: FakeHub) -> None:
    contents = await read(hub.url, "hf://org/adapter")
    facts = adapter_from_tensors("a", contents.config, contents.tensors, ModelShape.from_config(CONFIG))
    assert isinstance(facts, AdapterFacts)
    assert (facts.rank, facts.nbytes) == (4, sum(tensor.nbytes for tensor in FACTORS))


async def test_a_token_opens_a_gated_model_and_stays_at_the_hub(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeHub(repos(), Faults(to_other_host=True)) as hub:
        contents = await read(hub.url, "hf://org/gated", token=TOKEN)
        assert len(contents.tensors) == len(TENSORS)
        assert all((seen.authorization is None) == seen.path.startswith("/cdn/") for seen in hub.seen)
        assert TOKEN not in repr(contents)
    told = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpcore", "asyncio"))]
    assert TOKEN not in "".join(told), "httpcore's own debug lines name headers, and are silenced in control/logs.py"


async def test_a_revision_with_a_slash_is_asked_for_as_one(hub: FakeHub) -> None:
    await read(hub.url, "hf://org/whole", revision="refs/pr/1")
    assert hub.seen[0].path == "/org/whole/resolve/refs%2Fpr%2F1/config.json"


@pytest.mark.parametrize(
    ("source", "more", "reason", "words"),
    [
        ("hf://org/gated", {}, "Denied", "it is behind a licence"),
        ("hf://org/gated", {"token": "hf_other"}, "Denied", "that the token's owner did not accept"),
        ("hf://org/none", {}, "Denied", "behind a licence, private, or not there"),
        ("hf://org/none", {"token": TOKEN}, "NotFound", "no such model"),
        ("hf://org/whole", {"revision": "v9"}, "NotFound", "there is no such revision"),
        ("hf://org/whole", {"token": "hf\nx"}, "Denied", "spaces or line ends"),
        ("hf://org/empty", {}, "NotFound", "holds no config.json"),
        ("hf://org/no-weights", {}, "NotFound", "there is no such file"),
        ("hf://org/missing-shard", {}, "NotFound", "model-00002-of-00003.safetensors"),
        ("hf://org/other-shard", {}, "Unreadable", "that model.safetensors.index.json promises"),
        ("hf://org/elsewhere", {}, "Unreadable", "a *.safetensors file of the same folder"),
        ("hf://org/text", {}, "Unreadable", "config.json is not JSON"),
        ("hf://org/bad-quant", {}, "Unreadable", "hf_quant_config.json is not JSON"),
        ("hf://org/huge", {}, "Unreadable", "more than 1048576 bytes"),
        ("hf://org/cut", {}, "Unreadable", "model.safetensors with 1000 bytes of weights"),
        ("hf://org/cut-header", {}, "Unreadable", "ends within its header"),
        ("hf://org/no-header", {}, "Unreadable", "model.safetensors of 0 bytes"),
        ("hf://org/long-header", {}, "Unreadable", "it is no safetensors file"),
        ("hf://org/zero-header", {}, "Unreadable", "not JSON"),
        ("hf://org/lfs", {}, "Unreadable", "git lfs pull"),
        ("file:///m", {}, "NotFound", "is no model of the hub"),
        ("hf://org/../x", {}, "NotFound", "is no model of the hub"),
        ("hf://org", {}, "NotFound", "is no model of the hub"),
    ],
)
async def test_every_refusal_says_what_to_do(hub: FakeHub, source: str, more: dict[str, Any], reason: str, words: str) -> None:
    error = await refused(hub.url, source, **more)
    assert error.reason == reason
    assert words in str(error)
    assert error.remedy.endswith(".")


async def test_a_gated_models_remedy_names_its_page_and_the_field(hub: FakeHub) -> None:
    error = await refused(hub.url, "hf://org/gated")
    assert error.remedy == f"Accept the licence at {hub.url}/org/gated and set spec.model.tokenSecretRef to a token of the same account."


@pytest.mark.parametrize(("given", "seconds"), [(7, 7.0), (None, None), ("soon", None), ("Sat, 21 Nov 2026 07:28:00 GMT", None)])
async def test_a_hub_that_is_asked_too_often_says_when(hub: FakeHub, given: Any, seconds: float | None) -> None:
    hub.faults.rate_limited, hub.faults.retry_after = 1, given
    error = await refused(hub.url, "hf://org/whole")
    assert error.reason == "RateLimited"
    if not isinstance(given, str) or given == "soon":
        assert error.retry_after == seconds
        assert ("in 7 s" if seconds else "later") in error.remedy


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("Sat, 21 Nov 2026 07:28:30 GMT", "Sat, 21 Nov 2026 07:28:00 GMT", 30.0),
        ("Sat, 21 Nov 2026 07:28:30 GMT", "Sat, 21 Nov 2026 07:29:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 07:28:30 GMT", "Sat, 21 Nov 2026 07:28:00", None),
        ("Sat, 21 Nov 2026 07:28:30 GMT", None, None),
        ("999999999999", None, 86_400.0),
        ("-1", None, None),
    ],
)
def test_a_time_to_come_back_is_counted_from_the_answers_own(value: str, date: str | None, seconds: float | None) -> None:
    assert retry_after(value, date) == seconds


@given(
    st.none() | st.text(max_size=40) | st.integers().map(str), st.none() | st.text(max_size=40) | st.just("Sat, 21 Nov 2026 07:28:00 GMT")
)
def test_any_header_is_a_wait_within_a_day_or_none(value: str | None, date: str | None) -> None:
    seconds = retry_after(value, date)
    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize("status", [500, 503, 418])
async def test_a_hub_that_fails_gives_no_answer(hub: FakeHub, status: int) -> None:
    hub.faults.answer = (status, {})
    error = await refused(hub.url, "hf://org/whole")
    assert (error.reason, error.message.endswith(f"answers {status} for config.json of 'main'")) == ("NoAnswer", True)


async def test_a_hub_that_is_not_there_gives_no_answer() -> None:
    error = await refused("http://127.0.0.1:1", "hf://org/whole", token=TOKEN)
    assert (error.reason, error.message) == ("NoAnswer", "http://127.0.0.1:1/org/whole gives no answer for config.json (ConnectError)")


@pytest.mark.parametrize("more", [{"timeout": 0.1}, {"seconds": 0.1}])
async def test_a_hub_that_says_nothing_is_left(hub: FakeHub, more: dict[str, float]) -> None:
    hub.faults.silent = True
    assert (await refused(hub.url, "hf://org/whole", **more)).reason == "NoAnswer"


async def test_a_cut_answer_is_none(hub: FakeHub) -> None:
    hub.faults.cuts, hub.faults.cut_after = 1, 3
    assert (await refused(hub.url, "hf://org/whole")).reason == "NoAnswer"


@pytest.mark.parametrize(("fault", "words"), [("odd_ranges", "another one was sent"), ("compressed", "was sent compressed, unasked")])
async def test_answers_to_other_questions_are_refused(hub: FakeHub, fault: str, words: str) -> None:
    setattr(hub.faults, fault, True)
    error = await refused(hub.url, "hf://org/whole")
    assert (error.reason, words in error.message) == ("Unreadable", True)


async def test_credentials_in_the_hubs_address_are_not_told() -> None:
    error = await refused("http://user:secret@127.0.0.1:1", "hf://org/whole")
    assert "secret" not in str(error)


@pytest.mark.parametrize("endpoint", ["", "huggingface.co", "http://", "http://[", "http://host:port", "ftp://host"])
async def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    error = await refused(endpoint, "hf://org/whole")
    assert (error.reason, "there is no hub to ask" in error.message) == ("NoAnswer", True)


async def test_headers_without_end_are_refused_as_a_whole() -> None:
    """Each shard's header is within its bound; together they are more than a model has."""
    assert HEADERS_LIMIT <= 4 << 20  # parsed, it takes more than ten times as much of the operator's 512 MiB
    length = HEADERS_LIMIT // 2
    names = [f"{n}.safetensors" for n in range(3)]
    shards = {name: header_of([Tensor(name, "U8", (0,), 0)])[0][8:].ljust(length) for name in names}
    index = json.dumps({"weight_map": {name: name for name in names}}).encode()
    files = {"config.json": b"{}", "model.safetensors.index.json": index}
    files |= {name: length.to_bytes(8, "little") + shard for name, shard in shards.items()}
    with FakeHub({"org/long": Repo(files=files)}) as hub:
        error = await refused(hub.url, "hf://org/long")
    assert error.reason == "Unreadable"
    assert f"more than {HEADERS_LIMIT} bytes" in error.message


@pytest.mark.parametrize("shards", [1, 2])
async def test_tensors_without_end_are_refused_as_a_whole(shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_operator.adapters.model_files.sequence.TENSORS_MAX", 99)
    names = ["model.safetensors"] if shards == 1 else ["a.safetensors", "b.safetensors"]
    files = {name: header_of([Tensor(f"{name}{n}", "U8", (0,), 0) for n in range(100 // shards)])[0] for name in names}
    weights = {f"{name}{n}": name for name in names for n in range(100 // shards)}
    index = {"model.safetensors.index.json": json.dumps({"weight_map": weights}).encode()} if shards > 1 else {}
    with FakeHub({"org/many": Repo(files={"config.json": b"{}"} | index | files)}) as hub:
        error = await refused(hub.url, "hf://org/many")
    assert (error.reason, "has more than 99 tensors" in error.message) == ("Unreadable", True)


async def test_a_long_header_is_parsed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set[threading.Thread]()

    def watched(*given: Any) -> Any:
        threads.add(threading.current_thread())
        return read_tensors(*given)

    monkeypatch.setattr("llama_operator.adapters.model_files.sequence.read_tensors", watched)
    header = header_of([Tensor(f"t{n:0200}", "U8", (0,), 0) for n in range(2000)])[0]
    with FakeHub({"org/long": Repo(files={"config.json": b"{}", "model.safetensors": header})}) as hub:
        contents = await read(hub.url, "hf://org/long")
    assert len(contents.tensors) == 2000
    assert threading.main_thread() not in threads
