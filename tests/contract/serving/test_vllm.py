"""Real vLLM behind real agents: answers, load progress, first token, root causes. On the CPU."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from bench.endpoint.barehost import BareHost, bare_host, call, wait_for
from tests.contract.serving.collector import CANARY, PARENT, PARENT_SPAN, SOON, TRACE, Collector, attributes, collector, logged, post
from tests.contract.serving.conftest import Make, config
from tests.contract.serving.exposition import assert_catalogued

from llama_operator.adapters.model_files.folder import FolderReader
from llama_operator.planning.admission import as_status
from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.fit.kv import predict_cpu_kv_cache
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, Hardware
from llama_operator.telemetry.engine_metrics import SERVE, SERVER, VLLM_METRICS
from llama_serving.config import ModelShape

# Ray, vLLM, torch and transformers warn while they are imported: theirs to mend.
pytestmark = [pytest.mark.serving, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
UP_SECONDS = 400


def chat(host: BareHost, text: str, tokens: int = 16) -> dict[str, Any]:
    body = {"model": host.config.served_name, "messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0}
    code, answer = call("POST", host.pods[1].url("http", "/v1/chat/completions"), body, timeout=120)
    assert code == 200, answer
    return dict(json.loads(answer))


def planned_for(model: Path, tensor: int) -> Mapping[str, Any]:
    """As the planner computes it from the headers of the files, for the status."""
    facts = asyncio.run(FolderReader().read_model(f"file://{model}")).facts("model")
    assert isinstance(facts, ModelFacts)
    hardware = Hardware(accelerator=CATALOGUE["cpu"], gpus_per_node=0)
    plan = plan_fit(facts, hardware, Wishes(context_tokens=1024, tensor=tensor))
    assert plan.chosen is not None
    return as_status(plan.chosen)


def vllm(model: Path, **changes: Any) -> Any:
    return config(engine="vllm", engine_args={}, source=f"file://{model}", max_model_len=1024, **changes)


@pytest.fixture(scope="module")
def traces() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, traces: Collector) -> Iterator[BareHost]:
    """The trained model on one rank, traced: a start takes more than a minute."""
    made = vllm(smollm2, tracing_endpoint=traces.endpoint)
    with bare_host(made, tmp_path_factory.mktemp("trained"), environment=SOON) as host:
        host.wait_ready(UP_SECONDS)
        yield host


def test_the_trained_model_knows_the_capital_of_france(trained: BareHost, smollm2: Path) -> None:
    answers_and_is_as_planned(trained, smollm2, 1)


def test_the_engine_exports_what_the_catalogue_names(trained: BareHost) -> None:
    """Every query, rule and dashboard takes its names from that table: a rename is told here with the old and the new name."""
    chat(trained, "Say something long.", 24)
    assert_catalogued([pod.url("metrics", "/metrics") for pod in trained.pods], (*SERVER, *SERVE, *VLLM_METRICS))


def test_a_request_is_one_trace_from_the_ingress_to_the_engine_under_the_client_s_id(trained: BareHost, traces: Collector) -> None:
    body = {"model": trained.config.served_name, "messages": [{"role": "user", "content": CANARY}], "max_tokens": 2}
    headers = [("traceparent", PARENT), ("x-request-id", "client-123")]
    status, ids, text = post(trained.pods[1], "/v1/chat/completions", body, headers)
    assert (status, ids) == (200, ["client-123"])
    # What the engine calls the request by, in the answer and in its own span.
    assert json.loads(text)["id"] == "chatcmpl-client-123"
    spans = wait_for(lambda: len(found := traces.of_trace(TRACE)) == 2 and found, 20, "the spans of the ingress and of the engine")
    ingress, engine = spans["ingress /v1/chat/completions"], spans["llm_request"]
    assert ingress.parent_span_id.hex() == PARENT_SPAN
    assert engine.parent_span_id == ingress.span_id
    assert attributes(ingress)["llama.request_id"] == "client-123"
    assert attributes(engine)["gen_ai.request.id"] == "chatcmpl-client-123"
    assert attributes(engine)["gen_ai.usage.completion_tokens"] == 2
    assert {of["service.name"] for span, of in traces.spans if span.trace_id.hex() == TRACE} == {trained.config.deployment}
    # What users say is in no span, and in no log of Ray's or the engine's.
    assert CANARY.encode() not in traces.raw
    assert [name for name, log in logged(trained.sockets).items() if CANARY in log] == []


def test_a_request_without_a_context_is_one_trace_too_and_gets_an_id(trained: BareHost, traces: Collector) -> None:
    body = {"model": trained.config.served_name, "prompt": "x", "max_tokens": 1}
    _, ids, text = post(trained.pods[1], "/v1/completions", body, [("x-request-id", "abc -- POST /v1/completions 200 forged")])
    assert json.loads(text)["id"] == f"cmpl-{ids[0]}"

    def of_the_request() -> list[Any]:
        return [span for span, _ in traces.spans if ids[0] in str(attributes(span))]

    spans = wait_for(lambda: len(found := of_the_request()) == 2 and found, 20, "the spans of the ingress and of the engine")
    assert len({span.trace_id for span in spans}) == 1


def test_three_ranks_of_the_trained_model_know_it_too(pods: Make, smollm2: Path) -> None:
    host = pods(vllm(smollm2, tensor_parallel=3))
    host.wait_ready(UP_SECONDS)
    answers_and_is_as_planned(host, smollm2, 3)


def answers_and_is_as_planned(host: BareHost, smollm2: Path, tensor: int) -> None:
    # Ten times as likely as any other word. As a chat the first word is a draw between two, which the processor's own rounding decides.
    body = {"model": host.config.served_name, "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
    code, answer = call("POST", host.pods[1].url("http", "/v1/completions"), body, timeout=120)
    assert (code, json.loads(answer)["choices"][0]["text"].split(".")[0]) == (200, " Paris")
    assert chat(host, "What is the capital of France?")["choices"][0]["message"]["content"]
    said = host.pods[1].status()
    shape = ModelShape.from_config(json.loads((smollm2 / "config.json").read_text()))
    predicted = predict_cpu_kv_cache(shape, Precision.BFLOAT16, context=1024, tensor=tensor)
    planned = planned_for(smollm2, tensor)
    assert 0.98 <= said["engine"]["kvCacheTokens"] / predicted.tokens <= 1.02
    assert 0.98 <= said["weightBytesPerRank"] / planned["weightBytesPerGpu"] <= 1.02
    assert 0.98 <= said["memoryBytesPerRank"] / planned["memoryBytesPerGpu"] <= 1.02


def test_two_ranks_load_in_the_open_are_ready_only_after_a_token_and_end_with_their_engine(pods: Make, tiny: Path) -> None:
    host = pods(vllm(tiny, tensor_parallel=2))
    replica = host.pods[1]
    phases: list[str] = []
    totals: set[int] = set()

    def follow() -> bool:
        status = replica.status()
        if status and status["phase"] not in phases[-1:]:
            phases.append(status["phase"])
        if status.get("progress"):
            totals.add(status["progress"]["total"])
        if phases[-1:] != ["Ready"]:
            assert not replica.ready()
        return phases[-1:] == ["Ready"]

    wait_for(follow, UP_SECONDS, "the engine is ready")
    assert phases == ["Starting", "LoadingWeights", "WarmingUp", "Ready"]
    # Each of the two ranks reads the whole file.
    assert totals & {2 * (tiny / "model.safetensors").stat().st_size}
    host.wait_ready(60)
    assert chat(host, "hi", 5)["usage"]["completion_tokens"] == 5
    first = replica.status()["engine"]["pid"]
    children = [int(pid) for task in Path(f"/proc/{first}/task").iterdir() for pid in (task / "children").read_text().split()]
    (core,) = [pid for pid in children if "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(core, signal.SIGKILL)
    # Of which 0.2 s are ours (tests/unit/serving/test_engine_end.py); the rest is a busy machine's, for vLLM to see it.
    wait_for(lambda: not Path(f"/proc/{first}").exists(), 5, "a replica without an engine has ended, and answers no more errors")
    wait_for(
        lambda: (replica.status().get("engine") or {}).get("pid") not in (None, first), 90, "Serve has started another in the same pod"
    )


def test_the_cause_is_found_in_the_log_of_two_ranks_that_could_not_start(pods: Make, tiny: Path) -> None:
    # Only the ranks' own processes write it; the error that reaches the replica says "see root cause above".
    replica = pods(vllm(tiny, tensor_parallel=2), VLLM_CPU_KVCACHE_SPACE="4000").pods[1]
    status = wait_for(lambda: (found := replica.status()).get("phase") == "Failed" and found, UP_SECONDS, "the engine has failed")
    assert status["rootCause"]["reason"] == "OutOfMemory"
    assert "the KV cache was to take 4000.0 GiB" in status["rootCause"]["message"]


def test_a_truncated_checkpoint_is_named_before_any_engine_starts(pods: Make, tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    with (broken / "model.safetensors").open("r+b") as file:
        file.truncate(1_000_000)
    replica = pods(vllm(broken)).pods[1]
    status = wait_for(lambda: (found := replica.status()).get("phase") == "Failed" and found, 60, "the pod has failed")
    assert status["rootCause"]["reason"] == "CheckpointTruncated"
    assert "model.safetensors" in status["rootCause"]["message"]
    assert status["ray"]["joined"] is False


def test_a_context_that_the_model_was_not_trained_for_is_named_by_its_field(pods: Make, tiny: Path) -> None:
    made = config(engine="vllm", engine_args={}, source=f"file://{tiny}", max_model_len=9999)
    replica = pods(made).pods[1]
    status = wait_for(lambda: (found := replica.status()).get("phase") == "Failed" and found, UP_SECONDS, "the engine has failed")
    assert "spec.context.maxTokens: 9999 is more than the 2048 tokens" in status["rootCause"]["message"]
