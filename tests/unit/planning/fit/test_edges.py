"""The edges of the planner's rules: where a bound just holds, which changes are tried, and how options are ordered."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from tests.harness.models import bf16, fp8

from llama_operator.planning.facts import ModelFacts, Precision, Quantization
from llama_operator.planning.fit.option import Fit
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.quantize import quantized
from llama_operator.planning.fit.search import options, rank
from llama_operator.planning.fit.speed import link_tokens_per_second
from llama_operator.planning.fit.wishes import Ranking, Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, Accelerator, Hardware
from llama_operator.planning.models.catalogue import LLAMA_1B, LLAMA_8B, LLAMA_70B, LLAMA_405B

EIGHT = bf16(LLAMA_8B)
CPU = Hardware(accelerator=CATALOGUE["cpu"], gpus_per_node=0)


def nodes(name: str, gpus: int = 8) -> Hardware:
    return Hardware(accelerator=CATALOGUE[name], gpus_per_node=gpus)


H100 = nodes("nvidia-h100-80gb")


def best(model: ModelFacts, hardware: Hardware, **wishes: Any) -> Fit:
    found = plan_fit(model, hardware, Wishes(**wishes)).chosen
    assert found is not None
    return found


def changes(model: ModelFacts, hardware: Hardware, **wishes: Any) -> list[str]:
    return [each.change for each in plan_fit(model, hardware, Wishes(**wishes)).nearest]


def test_as_many_stages_as_layers_are_allowed_and_no_more_are_tried() -> None:
    small = bf16(dataclasses.replace(LLAMA_1B, layers=4))
    fits, rejected = options(small, H100, Wishes(tensor=1))
    assert {fit.pipeline for fit in fits} == {1, 2, 3, 4}
    assert rejected == []
    wide = dataclasses.replace(H100, gpus_per_node=64)
    assert max(fit.pipeline for fit in options(bf16(LLAMA_405B), wide, Wishes(nodes=4, tensor=1))[0]) == 64


def test_the_step_reads_the_weights_once_and_the_cache_of_every_sequence() -> None:
    one, four = (best(EIGHT, H100, tensor=1, pipeline=1, context_tokens=8192, concurrency=count) for count in (1, 4))
    cache = 8192 * 131_072 / 3.35e12
    assert one.decode_floor_seconds == four.decode_floor_seconds == pytest.approx((EIGHT.checkpoint_bytes - EIGHT.embedding) / 3.35e12)
    assert one.step_floor_seconds == pytest.approx(one.decode_floor_seconds + cache)  # type: ignore[operator]
    assert four.step_floor_seconds == pytest.approx(one.decode_floor_seconds + 4 * cache)  # type: ignore[operator]


def test_a_short_prompt_waits_for_the_weights() -> None:
    fit = best(EIGHT, H100, tensor=1, pipeline=1, context_tokens=16)
    assert fit.first_token_seconds == fit.decode_floor_seconds


def test_many_short_sequences_are_bound_by_arithmetic_and_over_slow_links_by_these() -> None:
    alone = best(EIGHT, H100, tensor=1, pipeline=1, context_tokens=16)
    assert alone.tokens_per_second == pytest.approx(989.5e12 / (2 * (6.979e9 + 4096 * 128_256)), rel=0.001)
    four = best(EIGHT, nodes("nvidia-l40s-48gb"), tensor=4, pipeline=1, context_tokens=16)
    assert four.tokens_per_second == pytest.approx(32e9 / (2 * 32 * 4096 * 2))
    l40s = CATALOGUE["nvidia-l40s-48gb"]
    assert [link_tokens_per_second(EIGHT, l40s, tensor, 16) for tensor in (1, 2)] == [math.inf, 32e9 / (2 * 16 * 4096 * 2)]
    assert link_tokens_per_second(EIGHT, dataclasses.replace(l40s, link=None), 2, 16) == math.inf


@pytest.mark.parametrize(
    ("model", "hardware", "wishes"),
    [
        (fp8(LLAMA_8B), H100, {"tensor": 8, "kv_cache_dtype": "fp8"}),
        (fp8(LLAMA_8B), CPU, {"kv_cache_dtype": "fp8", "cpu_kv_space_gib": 16}),
        (EIGHT, nodes("nvidia-a100-80gb"), {"kv_cache_dtype": "bfloat16"}),
    ],
)
def test_there_is_no_note_where_there_is_nothing_to_say(model: ModelFacts, hardware: Hardware, wishes: dict[str, Any]) -> None:
    assert best(model, hardware, **wishes).notes == ()


def test_a_cache_type_is_noted_where_only_flops_say_that_there_is_no_fp8() -> None:
    gpu = Accelerator(name="some", memory=80 * 2**30, flops={Precision.BFLOAT16: 1e15, Precision.INT8: 1e15})
    assert len(best(EIGHT, Hardware(accelerator=gpu, gpus_per_node=1), kv_cache_dtype="fp8").notes) == 1


def test_a_model_quantised_while_loading_has_a_byte_for_a_weight_and_a_scale_for_each_of_seven_matrices() -> None:
    small = quantized(EIGHT)
    weights = LLAMA_8B.hidden * LLAMA_8B.head_size
    layer = small.layers[0]
    assert layer.query_output == 2 * weights * 32 + 2 * 4
    assert layer.key_value == 2 * weights * 8 + 2 * 4
    assert layer.mlp == 3 * 4096 * 14_336 + 3 * 4
    assert small.quantization is not None
    assert dataclasses.astuple(small.quantization) == ("fp8", Precision.FP8, Precision.FP8, None, (), None)
    fit = best(EIGHT, H100, quantization="fp8", tensor=1)
    assert fit.prefill_tokens_per_second == pytest.approx(1979e12 / (2 * 6.979e9), rel=0.001)


@pytest.mark.parametrize("wishes", [{"pipeline": 2}, {"tensor": 2, "pipeline": 2}, {"layer_partition": (63, 63)}])
def test_a_parallelism_that_was_asked_for_is_left_to_the_planner_first(wishes: dict[str, Any]) -> None:
    found = plan_fit(fp8(LLAMA_405B), H100, Wishes(**{"tensor": 8} | wishes)).nearest
    assert found[0].change == "leave the parallelism to the planner"
    assert (found[0].fit.tensor, found[0].fit.pipeline) == (8, 1)


def test_changes_begin_where_the_wishes_end() -> None:
    assert "use 4 nodes of 4" in changes(bf16(LLAMA_405B), nodes("nvidia-h100-80gb", 4), nodes=2)
    assert "use 8 nodes of 1" in changes(bf16(LLAMA_405B), nodes("nvidia-b200-180gb", 1), utilization=0.62)
    assert not [each for each in changes(bf16(LLAMA_405B), nodes("nvidia-h100-80gb", 1)) if "nodes" in each]
    assert "ask for 1 sequences at once instead of 2" in changes(
        fp8(LLAMA_70B), nodes("nvidia-h100-80gb", 2), concurrency=2, utilization=0.75
    )


def test_int8_checkpoints_are_refused_where_vllm_has_no_kernels_for_them_and_such_gpus_are_not_proposed() -> None:
    method = Quantization(method="compressed-tensors", weights=Precision.INT8, activations=Precision.INT8)
    small, large = (dataclasses.replace(fp8(shape), quantization=method) for shape in (LLAMA_8B, LLAMA_405B))
    refused = plan_fit(small, nodes("nvidia-rtx-pro-6000-96gb"), Wishes())
    assert (refused.verdict, [problem.field for problem in refused.problems]) == ("invalid", ["hardware.accelerator"])
    assert "of compute capability 12.0, for INT8 weights and activations" in refused.problems[0].given
    assert {plan_fit(small, machine, Wishes(context_tokens=1024)).verdict for machine in (H100, CPU)} == {"fits"}
    for weights, activations in ((Precision.INT8, Precision.BFLOAT16), (Precision.INT4, Precision.INT8)):
        other = dataclasses.replace(small, quantization=dataclasses.replace(method, weights=weights, activations=activations))
        assert plan_fit(other, nodes("nvidia-b200-180gb"), Wishes()).verdict == "fits"
    proposed = [
        [each.accelerator for each in plan_fit(model, nodes("nvidia-h200-141gb", 4), Wishes(concurrency=3)).nearest][-1]
        for model in (large, fp8(LLAMA_405B))
    ]
    assert proposed == ["nvidia-h200-141gb", "nvidia-b200-180gb"]


def test_a_larger_gpu_is_of_the_same_maker() -> None:
    (change,) = [
        each for each in plan_fit(bf16(LLAMA_405B), nodes("amd-mi300x-192gb", 4), Wishes()).nearest if each.change.startswith("use amd")
    ]
    assert change.accelerator == "amd-mi355x-288gb"
    assert not [each for each in changes(bf16(LLAMA_405B), nodes("amd-mi355x-288gb", 1)) if "amd" in each or "nvidia" in each]


def test_options_are_ordered_by_the_ranking_and_what_is_unknown_comes_last() -> None:
    known = best(EIGHT, H100, tensor=1, pipeline=1)

    def fit(gpus: int, latency: float | None, rate: float | None, taken: float = 8.0) -> Fit:
        return dataclasses.replace(known, gpus=gpus, gpus_taken=taken, step_floor_seconds=latency, tokens_per_second=rate)

    slow, fast, blind = fit(2, 2.0, 0.5, 2.0), fit(8, 1.0, 1.6), fit(1, None, None, 1.0)
    assert rank([fast, slow, blind], Ranking.FEWEST_GPUS) == [blind, slow, fast]
    assert rank([blind, slow, fast], Ranking.LATENCY) == [fast, slow, blind]
    assert rank([blind, fast, slow], Ranking.THROUGHPUT) == [slow, fast, blind]
    more = fit(8, 1.0, 2.0)
    assert rank([fast, more], Ranking.FEWEST_GPUS) == [more, fast]
    assert rank([fit(1, 1.0, 0.9), fit(2, 1.0, 1.7)], Ranking.THROUGHPUT)[0].gpus == 1
