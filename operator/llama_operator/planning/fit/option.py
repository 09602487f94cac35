"""One way to split a model: what it costs and gives, or why it cannot be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.fit import kv, speed
from llama_operator.planning.fit.split import Stage, split_layers, stages
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.gpus import GangShape, lay
from llama_operator.planning.hardware.accelerators import GIB, Accelerator, Hardware


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A split that holds what is wished. Bytes are of the rank that has most of them; None: it cannot be computed."""

    tensor: int
    pipeline: int
    layers: tuple[int, ...]
    """Of each stage."""
    gpus: int
    """Of one replica; 0 on a CPU."""
    nodes: int
    """That one replica spans."""
    replicas_per_node: int | None
    """Whole replicas that one node's GPUs hold; None where one replica needs several nodes, or the engine runs on a CPU."""
    gpus_taken: float
    """GPUs of one replica, with those of its nodes that no other replica of this split could use: 8 for 7 of a node of 8."""
    weight_bytes: int
    overhead_bytes: int
    kv_bytes: int
    """Room for KV cache on the rank whose room holds the fewest tokens."""
    cache: kv.KvCache
    decode_floor_seconds: float | None
    """Time between tokens of one short request: the weights read once."""
    step_floor_seconds: float | None
    """Time between tokens with the wished sequences, each of the wished context."""
    prefill_tokens_per_second: float | None
    first_token_seconds: float | None
    """For a prompt of the wished context on an idle replica."""
    tokens_per_second: float | None
    """Output of one replica whose KV cache is full of sequences of the wished context."""
    load_seconds: float | None
    price_per_million_tokens: float | None
    """At `tokens_per_second`."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A split that cannot be, and why: `rule` for programs, `reason` for people."""

    tensor: int
    pipeline: int | None
    """None where no pipeline parallelism helps."""
    rule: str
    reason: str

    @property
    def option(self) -> str:
        """The split in words."""
        return f"tensor {self.tensor}" + ("" if self.pipeline is None else f" x pipeline {self.pipeline}")


def gib(count: int) -> str:
    """Bytes as vLLM's log shows them."""
    return f"{count / GIB:.2f} GiB"


def context_of(model: ModelFacts, wishes: Wishes) -> int:
    """The longest sequence planned for; one of the two is given, as `check_wishes` asks."""
    return wishes.context_tokens or model.shape.max_positions or 0


@dataclass(frozen=True, kw_only=True)
class Question:
    """What every split is held against, and what of it is computed once."""

    model: ModelFacts
    hardware: Hardware
    wishes: Wishes
    work: speed.Arithmetic | None


