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

pytestmark = [pytest.mark.serving, pytest.mark.timeout(400)]

START = """
import sys
from vllm import LLM
LLM(model=sys.argv[1], tensor_parallel_size=int(sys.argv[2]), max_model_len=int(sys.argv[3]), max_num_seqs=4, enforce_eager=True)
"""
REPORTED = re.compile(r"KV cache size: ([\d,]+) tokens")


@pytest.mark.parametrize(("context", "space_gib"), [(512, 2), (1000, 1), (2048, 2)])
@pytest.mark.parametrize(("model", "tensor"), [("smollm2", 1), ("smollm2", 3), ("tiny", 2)])
def test_the_planner_knows_how_many_tokens_the_engine_will_have(
    request: pytest.FixtureRequest, model: str, tensor: int, context: int, space_gib: int
) -> None:
    path: Path = request.getfixturevalue(model)
    shape = ModelShape.from_config(json.loads((path / "config.json").read_text()))
    predicted = predict_cpu_kv_cache(shape, Precision.BFLOAT16, context=context, tensor=tensor, space_gib=space_gib)
    reported = tokens_of_a_real_engine(path, tensor, context, space_gib)
    assert 0.98 <= predicted.tokens / reported <= 1.02


def tokens_of_a_real_engine(path: Path, tensor: int, context: int, space_gib: int) -> int:
    """Start vLLM in a process of its own and read its log."""
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": str(space_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process fewer to start
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-c", START, str(path), str(tensor), str(context)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    said = REPORTED.search(done.stdout + done.stderr)
    assert said, (done.stdout + done.stderr)[-3000:]
    return int(said[1].replace(",", ""))
