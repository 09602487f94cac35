"""The planner looks at no more than it must; here are its answers beside those of a search that looks at everything.

The reference computes every split from its own stages, anew for every question, and orders all of them: no sums of stages, no heaviest
stage, no layouts that are kept, no split passed over.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.harness.models import fp8
from tests.properties.test_fit import gpus, models, shapes

from llama_operator.planning.facts import ModelFacts, Precision, Quantization
from llama_operator.planning.fit import kv
from llama_operator.planning.fit.nearest import Change
from llama_operator.planning.fit.option import Fit
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.quantize import quantized
from llama_operator.planning.fit.search import Splits, best, most_requests, options
from llama_operator.planning.fit.split import layer_sums, split_layers, stages
from llama_operator.planning.fit.wishes import Ranking, Wishes, check_wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Accelerator, Hardware
from llama_serving.config import ModelShape

cpus = st.builds(
    lambda memory, bandwidth: Hardware(accelerator=Accelerator(name="cpu", memory=memory, bandwidth=bandwidth), gpus_per_node=0),
    st.one_of(st.none(), st.integers(GIB, 900 * GIB)),
    st.one_of(st.none(), st.floats(1e10, 1e12)),
)
named = st.sampled_from([entry for name, entry in CATALOGUE.items() if name != "cpu"])
nodes = st.builds(
    lambda gpu, count: Hardware(accelerator=gpu, gpus_per_node=count), st.one_of(gpus, named), st.sampled_from([1, 2, 3, 4, 8, 12])
)
hardware = st.one_of(nodes, cpus)


def int8(shape: ModelShape) -> ModelFacts:
    """A model that some accelerators of the catalogue are not asked about."""
    method = Quantization(method="compressed-tensors", weights=Precision.INT8, activations=Precision.INT8)
    return dataclasses.replace(fp8(shape), quantization=method)


@st.composite
def questions(draw: st.DrawFn) -> tuple[ModelFacts, Hardware, Wishes]:
    """Mostly valid ones, from those that everything fits to those that nothing does."""
    model = draw(st.one_of(models, shapes().map(int8)))
    layers = model.shape.layers
    partition = draw(st.one_of(st.none(), st.lists(st.integers(1, layers), min_size=1, max_size=4)))
    if partition is not None:
        partition = [*partition, layers - sum(partition)]
    return (
        model,
        draw(hardware),
        Wishes(
            context_tokens=draw(st.one_of(st.none(), st.integers(1, 131_072))),
            concurrency=draw(st.one_of(st.integers(1, 64), st.integers(1, 100_000))),
            quantization=draw(st.sampled_from([None, None, "fp8"])),
            kv_cache_dtype=draw(st.sampled_from(["auto", "bfloat16", "fp8"])),
            utilization=draw(st.floats(0.05, 1.0)),
            nodes=draw(st.integers(1, 3)),
            tensor=draw(st.sampled_from([None, None, None, 1, 2, 16])),
            pipeline=draw(st.sampled_from([None, None, None, 1, 2, 50])),
            layer_partition=None if partition is None else tuple(partition),
            cpu_kv_space_gib=draw(st.integers(1, 40)),
            ranking=draw(st.sampled_from(Ranking)),
        ),
    )


@given(questions())
def test_every_split_has_the_numbers_of_its_own_stages(question: tuple[ModelFacts, Hardware, Wishes]) -> None:
    model, machine, wishes = question
    if check_wishes(model, machine, wishes):
        return
    fits, rejected = options(model, machine, wishes)
    for fit in fits:
        left, blocks = _room(model, machine, wishes, fit.tensor, fit.pipeline)
        assert (fit.kv_bytes, fit.cache.blocks) == (left, blocks)
        assert fit.cache.requests >= wishes.concurrency
        floors = (fit.decode_floor_seconds, fit.step_floor_seconds)
        assert floors == tuple(_step(model, machine, wishes, fit, sequences) for sequences in (0, wishes.concurrency))
    for each in rejected:
        if each.pipeline is not None and each.rule in {"memory", "kv-cache"}:
            left, blocks = _room(model, machine, wishes, each.tensor, each.pipeline)
            context, block = _context(model, wishes), _block(machine)
            assert each.rule == ("memory" if left <= 0 else "kv-cache")
            assert left <= 0 or kv.kv_cache(blocks, block, context).requests < wishes.concurrency


@given(questions())
def test_the_best_and_the_most_are_those_of_all_splits(question: tuple[ModelFacts, Hardware, Wishes]) -> None:
    model, machine, wishes = question
    if check_wishes(model, machine, wishes):
        return
    fits, _ = options(model, machine, wishes)
    splits = Splits(model)
    for _ in range(2):  # what is kept from the first answer serves the second
        assert best(splits.ask(machine, wishes)) == (fits[0] if fits else None)
    if wishes.concurrency == 1:
        assert most_requests(splits.ask(machine, wishes)) == max((fit.cache.requests for fit in fits), default=0)


@given(questions())
def test_a_plan_is_that_of_a_search_through_everything(question: tuple[ModelFacts, Hardware, Wishes]) -> None:
    model, machine, wishes = question
    plan = plan_fit(model, machine, wishes)
    if check_wishes(model, machine, wishes):
        assert plan.verdict == "invalid"
        return
    fits, rejected = options(model, machine, wishes)
    assert ([plan.chosen, *plan.alternatives] if plan.chosen else []) == fits
    assert list(plan.rejected) == rejected
    assert list(plan.nearest) == ([] if fits else list(_nearest(model, machine, wishes)))


def _context(model: ModelFacts, wishes: Wishes) -> int:
    return wishes.context_tokens or model.shape.max_positions or 0


def _block(machine: Hardware) -> int:
    return kv.CPU_BLOCK_TOKENS if machine.accelerator.is_cpu else kv.BLOCK_TOKENS


def _parts(model: ModelFacts, wishes: Wishes, tensor: int, pipeline: int) -> tuple[ModelFacts, Any]:
    loaded = quantized(model) if wishes.quantization else model
    counts = split_layers(model.shape.layers, pipeline, wishes.layer_partition)
    return loaded, stages(loaded, tensor, counts, layer_sums(loaded, tensor))


def _room(model: ModelFacts, machine: Hardware, wishes: Wishes, tensor: int, pipeline: int) -> tuple[int, int]:
    """Bytes and blocks for KV cache, of the stage that has the fewest blocks; a negative number where the weights leave none."""
    loaded, parts = _parts(model, wishes, tensor, pipeline)
    page = kv.token_bytes(loaded.shape, tensor, kv.model_value_bytes(loaded, wishes.kv_cache_dtype)) * _block(machine)
    memory = machine.accelerator.memory
    if machine.accelerator.is_cpu:
        space = wishes.cpu_kv_space_gib * GIB
        if memory is not None and sum(tensor * (part.weights + space) for part in parts) > memory:
            return -1, 0
        return space, min(space // (page * part.layers) for part in parts)
    room = [math.ceil((memory or 0) * wishes.utilization) - wishes.overhead_bytes - part.weights for part in parts]
    if min(room) <= 0:
        return min(room), 0
    blocks, left = min((left // (page * part.layers), left) for left, part in zip(room, parts, strict=True))
    return left, blocks


def _step(model: ModelFacts, machine: Hardware, wishes: Wishes, fit: Fit, sequences: int) -> float | None:
    """Stage by stage: the weights, and the cache of the sequences that are in it."""
    loaded, parts = _parts(model, wishes, fit.tensor, fit.pipeline)
    token = kv.token_bytes(loaded.shape, fit.tensor, kv.model_value_bytes(loaded, wishes.kv_cache_dtype))
    if machine.accelerator.bandwidth is None:
        return None
    each = math.ceil(sequences / len(parts)) * _context(model, wishes) * token
    return sum(part.read + each * part.layers for part in parts) / machine.accelerator.bandwidth


def _nearest(model: ModelFacts, machine: Hardware, wishes: Wishes) -> Iterator[Change]:
    """Every change, answered by ordering all splits of the changed question."""

    def change(words: str, machine: Hardware = machine, **changed: Any) -> Change | None:
        wished = dataclasses.replace(wishes, **changed)
        fits = [] if check_wishes(model, machine, wished) else options(model, machine, wished)[0]
        return Change(change=words, accelerator=machine.accelerator.name, fit=fits[0]) if fits else None

    def most(**changed: Any) -> int:
        return max((fit.cache.requests for fit in options(model, machine, dataclasses.replace(wishes, **changed))[0]), default=0)

    gpu, gpus_per_node, cpu = machine.accelerator, machine.gpus_per_node, machine.accelerator.is_cpu
    given = wishes.tensor is not None or wishes.pipeline is not None or wishes.layer_partition is not None
    fp8_cache = wishes.kv_cache_dtype.startswith("fp8")
    savings = [
        change("leave the parallelism to the planner", tensor=None, pipeline=None, layer_partition=None) if given else None,
        None if fp8_cache else change("keep the KV cache in FP8", kv_cache_dtype="fp8"),
        None if wishes.quantization or cpu else change("quantise the weights to FP8", quantization="fp8"),
    ]
    if not any(savings) and not cpu:
        words = "quantise the weights to FP8 and keep the KV cache in FP8"
        savings.append(change(words, quantization="fp8", kv_cache_dtype="fp8"))
    sequences, blocks = most(concurrency=1), most(context_tokens=1)
    context = blocks // wishes.concurrency * _block(machine)
    words = f"ask for a context of {context:,} tokens instead of {_context(model, wishes):,}"
    fewer = f"ask for {sequences} sequences at once instead of {wishes.concurrency}"
    found = [
        *savings,
        change(fewer, concurrency=sequences) if sequences and wishes.concurrency > 1 else None,
        change(words, context_tokens=context) if context else None,
        next(filter(None, (change(f"use {count} nodes of {gpus_per_node}", nodes=count) for count in range(wishes.nodes + 1, 9))), None)
        if not cpu
        else None,
    ]
    yield from filter(None, found)
    maker = gpu.name.partition("-")[0]
    same = [each for each in CATALOGUE.values() if each.name.partition("-")[0] == maker] or list(CATALOGUE.values())
    larger = sorted((each.memory, each.name) for each in same if each.memory is not None and each.memory > (gpu.memory or 0))
    answers = (
        change(f"use {name}, {gpus_per_node} to a node", Hardware(accelerator=CATALOGUE[name], gpus_per_node=gpus_per_node))
        for _, name in larger
        if not cpu
    )
    yield from filter(None, [next(filter(None, answers), None)])