def evaluate(question: Question, tensor: int, pipeline: int, sums: Sequence[int]) -> Fit | Rejected:
    """That split, which the model's sizes allow, against layers, nodes and memory; `sums` as `layer_sums` gives them."""
    model, hardware, wishes = question.model, question.hardware, question.wishes
    if pipeline > model.shape.layers:
        reason = f"{pipeline} stages are more than the model's {model.shape.layers} layers"
        return Rejected(tensor=tensor, pipeline=pipeline, rule="layers", reason=reason)
    gang = GangShape(pods=1, gpus_per_pod=0, stages_per_pod=pipeline)
    nodes = 1
    if not hardware.accelerator.is_cpu:
        gang = lay(tensor, pipeline, hardware.gpus_per_node)
        nodes = -(-gang.pods // (hardware.gpus_per_node // gang.gpus_per_pod))
    if nodes > wishes.nodes:
        words = (
            f"{gang.pods} pods of {gang.gpus_per_pod} GPUs need {nodes} nodes of {hardware.gpus_per_node}, and {wishes.nodes} may be used"
        )
        return Rejected(tensor=tensor, pipeline=pipeline, rule="nodes", reason=words)
    parts = stages(model, tensor, split_layers(model.shape.layers, pipeline, wishes.layer_partition), sums)
    return _within_memory(question, tensor, parts, gang.gpus, nodes)


def _within_memory(question: Question, tensor: int, parts: tuple[Stage, ...], gpus: int, nodes: int) -> Fit | Rejected:
    model, hardware, wishes, work = question.model, question.hardware, question.wishes, question.work
    accelerator, context, pipeline = hardware.accelerator, context_of(model, wishes), len(parts)
    room, overhead, problem = _room(accelerator, wishes, tensor, parts)
    if problem is not None:
        return Rejected(tensor=tensor, pipeline=pipeline, rule="memory", reason=problem)
    token = kv.token_bytes(model.shape, tensor, kv.model_value_bytes(model, wishes.kv_cache_dtype))
    block = kv.CPU_BLOCK_TOKENS if accelerator.is_cpu else kv.BLOCK_TOKENS
    blocks, kv_bytes = min((left // (token * block * part.layers), left) for left, part in zip(room, parts, strict=True))
    cache = kv.kv_cache(blocks, block, context)
    if cache.requests < wishes.concurrency:
        needed = wishes.concurrency * kv.request_blocks(context, block) + kv.NULL_BLOCKS
        reason = (
            f"the KV cache holds {blocks * block:,} tokens in {gib(kv_bytes)} of each rank, and {wishes.concurrency} of {context:,} need "
            f"{needed * block:,}"
        )
        return Rejected(tensor=tensor, pipeline=pipeline, rule="kv-cache", reason=reason)
    replicas = hardware.gpus_per_node // gpus if gpus and nodes == 1 else None
    floor = speed.step_seconds(parts, accelerator, token_bytes=token)
    step = speed.step_seconds(parts, accelerator, token_bytes=token, sequences=wishes.concurrency, context=context)
    full = speed.step_seconds(parts, accelerator, token_bytes=token, sequences=cache.requests, context=context)
    ranks = tensor * pipeline
    links = speed.link_tokens_per_second(model, accelerator, tensor, max(part.layers for part in parts))
    rate = speed.tokens_per_second(full, work, ranks, cache.requests, links)
    return Fit(
        tensor=tensor,
        pipeline=pipeline,
        layers=tuple(part.layers for part in parts),
        gpus=gpus,
        nodes=nodes,
        replicas_per_node=replicas,
        gpus_taken=nodes * hardware.gpus_per_node / (replicas or 1),
        weight_bytes=max(part.weights for part in parts),
        overhead_bytes=overhead,
        kv_bytes=kv_bytes,
        cache=cache,
        decode_floor_seconds=floor,
        step_floor_seconds=step,
        prefill_tokens_per_second=None if work is None else speed.prefill_tokens_per_second(work, ranks, links),
        first_token_seconds=None if work is None else speed.first_token_seconds(work, ranks, context, floor, links),
        tokens_per_second=rate,
        load_seconds=speed.load_seconds(model.checkpoint_bytes, wishes.read_bytes_per_second),
        price_per_million_tokens=speed.price_per_million(gpus, wishes.price_per_gpu_hour, rate),
        notes=tuple(_notes(model, accelerator, wishes, tensor)),
    )


def _room(accelerator: Accelerator, wishes: Wishes, tensor: int, parts: tuple[Stage, ...]) -> tuple[list[int], int, str | None]:
    """Bytes for KV cache on a rank of each stage, the overhead of a rank, and why there is none."""
    if accelerator.is_cpu:
        space = wishes.cpu_kv_space_gib * GIB
        needed = sum(tensor * (part.weights + space) for part in parts)
        if accelerator.memory is not None and needed > accelerator.memory:
            return [], 0, f"weights and KV cache of all ranks need {gib(needed)}, and the pod has {gib(accelerator.memory)}"
        return [space] * len(parts), 0, None
    memory = accelerator.memory or 0
    # As `request_memory` in vllm/v1/worker/utils.py rounds it.
    budget = math.ceil(memory * wishes.utilization)
    room = [budget - wishes.overhead_bytes - part.weights for part in parts]
    if min(room) <= 0:
        most = max(part.weights for part in parts)
        words = f"weights of {gib(most)} and {gib(wishes.overhead_bytes)} beside them leave no room for a KV cache in {gib(budget)}"
        return [], 0, f"{words}, which is {wishes.utilization:g} of {gib(memory)}"
    return room, wishes.overhead_bytes, None


def _notes(model: ModelFacts, accelerator: Accelerator, wishes: Wishes, tensor: int) -> list[str]:
    """What a reader of the plan should know beside its numbers."""
    notes = []
    quantization = model.quantization
    if quantization is not None and not accelerator.is_cpu and not accelerator.multiplies(quantization.activations):
        which = f"{quantization.weights.upper()} weights run weight-only (Marlin, {model.dtype} arithmetic)"
        notes.append(f"{accelerator.name} has no {quantization.activations.upper()} arithmetic: {which}")
    if wishes.kv_cache_dtype.startswith("fp8") and not accelerator.is_cpu and not accelerator.multiplies(Precision.FP8):
        notes.append(f"{accelerator.name} has no FP8 arithmetic: not every attention backend of vLLM reads an FP8 KV cache there")
    if tensor > model.shape.kv_heads:
        notes.append(
            f"each of {model.shape.kv_heads} KV heads is copied to {tensor // model.shape.kv_heads} ranks: their cache is not shared"
        )
    return notes
