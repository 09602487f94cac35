"""How fast a split can be at best. Every number is a bound that no engine passes, not a forecast.

    step      = sum over stages of (weights + sequences / stages x context x KV bytes) of a rank / bandwidth     time between tokens
    prefill   = GPUs / sum over layers of (2 x parameters / flops of their precision)                           tokens a second
    links     = link / (2 sums x layers of the fullest stage x hidden x bytes of a value)                       tokens a second
    first     = prompt / prefill + attention (2 x prompt^2 x heads x head size for each layer, halved: causal) + lm_head once
    tokens    = sequences / max(step, sequences x arithmetic of a token, sequences / links)

The roofline of https://doi.org/10.1145/1498765.1498785. A token passes the stages one after the other, so pipeline parallelism divides
throughput's cost and not the step's. After attention and after the MLP the tensor-parallel ranks add their parts: every rank sends each
token's hidden values at least once (`tensor_model_parallel_all_reduce` in vllm/model_executor/layers/linear.py). Latencies of links,
kernels and scheduling are left out: published engines reach 35-45 % of the prefill
bound, for instance 39 % with TensorRT-LLM on 8 x H100 (2048 in, 128 out; https://github.com/NVIDIA/TensorRT-LLM, perf-overview.md of v1.0).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.fit.split import Layout
from llama_operator.planning.hardware.accelerators import Accelerator


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Seconds of one GPU's matrix units."""

    layers: float
    """For one token through the linear layers."""
    head: float
    """For one token's logits."""
    attention: float
    """For one pair of a token and one before it, in all layers."""


def linear_layers(model: ModelFacts) -> Iterator[tuple[int, Precision]]:
    """Parameters of every group of linear layers, and what they are multiplied in. A group of fewer bytes than the model's type has is a
    quantised one.
    """
    shape = model.shape
    attention = shape.hidden * shape.head_size
    sizes = (2 * attention * shape.heads, 2 * attention * shape.kv_heads, 3 * shape.hidden * shape.intermediate)
    for layer in model.layers:
        for parameters, held in zip(sizes, (layer.query_output, layer.key_value, layer.mlp), strict=True):
            quantised = model.quantization is not None and held * 8 < parameters * model.dtype.bits
            yield parameters, model.quantization.activations if quantised and model.quantization is not None else model.dtype


def multiplied_in(accelerator: Accelerator, wanted: Precision, dtype: Precision) -> Precision:
    """What the accelerator multiplies in: the precision wanted, or the model's own type where it cannot (weight-only kernels)."""
    return wanted if accelerator.multiplies(wanted) else dtype


def arithmetic(model: ModelFacts, accelerator: Accelerator) -> Arithmetic | None:
    """The model's arithmetic on that accelerator; None where its flops are not known."""
    flops, shape = accelerator.flops, model.shape
    parameters: dict[Precision, int] = {}
    for count, wanted in linear_layers(model):
        precision = multiplied_in(accelerator, wanted, model.dtype)
        parameters[precision] = parameters.get(precision, 0) + count
    if not parameters.keys() | {model.dtype} <= flops.keys():
        return None
    return Arithmetic(
        layers=sum(2 * count / flops[precision] for precision, count in parameters.items()),
        head=2 * shape.hidden * shape.vocabulary / flops[model.dtype],
        attention=4 * shape.layers * shape.heads * shape.head_size / flops[model.dtype],
    )


def step_seconds(layout: Layout, accelerator: Accelerator, *, token_bytes: int, sequences: int = 0, context: int = 0) -> float | None:
    """Least time between two tokens of a sequence, with so many sequences of so many tokens; None where the bandwidth is not known.

    `token_bytes` is of one layer on one rank. With 0 sequences only the weights are read: the floor of one short request.
    """
    if accelerator.bandwidth is None:
        return None
    each = -(-sequences // len(layout.layers)) * context * token_bytes
    return (layout.read + each * sum(layout.layers)) / accelerator.bandwidth


def link_tokens_per_second(model: ModelFacts, accelerator: Accelerator, tensor: int, most_layers: int) -> float:
    """Most tokens a second that the links of a stage of so many layers carry; infinite where nothing is sent or the links are not known."""
    if tensor == 1 or accelerator.link is None:
        return math.inf
    return accelerator.link / (2 * most_layers * model.shape.hidden * model.dtype.bits // 8)


def prefill_tokens_per_second(work: Arithmetic, gpus: int, links: float) -> float:
    """Most prompt tokens a second of all GPUs together, attention left out."""
    return min(gpus / work.layers, links)


def first_token_seconds(work: Arithmetic, gpus: int, prompt: int, step: float | None, links: float) -> float:
    """Least time to the first token of a prompt on idle GPUs: its arithmetic, and never less than its sums or reading the weights."""
    seconds = (prompt * work.layers + prompt**2 / 2 * work.attention + work.head) / gpus
    return max(seconds, prompt / links, step or 0.0)


def tokens_per_second(step: float | None, work: Arithmetic | None, gpus: int, sequences: int, links: float) -> float | None:
    """Most output tokens a second of `sequences` sequences whose step takes so long."""
    if step is None or sequences == 0:
        return None
    busy = sequences * (work.layers + work.head) / gpus if work is not None else 0.0
    return sequences / max(step, busy, sequences / links)


def price_per_million(gpus: int, price_per_gpu_hour: float | None, rate: float | None) -> float | None:
    """Least price of a million output tokens at that rate; None where price or rate is not known."""
    if price_per_gpu_hour is None or rate is None:
        return None
    return gpus * price_per_gpu_hour / 3600 / rate * 1e6


def load_seconds(checkpoint_bytes: int, read_bytes_per_second: float | None) -> float | None:
    """Least time in which a node reads the weights once; vLLM's default loader reads the whole checkpoint on every node. None where the
    rate is not known.
    """
    return None if read_bytes_per_second is None else checkpoint_bytes / read_bytes_per_second
