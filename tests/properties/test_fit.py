"""What holds for every Llama, every split and every wish: sizes add up, more GPUs give more room, longer sequences fewer of them."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.harness.models import bf16, fp8, meta_fp8

from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.document import PlanDocument, to_json
from llama_operator.planning.fit.option import Fit
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.quantize import quantized
from llama_operator.planning.fit.search import options
from llama_operator.planning.fit.split import layer_sums, split_layers, stages, why_not_tensor
from llama_operator.planning.fit.wishes import Ranking, Wishes, check_wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Accelerator, Hardware
from llama_serving.config import ModelShape


@st.composite
def shapes(draw: st.DrawFn) -> ModelShape:
    kv_heads = draw(st.integers(1, 8))
    heads = kv_heads * draw(st.integers(1, 8))
    head_size = draw(st.sampled_from([8, 64, 128]))
    return ModelShape(
        layers=draw(st.integers(1, 40)),
        hidden=heads * head_size,
        intermediate=draw(st.integers(1, 64)) * 96,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary=draw(st.integers(1, 130_000)),
        max_positions=draw(st.integers(1, 131_072)),
        tied=draw(st.booleans()),
    )


models = st.one_of(shapes().map(bf16), shapes().map(fp8), shapes().map(meta_fp8))
gpus = st.builds(
    lambda memory, bandwidth: Accelerator(name="some-gpu", memory=memory, bandwidth=bandwidth),
    st.integers(4 * GIB, 90 * GIB),
    st.one_of(st.none(), st.floats(1e11, 1e13)),
)
hardware = st.builds(lambda gpu, count: Hardware(accelerator=gpu, gpus_per_node=count), gpus, st.sampled_from([1, 2, 3, 4, 8, 12]))
wishes = st.builds(
    Wishes,
    context_tokens=st.one_of(st.none(), st.integers(1, 131_072)),
    concurrency=st.integers(1, 64),
    quantization=st.sampled_from([None, "fp8"]),
    kv_cache_dtype=st.sampled_from(["auto", "bfloat16", "fp8"]),
    utilization=st.floats(0.5, 1.0),
    nodes=st.integers(1, 3),
    tensor=st.sampled_from([None, None, 1, 2, 3, 16]),
    pipeline=st.sampled_from([None, None, 1, 2, 5, 50]),
    ranking=st.sampled_from(Ranking),
)


def fits(model: ModelFacts, nodes: Hardware, wish: Wishes) -> list[Fit]:
    return [] if check_wishes(model, nodes, wish) else options(model, nodes, wish)[0]


@given(models, hardware, wishes)
def test_a_plan_is_whole_and_every_option_of_it_keeps_its_promises(model: ModelFacts, nodes: Hardware, wish: Wishes) -> None:
    plan = plan_fit(model, nodes, wish)
    assert (plan.verdict == "fits") == (plan.chosen is not None)
    assert (plan.verdict == "invalid") == bool(plan.problems)
    assert not (plan.nearest and plan.verdict != "does_not_fit")
    for fit in [plan.chosen, *plan.alternatives] if plan.chosen else []:
        assert model.shape.allows_tensor(fit.tensor)
        assert fit.tensor <= nodes.gpus_per_node
        assert sum(fit.layers) == model.shape.layers
        assert fit.gpus == fit.tensor * fit.pipeline <= fit.gpus_taken <= fit.nodes * nodes.gpus_per_node
        assert fit.nodes <= wish.nodes
        assert fit.cache.requests >= wish.concurrency
        assert fit.cache.requests <= fit.cache.concurrency
        assert fit.weight_bytes + fit.overhead_bytes < nodes.accelerator.memory * wish.utilization + 1  # type: ignore[operator]
    for change in plan.nearest:
        assert change.change
        assert change.fit.cache.requests >= 1
    document = to_json(plan)
    assert PlanDocument.model_validate(json.loads(json.dumps(document))).verdict == plan.verdict


@given(models, st.integers(0, 1000), st.integers(0, 1000))
def test_every_byte_of_the_checkpoint_lies_on_some_rank(model: ModelFacts, one: int, other: int) -> None:
    tensors = [number for number in range(1, 13) if why_not_tensor(model, number) is None]
    assume(tensors)
    tensor, pipeline = tensors[one % len(tensors)], 1 + other % model.shape.layers
    counts = split_layers(model.shape.layers, pipeline)
    parts = stages(model, tensor, counts, layer_sums(model, tensor))
    assert sum(counts) == model.shape.layers
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1
    assert sum(part.weights for part in parts) * tensor >= model.checkpoint_bytes
    assert all(part.read <= part.weights for part in parts)
    if tensor == pipeline == 1 and model.shape.vocabulary % 64 == 0:
        assert parts[0].weights == model.checkpoint_bytes
        assert parts[0].read == model.checkpoint_bytes - (0 if model.shape.tied else model.embedding)


@given(models, st.integers(1, 64))
def test_what_the_planner_splits_vllm_splits(model: ModelFacts, tensor: int) -> None:
    reason = why_not_tensor(model, tensor)
    assert model.shape.allows_tensor(tensor) or reason is not None
    assert (reason is None or reason[0] in {"vocabulary", "quantisation-groups"}) == model.shape.allows_tensor(tensor)


@given(models, gpus, st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 4))
def test_more_gpus_never_give_less_room(model: ModelFacts, gpu: Accelerator, tensor: int, pipeline: int, times: int, more: int) -> None:
    nodes = Hardware(accelerator=gpu, gpus_per_node=12)

    def tokens(tensor: int, pipeline: int) -> int | None:
        found = fits(model, nodes, Wishes(context_tokens=1, tensor=tensor, pipeline=pipeline, nodes=64))
        return found[0].cache.tokens if found else None

    few, many = tokens(tensor, pipeline), tokens(tensor * times, pipeline + more)
    assume(few is not None and why_not_tensor(model, tensor * times) is None and pipeline + more <= model.shape.layers)
    assert many is not None
    assert few is not None
    assert many >= few


@given(models, hardware, st.integers(1, 60_000), st.integers(1, 60_000))
def test_a_longer_context_never_has_more_concurrency(model: ModelFacts, nodes: Hardware, one: int, other: int) -> None:
    short, long = sorted((one, other))
    model = dataclasses.replace(model, shape=dataclasses.replace(model.shape, max_positions=None))
    few = {(fit.tensor, fit.pipeline): fit.cache for fit in fits(model, nodes, Wishes(context_tokens=long))}
    many = {(fit.tensor, fit.pipeline): fit.cache for fit in fits(model, nodes, Wishes(context_tokens=short))}
    assert few.keys() <= many.keys()
    for split, cache in few.items():
        assert cache.concurrency <= many[split].concurrency
        assert cache.requests <= many[split].requests


@given(models, hardware)
def test_an_fp8_cache_holds_twice_the_tokens_but_for_a_block(model: ModelFacts, nodes: Hardware) -> None:
    whole = fits(model, nodes, Wishes(context_tokens=1))
    half = {(fit.tensor, fit.pipeline): fit.cache for fit in fits(model, nodes, Wishes(context_tokens=1, kv_cache_dtype="fp8"))}
    for fit in whole:
        assert 0 <= half[fit.tensor, fit.pipeline].blocks - 2 * fit.cache.blocks <= 1


@given(models, hardware, wishes)
def test_the_chosen_is_the_best_by_its_ranking(model: ModelFacts, nodes: Hardware, wish: Wishes) -> None:
    plan = plan_fit(model, nodes, wish)
    for fit in plan.alternatives:
        assert plan.chosen is not None
        if wish.ranking is Ranking.FEWEST_GPUS:
            assert plan.chosen.gpus_taken <= fit.gpus_taken
        elif wish.ranking is Ranking.LATENCY and nodes.accelerator.bandwidth is not None:
            assert plan.chosen.step_floor_seconds <= fit.step_floor_seconds  # type: ignore[operator]
        elif nodes.accelerator.bandwidth is not None:
            best, other = plan.chosen.tokens_per_second, fit.tokens_per_second
            assert best / plan.chosen.gpus >= other / fit.gpus  # type: ignore[operator]


@given(shapes().map(bf16))
def test_quantised_weights_are_half_as_large_and_the_tables_stay(model: ModelFacts) -> None:
    small = quantized(model)
    assert (small.embedding, small.lm_head, small.norm) == (model.embedding, model.lm_head, model.norm)
    for before, after in zip(model.layers, small.layers, strict=True):
        assert after.replicated == before.replicated
        assert after.total - after.replicated == pytest.approx((before.total - before.replicated) / 2, abs=28)


@given(st.sampled_from(sorted(set(CATALOGUE) - {"cpu"})), st.sampled_from([1, 2, 4, 8]))
def test_a_larger_memory_never_makes_a_model_not_fit(name: str, count: int) -> None:
    model = bf16(
        ModelShape(
            layers=80, hidden=8192, intermediate=28_672, heads=64, kv_heads=8, head_size=128, vocabulary=128_256, max_positions=131_072
        )
    )
    small = Hardware(accelerator=CATALOGUE[name], gpus_per_node=count)
    large = Hardware(accelerator=dataclasses.replace(CATALOGUE[name], memory=200 * GIB), gpus_per_node=count)
    if plan_fit(model, small, Wishes()).verdict == "fits" and (small.accelerator.memory or 0) <= 200 * GIB:
        assert plan_fit(model, large, Wishes()).verdict == "fits"
