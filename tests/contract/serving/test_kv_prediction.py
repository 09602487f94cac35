"""The planner's KV cache against what a real engine reports: a trained model and a random one, split and whole, on the CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llama_operator.planning.facts import Precision
from llama_operator.planning.fit.kv import predict_cpu_kv_cache
from llama_serving.config import ModelShape

pytestmark = [pytest.mark.serving, pytest.mark.timeout(700)]

Case = tuple[str, int, int, int]
"""A model, how many ranks, the longest sequence, and GiB of a rank's cache."""

CASES: list[Case] = [
    (model, tensor, context, space)
    for model, tensor in (("smollm2", 3), ("tiny", 2), ("smollm2", 1))
    for context, space in ((512, 2), (1000, 1), (2048, 2))
]

# All engines in one process, one after the other, and their ranks forked from one server: an engine that is started on its own imports
# torch and vLLM once for itself and once for each of its ranks, which takes ten times as long as all the rest of its start.
START = """
import json, multiprocessing, os, sys
from vllm import LLM
from vllm.distributed.parallel_state import cleanup_dist_env_and_memory
from vllm.v1.executor import multiproc_executor

multiprocessing.set_forkserver_preload(["vllm.v1.worker.cpu_worker", "vllm.model_executor.models.llama"])
multiproc_executor.get_mp_context = lambda: multiprocessing.get_context("forkserver")
for number, (path, tensor, context, space) in enumerate(json.loads(sys.argv[1])):
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(space)
    print(f"engine number {number}", flush=True)
    llm = LLM(model=path, tensor_parallel_size=tensor, max_model_len=context, max_num_seqs=4, enforce_eager=True)
    llm.llm_engine.engine_core.shutdown()
    del llm
    cleanup_dist_env_and_memory()
"""
REPORTED = re.compile(r"KV cache size: ([\d,]+) tokens")


@pytest.fixture(scope="module")
def reported(smollm2: Path, tiny: Path) -> dict[Case, int]:
    """Tokens of each engine's cache, as it says in its log."""
    folders = {"smollm2": smollm2, "tiny": tiny}
    environment = {
        **os.environ,
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in the process that starts it
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    engines = json.dumps([(str(folders[model]), *rest) for model, *rest in CASES])
    command = [sys.executable, "-c", START, engines]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    logs = re.split(r"^engine number \d+$", done.stdout, flags=re.MULTILINE)[1:]
    said = [REPORTED.search(log) for log in logs]
    assert len(said) == len(CASES), done.stdout[-3000:]
    assert None not in said, logs[said.index(None)][-3000:]
    return {case: int(match[1].replace(",", "")) for case, match in zip(CASES, said, strict=True) if match}


@pytest.mark.parametrize(("model", "tensor", "context", "space_gib"), CASES)
def test_the_planner_knows_how_many_tokens_the_engine_will_have(
    request: pytest.FixtureRequest, reported: dict[Case, int], model: str, tensor: int, context: int, space_gib: int
) -> None:
    path: Path = request.getfixturevalue(model)
    shape = ModelShape.from_config(json.loads((path / "config.json").read_text()))
    predicted = predict_cpu_kv_cache(shape, Precision.BFLOAT16, context=context, tensor=tensor, space_gib=space_gib)
    assert 0.98 <= predicted.tokens / reported[model, tensor, context, space_gib] <= 1.02
