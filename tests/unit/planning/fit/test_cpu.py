"""The KV cache of a CPU engine, as vLLM 0.29.0 counts it: worked by hand."""

from __future__ import annotations

import pytest
from tests.harness.models import bf16

from llama_operator.planning.facts import Precision
from llama_operator.planning.fit.kv import predict_cpu_kv_cache
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Accelerator, Hardware
from llama_serving.config import ModelShape

SMOLLM = ModelShape(
    layers=30, hidden=576, intermediate=1536, heads=9, kv_heads=3, head_size=64, vocabulary=49_152, max_positions=8192, tied=True
)
CPU = Hardware(accelerator=CATALOGUE["cpu"], gpus_per_node=0)


@pytest.mark.parametrize(
    ("tensor", "pipeline", "blocks"),
    [
        # 2**30 // (128 tokens x 2 x 3 heads x 64 x 2 bytes x 30 layers) = 2**30 // 2,949,120
        (1, 1, 364),
        # one head a rank
        (3, 1, 1092),
        # 15 layers a stage
        (1, 2, 728),
        # 30 layers over 4 stages are 7, 8, 8, 7: the eight count
        (1, 4, 1365),
    ],
)
def test_blocks_are_the_space_by_the_pages_of_the_fullest_stage(tensor: int, pipeline: int, blocks: int) -> None:
    cache = predict_cpu_kv_cache(SMOLLM, Precision.BFLOAT16, context=8192, tensor=tensor, pipeline=pipeline)
    assert (cache.blocks, cache.block_tokens, cache.tokens) == (blocks, 128, blocks * 128)
    assert cache.concurrency == pytest.approx(blocks * 128 / 8192)
    fit = plan_fit(bf16(SMOLLM), CPU, Wishes(tensor=tensor, pipeline=pipeline)).chosen
    assert fit is not None
    assert fit.cache == cache


def test_tokens_are_reported_by_whole_requests_of_the_longest_sequence() -> None:
    """A sequence of 1,000 tokens takes 8 blocks of 128: vLLM reports 364 / 8 x 1,000 tokens, not 364 x 128."""
    cache = predict_cpu_kv_cache(SMOLLM, Precision.BFLOAT16, context=1000)
    assert (cache.tokens, cache.concurrency, cache.requests) == (45_500, 45.5, 45)


def test_the_type_of_the_cache_counts() -> None:
    def blocks(**over: object) -> int:
        return predict_cpu_kv_cache(SMOLLM, Precision.FLOAT32, context=8192, **over).blocks  # type: ignore[arg-type]

    assert (blocks(), blocks(kv_cache_dtype="bfloat16"), blocks(kv_cache_dtype="fp8_e5m2")) == (182, 364, 728)
    assert blocks(space_gib=4) == 728


def test_the_partition_of_the_layers_counts() -> None:
    cache = predict_cpu_kv_cache(SMOLLM, Precision.BFLOAT16, context=8192, pipeline=2, partition=(10, 20))
    assert cache.blocks == 2**30 // (98_304 * 20)
    fit = plan_fit(bf16(SMOLLM), CPU, Wishes(layer_partition=(10, 20))).chosen
    assert fit is not None
    assert (fit.pipeline, fit.layers, fit.cache) == (2, (10, 20), cache)


def test_a_cpu_has_no_gpus_to_count_and_no_speed_where_nothing_is_known() -> None:
    fit = plan_fit(bf16(SMOLLM), CPU, Wishes(price_per_gpu_hour=1.0)).chosen
    assert fit is not None
    assert (fit.tensor, fit.pipeline, fit.gpus, fit.replicas_per_node, fit.overhead_bytes) == (1, 1, 0, None, 0)
    speeds = (fit.decode_floor_seconds, fit.step_floor_seconds, fit.tokens_per_second, fit.prefill_tokens_per_second)
    assert (*speeds, fit.first_token_seconds, fit.price_per_million_tokens) == (None,) * 6


def test_weights_and_cache_of_all_ranks_lie_in_the_pods_memory() -> None:
    """Two stages hold the tied embedding twice: 134.5 and 28.3 million weights of 2 bytes, and 2 GiB of cache in all."""
    needed = (134_515_008 + 49_152 * 576) * 2 + 2 * GIB

    def verdict(memory: int) -> str:
        small = Hardware(accelerator=Accelerator(name="cpu", memory=memory), gpus_per_node=0)
        return plan_fit(bf16(SMOLLM), small, Wishes(pipeline=2)).verdict

    assert (verdict(needed), verdict(needed - 1)) == ("fits", "does_not_fit")


def test_what_would_fit_a_small_pod_is_no_gpu_and_no_node() -> None:
    plan = plan_fit(bf16(SMOLLM), CPU, Wishes(concurrency=6))
    assert [each.change for each in plan.nearest] == [
        "keep the KV cache in FP8",
        "ask for 5 sequences at once instead of 6",
        "ask for a context of 7,680 tokens instead of 8,192",
    ]
    assert all(each.fit.cache.requests >= 5 for each in plan.nearest)


def test_a_cpu_is_never_asked_to_quantise() -> None:
    """Not even where the weights are what does not fit."""
    small = Hardware(accelerator=Accelerator(name="cpu", memory=GIB), gpus_per_node=0)
    answer = plan_fit(bf16(SMOLLM), small, Wishes())
    assert (answer.verdict, answer.nearest) == ("does_not_fit", ())
    assert [(each.rule, each.reason) for each in answer.rejected] == [
        ("memory", "weights and KV cache of all ranks need 1.25 GiB, and the pod has 1.00 GiB")
    ]
