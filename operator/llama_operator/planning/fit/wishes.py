"""What is wanted of a plan, and what in it makes no sense."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import KvCacheDtype
from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.hardware.accelerators import GIB, INT8_ENDS, Hardware

OVERHEAD_BYTES = 3 * GIB
"""Of each GPU, beside weights and KV cache: NCCL and all-reduce buffers, the activations of one full batch, CUDA graphs. An assumption, not
a formula: vLLM measures it at start by a profile run (`determine_available_memory` in vllm/v1/worker/gpu_worker.py), and what it counts has
changed. Published runs, in GiB of one GPU, outside PyTorch + activations:
    Nov 2024  Llama 70B, 8 x H200         5.2 to 5.7 + 0.1   https://github.com/vllm-project/vllm/issues/10702
    Dec 2024  Llama 3 8B, 1 x H100        1.8 + 1.3          https://github.com/vllm-project/vllm/pull/10511
    Dec 2024  Llama 3 8B, 2 x H100        3.6 + 1.3          the same
    Mar 2025  7B, 1 GPU of 80 GB          0.2 + 2.4          https://github.com/kubernetes-sigs/gateway-api-inference-extension/pull/550
Those of 2024 count what lay on the GPU before the engine came; since https://github.com/vllm-project/vllm/pull/12126 only what the engine
adds is counted. Graphs came to 1.2 on 2 x RTX PRO 6000 (https://github.com/vllm-project/vllm/issues/22479) and are part of the profile
since 0.21. No log of 0.29 with eight GPUs was found. Replace it by what the engine's log says."""

UTILIZATION = 0.90
"""gpu_memory_utilization that is planned with. vLLM 0.29.0's own default is 0.92 (vllm/config/cache.py): a plan leaves some room."""

LARGEST_COUNT = 1_000_000_000
LARGEST_SPLIT = 64
"""As the bounds of `spec.parallelism` and `spec.hardware.gpusPerNode`."""


class Ranking(StrEnum):
    """Which of the options that fit is chosen; ties go to the next of fewer GPUs taken, lower latency, higher throughput."""

    FEWEST_GPUS = "fewest-gpus"
    """Fewest taken: a GPU beside a replica that no second replica could use is counted with it."""
    LATENCY = "latency"
    """Shortest time between tokens."""
    THROUGHPUT = "throughput"
    """Most tokens a second for each GPU."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What one replica must do, and within what."""

    context_tokens: int | None = None
    """Longest sequence, prompt and answer; None: the model's own."""
    concurrency: int = 1
    """Sequences of that length that the KV cache must hold at once."""
    quantization: Literal["fp8"] | None = None
    """Quantise the linear layers while loading (vLLM's `quantization: fp8`); None: as the checkpoint is."""
    kv_cache_dtype: KvCacheDtype = "auto"
    utilization: float = UTILIZATION
    """gpu_memory_utilization: the share of a GPU's memory that the engine takes."""
    overhead_bytes: int = OVERHEAD_BYTES
    """Of each GPU, for all but weights and KV cache."""
    nodes: int = 1
    """Nodes that one replica may span."""
    tensor: int | None = None
    """Tensor parallelism; None: the planner chooses."""
    pipeline: int | None = None
    """Pipeline parallelism; None: the planner chooses."""
    layer_partition: tuple[int, ...] | None = None
    """Layers of each stage, as VLLM_PP_LAYER_PARTITION; None: vLLM's rule."""
    cpu_kv_space_gib: int = 1
    """VLLM_CPU_KVCACHE_SPACE: GiB of KV cache of each rank of a CPU engine. The operator's own default."""
    read_bytes_per_second: float | None = None
    """Rate at which one node reads weights, from disk or network; None: not known."""
    price_per_gpu_hour: float | None = None
    """Of one GPU, in any currency; None: not known."""
    ranking: Ranking = Ranking.FEWEST_GPUS


def check_wishes(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> list[Problem]:
    """Everything that makes the question itself wrong, whatever the memory."""
    return list(_problems(model, hardware, wishes))


def _problems(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> Iterator[Problem]:
    longest = model.shape.max_positions
    counts = {
        "contextTokens": (wishes.context_tokens, LARGEST_COUNT),
        "concurrency": (wishes.concurrency, LARGEST_COUNT),
        "cpuKvSpaceGib": (wishes.cpu_kv_space_gib, LARGEST_COUNT),
        "nodes": (wishes.nodes, LARGEST_SPLIT),
        "tensor": (wishes.tensor, LARGEST_SPLIT),
        "pipeline": (wishes.pipeline, LARGEST_SPLIT),
    }
    for name, (count, most) in counts.items():
        if count is not None and not 1 <= count <= most:
            yield _problem(name, count, f"a whole number from 1 to {most}")
    if wishes.context_tokens is None and longest is None:
        yield _problem("contextTokens", "nothing", "a number of tokens, for the model's config.json names none", "Give one.")
    if wishes.context_tokens is not None and longest is not None and longest < wishes.context_tokens <= LARGEST_COUNT:
        yield _problem("contextTokens", wishes.context_tokens, f"1 to {longest}, the model's max_position_embeddings", "Lower it.")
    if wishes.quantization is not None and model.quantization is not None:
        method = model.quantization.method
        yield _problem("quantization", wishes.quantization, f"nothing: the checkpoint is quantised ({method})", "Remove it.")
    if not 0 < wishes.utilization <= 1:
        yield _problem("utilization", wishes.utilization, "a number above 0, at most 1")
    if wishes.overhead_bytes < 0:
        yield _problem("overheadBytes", wishes.overhead_bytes, "0 or more")
    if wishes.layer_partition is not None and (
        min(wishes.layer_partition, default=0) < 1 or sum(wishes.layer_partition) != model.shape.layers
    ):
        given = ",".join(map(str, wishes.layer_partition)) or "nothing"
        yield _problem("layerPartition", given, f"whole numbers above 0 that add up to {model.shape.layers}, the model's layers")
    if wishes.layer_partition is not None and wishes.pipeline not in {None, len(wishes.layer_partition)}:
        yield _problem("layerPartition", len(wishes.layer_partition), f"{wishes.pipeline} numbers, one for each stage")
    for name, rate in {"readBytesPerSecond": wishes.read_bytes_per_second, "pricePerGpuHour": wishes.price_per_gpu_hour}.items():
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            yield _problem(name, rate, "a number above 0")
    least, most = (0, 0) if hardware.accelerator.is_cpu else (1, LARGEST_SPLIT)
    if not least <= hardware.gpus_per_node <= most:
        allowed = "0 on a CPU" if hardware.accelerator.is_cpu else f"a whole number from {least} to {most}"
        yield Problem(field="hardware.gpusPerNode", given=str(hardware.gpus_per_node), allowed=allowed, remedy="Correct it.")
    capability = hardware.accelerator.capability
    if capability is not None and capability >= INT8_ENDS and _is_int8(model):
        given = f"{hardware.accelerator.name}, of compute capability {capability[0]}.{capability[1]}, for INT8 weights and activations"
        allowed = f"compute capabilities below {INT8_ENDS[0]}.{INT8_ENDS[1]}: vLLM has no INT8 kernels for later ones"
        yield Problem(
            field="hardware.accelerator", given=given, allowed=allowed, remedy="Take an FP8 checkpoint, or an earlier accelerator."
        )
    if not hardware.accelerator.is_cpu and hardware.accelerator.memory is None:
        yield Problem(field="hardware.accelerator", given="a GPU of unknown memory", allowed="one whose memory is given", remedy="Give it.")


def _is_int8(model: ModelFacts) -> bool:
    """Whether the linear layers are multiplied in INT8 where that is possible."""
    quantization = model.quantization
    return quantization is not None and {quantization.weights, quantization.activations} == {Precision.INT8}


def _problem(name: str, given: object, allowed: str, remedy: str = "Correct it.") -> Problem:
    return Problem(field=f"wishes.{name}", given=str(given), allowed=allowed, remedy=remedy)
