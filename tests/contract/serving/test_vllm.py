"""Real vLLM behind real agents: answers, load progress, first token, root causes. On the CPU."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bench.endpoint.barehost import BareHost, call, wait_for
from tests.contract.serving.conftest import Make, config

from llama_operator.adapters.model_files.folder import FolderReader
from llama_operator.planning.admission import as_status
from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.fit.kv import predict_cpu_kv_cache
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, Hardware
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


@pytest.mark.parametrize("tensor", [1, 3])
def test_the_trained_model_knows_the_capital_of_france(pods: Make, smollm2: Path, tensor: int) -> None:
    host = pods(vllm(smollm2, tensor_parallel=tensor))
    host.wait_ready(UP_SECONDS)
    assert "Paris" in chat(host, "What is the capital of France?")["choices"][0]["message"]["content"]
    said = host.pods[1].status()
    shape = ModelShape.from_config(json.loads((smollm2 / "config.json").read_text()))
    predicted = predict_cpu_kv_cache(shape, Precision.BFLOAT16, context=1024, tensor=tensor)
    planned = planned_for(smollm2, tensor)
    assert 0.98 <= said["engine"]["kvCacheTokens"] / predicted.tokens <= 1.02
    assert 0.98 <= said["weightBytesPerRank"] / planned["weightBytesPerGpu"] <= 1.02
    assert 0.98 <= said["memoryBytesPerRank"] / planned["memoryBytesPerGpu"] <= 1.02


def test_two_ranks_load_in_the_open_and_are_ready_only_after_a_token(pods: Make, tiny: Path) -> None:
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
