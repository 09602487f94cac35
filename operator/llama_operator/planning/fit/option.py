"""One way to split a model: what it costs and gives, or why it cannot be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.fit import kv, speed
from llama_operator.planning.fit.split import Layout, Layouts
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

    layouts: Layouts
    hardware: Hardware
    wishes: Wishes

    @cached_property
    def model(self) -> ModelFacts:
        """The model as it will be loaded."""
        return self.layouts.model

    @cached_property
    def work(self) -> speed.Arithmetic | None:
        """Its arithmetic; only splits that fit ask for it."""
        return speed.arithmetic(self.model, self.hardware.accelerator)

    @cached_property
    def context(self) -> int:
        """The longest sequence planned for."""
        return context_of(self.model, self.wishes)

    @cached_property
    def block_tokens(self) -> int:
        """Tokens of one block of the KV cache."""
        return kv.CPU_BLOCK_TOKENS if self.hardware.accelerator.is_cpu else kv.BLOCK_TOKENS

    @cached_property
    def budget(self) -> int:
        """Bytes of a GPU that the engine takes, as `request_memory` in vllm/v1/worker/utils.py rounds them."""
        return math.ceil((self.hardware.accelerator.memory or 0) * self.wishes.utilization)

    @cached_property
    def value_bytes(self) -> int:
        """Bytes of one key or value."""
        return kv.model_value_bytes(self.model, self.wishes.kv_cache_dtype)

    def layout(self, tensor: int, pipeline: int) -> Layout:
        """The model split that way."""
        return self.layouts.find(tensor, pipeline, self.wishes.layer_partition)

    def token_bytes(self, tensor: int) -> int:
        """Bytes of one token in one layer on one rank."""
        return kv.token_bytes(self.model.shape, tensor, self.value_bytes)


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a split leaves for the KV cache, on the rank whose room holds the fewest tokens."""

    missing: int
    """Bytes by which a rank, or on a CPU the pod, has too little memory for the weights; 0: there is room."""
    nbytes: int
    blocks: int


def requests_held(question: Question, tensor: int, pipeline: int) -> int:
    """Sequences of the wished context that that split, which the model's sizes allow, holds at once; 0 where it cannot be. What `evaluate`
    finds, without its other numbers and its words.
    """
    if pipeline > question.model.shape.layers or _gang(question, tensor, pipeline)[1] > question.wishes.nodes:
        return 0
    blocks = _room(question, tensor, question.layout(tensor, pipeline)).blocks
    return kv.requests_held(blocks, question.block_tokens, question.context)


def evaluate(question: Question, tensor: int, pipeline: int) -> Fit | Rejected:
    """That split, which the model's sizes allow, against layers, nodes and memory."""
    model, hardware, wishes = question.model, question.hardware, question.wishes
    if pipeline > model.shape.layers:
        reason = f"{pipeline} stages are more than the model's {model.shape.layers} layers"
        return Rejected(tensor=tensor, pipeline=pipeline, rule="layers", reason=reason)
    gang, nodes = _gang(question, tensor, pipeline)
    if nodes > wishes.nodes:
        words = (
            f"{gang.pods} pods of {gang.gpus_per_pod} GPUs need {nodes} nodes of {hardware.gpus_per_node}, and {wishes.nodes} may be used"
        )
        return Rejected(tensor=tensor, pipeline=pipeline, rule="nodes", reason=words)
    layout = question.layout(tensor, pipeline)
    room = _room(question, tensor, layout)
    if room.missing:
        return Rejected(tensor=tensor, pipeline=pipeline, rule="memory", reason=_no_memory(question, tensor, layout))
    cache = kv.kv_cache(room.blocks, question.block_tokens, question.context)
    if cache.requests < wishes.concurrency:
        return Rejected(tensor=tensor, pipeline=pipeline, rule="kv-cache", reason=_too_few(question, room))
    return _fit(question, tensor, layout, gang.gpus, nodes, room, cache)


def _gang(question: Question, tensor: int, pipeline: int) -> tuple[GangShape, int]:
    """The pods of one replica, and the nodes that they need."""
    if question.hardware.accelerator.is_cpu:
        return GangShape(pods=1, gpus_per_pod=0, stages_per_pod=pipeline), 1
    node = question.hardware.gpus_per_node
    gang = lay(tensor, pipeline, node)
    return gang, -(-gang.pods // (node // gang.gpus_per_pod))


def _room(question: Question, tensor: int, layout: Layout) -> Room:
    """The room that the layout leaves."""
    accelerator, wishes = question.hardware.accelerator, question.wishes
    page = question.token_bytes(tensor) * question.block_tokens
    if accelerator.is_cpu:
        space = wishes.cpu_kv_space_gib * GIB
        missing = 0 if accelerator.memory is None else max(0, _pod_bytes(question, tensor, layout) - accelerator.memory)
        return Room(missing=missing, nbytes=space, blocks=0 if missing else space // (page * max(layout.layers)))
    most = question.budget - wishes.overhead_bytes
    # One byte has to be left.
    missing = max(0, layout.weights + 1 - most)
    blocks, left = min(((most - part.weights) // (page * part.layers), most - part.weights) for part in layout.heaviest)
    return Room(missing=missing, nbytes=left, blocks=0 if missing else blocks)


def _pod_bytes(question: Question, tensor: int, layout: Layout) -> int:
    """Of weights and KV cache of all ranks of a CPU engine, which lie in one pod."""
    return tensor * (layout.held + len(layout.layers) * question.wishes.cpu_kv_space_gib * GIB)


def _no_memory(question: Question, tensor: int, layout: Layout) -> str:
    accelerator, wishes = question.hardware.accelerator, question.wishes
    memory = accelerator.memory or 0
    if accelerator.is_cpu:
        needed = _pod_bytes(question, tensor, layout)
        return f"weights and KV cache of all ranks need {gib(needed)}, and the pod has {gib(memory)}"
    words = f"weights of {gib(layout.weights)} and {gib(wishes.overhead_bytes)} beside them leave no room for a KV cache"
    return f"{words} in {gib(question.budget)}, which is {wishes.utilization:g} of {gib(memory)}"


def _too_few(question: Question, room: Room) -> str:
    wishes, block, context = question.wishes, question.block_tokens, question.context
    needed = wishes.concurrency * kv.request_blocks(context, block) + kv.NULL_BLOCKS
    held = f"the KV cache holds {room.blocks * block:,} tokens in {gib(room.nbytes)} of each rank"
    return f"{held}, and {wishes.concurrency} of {context:,} need {needed * block:,}"


def _fit(question: Question, tensor: int, layout: Layout, gpus: int, nodes: int, room: Room, cache: kv.KvCache) -> Fit:
    """All numbers of a split that holds what is wished."""
    model, hardware, wishes, work = question.model, question.hardware, question.wishes, question.work
    accelerator, context, pipeline, token = hardware.accelerator, question.context, len(layout.layers), question.token_bytes(tensor)
    replicas = hardware.gpus_per_node // gpus if gpus and nodes == 1 else None
    floor = speed.step_seconds(layout, accelerator, token_bytes=token)
    step = speed.step_seconds(layout, accelerator, token_bytes=token, sequences=wishes.concurrency, context=context)
    full = speed.step_seconds(layout, accelerator, token_bytes=token, sequences=cache.requests, context=context)
    ranks = tensor * pipeline
    links = speed.link_tokens_per_second(model, accelerator, tensor, max(layout.layers))
    rate = speed.tokens_per_second(full, work, ranks, cache.requests, links)
    return Fit(
        tensor=tensor,
        pipeline=pipeline,
        layers=layout.layers,
        gpus=gpus,
        nodes=nodes,
        replicas_per_node=replicas,
        gpus_taken=nodes * hardware.gpus_per_node / (replicas or 1),
        weight_bytes=layout.weights,
        overhead_bytes=0 if accelerator.is_cpu else wishes.overhead_bytes,
        kv_bytes=room.nbytes,
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
