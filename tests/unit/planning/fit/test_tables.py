"""What is known of Llama 3.1 on real accelerators, with its source, against what the planner computes."""

from __future__ import annotations

import dataclasses
import math

import pytest
from tests.harness.models import bf16, fp8, meta_fp8

from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.fit.option import Fit
from llama_operator.planning.fit.plan import FitPlan, plan_fit
from llama_operator.planning.fit.speed import arithmetic, first_token_seconds
from llama_operator.planning.fit.split import layer_sums, split_layers, stages
from llama_operator.planning.fit.wishes import Ranking, Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Hardware
from llama_operator.planning.models.catalogue import LLAMA_8B, LLAMA_70B, LLAMA_405B, known_facts

H100, H200, B200 = "nvidia-h100-80gb", "nvidia-h200-141gb", "nvidia-b200-180gb"
LONGEST = 131_072


def plan(model: ModelFacts, accelerator: str, gpus: int = 8, **wishes: object) -> FitPlan:
    return plan_fit(model, Hardware(accelerator=CATALOGUE[accelerator], gpus_per_node=gpus), Wishes(**wishes))  # type: ignore[arg-type]


def chosen(model: ModelFacts, accelerator: str, gpus: int = 8, **wishes: object) -> Fit:
    found = plan(model, accelerator, gpus, **wishes).chosen
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "gigabytes"),
    [(fp8(LLAMA_405B), 410.1), (meta_fp8(LLAMA_405B), 487.2), (bf16(LLAMA_405B), 811.7), (bf16(LLAMA_8B), 16.06)],
)
def test_the_checkpoints_have_their_known_sizes(model: ModelFacts, gigabytes: float) -> None:
    assert model.checkpoint_bytes / 1e9 == pytest.approx(gigabytes, abs=0.06)


def test_what_vllm_loaded_of_405b_on_eight_h100_is_what_a_rank_holds() -> None:
    """`Loading model weights took 57.7520 GB` (GiB) on each of 8 GPUs: https://github.com/vllm-project/vllm/issues/6746, 24 July 2024,
    when the published checkpoint still had 16 KV heads."""
    model = meta_fp8(dataclasses.replace(LLAMA_405B, kv_heads=16))
    (part,) = stages(model, 8, (126,), layer_sums(model, 8))
    assert part.weights / GIB == pytest.approx(57.752, rel=0.002)


@pytest.mark.parametrize(("tensor", "gibibytes"), [(1, 14.96), (2, 7.48)])
def test_what_vllm_loaded_of_8b_is_what_a_rank_holds(tensor: int, gibibytes: float) -> None:
    """`model weights take 14.96GiB`, and 7.48GiB with -tp 2: https://github.com/vllm-project/vllm/pull/10511."""
    model = bf16(LLAMA_8B)
    (part,) = stages(model, tensor, (32,), layer_sums(model, tensor))
    assert part.weights / GIB == pytest.approx(gibibytes, abs=0.006)


def test_the_kv_room_of_8b_on_one_h100_is_that_of_a_published_run() -> None:
    """79.22 GiB x 0.90 less 14.96, 1.79 and 1.26 GiB: `available_kv_cache_memory 53.29GiB` (the same pull request)."""
    assert chosen(bf16(LLAMA_8B), H100, 1).kv_bytes / GIB == pytest.approx(53.29, rel=0.01)


@pytest.mark.parametrize(
    ("model", "accelerator", "nodes", "tokens", "concurrency"),
    [
        (fp8(LLAMA_405B), H100, 1, 340_000, 2.6),
        (meta_fp8(LLAMA_405B), H100, 1, 191_000, 1.5),
        (bf16(LLAMA_405B), H100, 2, 697_000, 5.3),
    ],
)
def test_405b_at_its_longest_context_on_h100(model: ModelFacts, accelerator: str, nodes: int, tokens: int, concurrency: float) -> None:
    """GPUs x (79.1 GiB x 0.90 - 3 GiB) less the checkpoint, by 516,096 bytes a token."""
    fit = chosen(model, accelerator, nodes=nodes, context_tokens=LONGEST)
    assert (fit.tensor, fit.pipeline, fit.nodes, fit.gpus) == (8, nodes, nodes, 8 * nodes)
    assert fit.cache.tokens == pytest.approx(tokens, rel=0.005)
    assert fit.cache.concurrency == pytest.approx(concurrency, abs=0.05)
    assert fit.cache.requests >= 1


def test_405b_in_bf16_does_not_fit_one_node_of_h100_and_the_plan_says_what_would() -> None:
    answer = plan(bf16(LLAMA_405B), H100)
    assert (answer.verdict, answer.chosen, answer.alternatives) == ("does_not_fit", None, ())
    (whole,) = [each for each in answer.rejected if (each.tensor, each.pipeline) == (8, 1)]
    assert whole.rule == "memory"
    assert whole.reason == (
        "weights of 94.50 GiB and 3.00 GiB beside them leave no room for a KV cache in 71.19 GiB, which is 0.9 of 79.10 GiB"
    )
    assert [(each.change, each.fit.tensor, each.fit.pipeline) for each in answer.nearest] == [
        ("quantise the weights to FP8", 8, 1),
        ("use 2 nodes of 8", 8, 2),
        ("use nvidia-h200-141gb, 8 to a node", 8, 1),
    ]
    assert answer.nearest[1].fit == chosen(bf16(LLAMA_405B), H100, nodes=2)


def test_70b_in_bf16_fits_four_a100() -> None:
    assert {(each.tensor, each.pipeline) for each in plan(bf16(LLAMA_70B), "nvidia-a100-80gb", 4).alternatives} == {(2, 2), (1, 4), (1, 3)}
    assert chosen(bf16(LLAMA_70B), "nvidia-a100-80gb", 4).tensor == 4


def test_8b_fits_one_l4_in_fp8_and_not_in_bf16_at_its_longest_context() -> None:
    fit = chosen(fp8(LLAMA_8B), "nvidia-l4-24gb", 1, context_tokens=8192, concurrency=8)
    assert (fit.gpus, fit.notes) == (1, ())
    answer = plan(bf16(LLAMA_8B), "nvidia-l4-24gb", 1)
    assert [each.rule for each in answer.rejected] == ["kv-cache"]
    assert [each.change for each in answer.nearest] == [
        "quantise the weights to FP8 and keep the KV cache in FP8",
        "ask for a context of 15,296 tokens instead of 131,072",
        "use 2 nodes of 1",
        "use nvidia-a100-40gb, 1 to a node",
    ]
    assert all(each.fit.cache.requests >= 1 for each in answer.nearest)


@pytest.mark.parametrize(
    ("model", "accelerator", "milliseconds"),
    [
        (fp8(LLAMA_405B), H100, 15.1),
        (meta_fp8(LLAMA_405B), H100, 18.0),
        (fp8(LLAMA_405B), H200, 10.6),
        (meta_fp8(LLAMA_405B), H200, 12.6),
        (bf16(LLAMA_405B), H200, 21.0),
        (fp8(LLAMA_405B), B200, 6.6),
        (meta_fp8(LLAMA_405B), B200, 7.85),
        (bf16(LLAMA_405B), B200, 13.1),
    ],
)
def test_the_decode_floor_is_the_weights_by_the_bandwidth(model: ModelFacts, accelerator: str, milliseconds: float) -> None:
    """Bytes of all linear layers and lm_head / (8 x 3.35, 4.8 or 7.7 TB/s)."""
    fit = chosen(model, accelerator, context_tokens=8192, tensor=8)
    assert fit.decode_floor_seconds is not None
    assert fit.decode_floor_seconds * 1e3 == pytest.approx(milliseconds, rel=0.01)


@pytest.mark.parametrize(("accelerator", "rate"), [(H100, 19_600), (B200, 44_600)])
def test_the_prefill_bound_is_the_arithmetic_by_the_flops(accelerator: str, rate: float) -> None:
    """8 x 1.979e15 (4.5e15) / (2 x 401.65e9), about."""
    assert chosen(fp8(LLAMA_405B), accelerator, tensor=8).prefill_tokens_per_second == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(("prompt", "seconds"), [(2048, 0.11), (8192, 0.45), (32_768, 2.2), (131_072, 15.7)])
def test_the_first_token_of_405b_on_eight_h100(prompt: int, seconds: float) -> None:
    """FP8 linear layers and BF16 attention at 100 % of peak."""
    work = arithmetic(fp8(LLAMA_405B), CATALOGUE[H100])
    assert work is not None
    assert first_token_seconds(work, 8, prompt, None, math.inf) == pytest.approx(seconds, rel=0.04)


def test_over_pcie_the_links_bound_the_prefill_of_a_small_model() -> None:
    """L40S, PCIe 4.0 x16: 32 GB/s one way by 2 x 32 layers x 4096 values of 2 bytes; the arithmetic would allow 104,000."""
    alone, four = (chosen(bf16(LLAMA_8B), "nvidia-l40s-48gb", 4, context_tokens=8192, tensor=count, pipeline=1) for count in (1, 4))
    assert alone.prefill_tokens_per_second == pytest.approx(362e12 / (2 * 6.979e9), rel=0.001)
    assert four.prefill_tokens_per_second == 32e9 / (2 * 32 * 4096 * 2)
    assert four.first_token_seconds == pytest.approx(8192 / (32e9 / (2 * 32 * 4096 * 2)))
    halves = chosen(bf16(LLAMA_8B), "nvidia-l40s-48gb", 4, context_tokens=8192, tensor=2, pipeline=2)
    assert halves.prefill_tokens_per_second == pytest.approx(4 * 362e12 / (2 * 6.979e9), rel=0.001)


@pytest.mark.parametrize(("rate", "seconds"), [(7e9, 58.6), (45e9, 9.11), (4.3e9, 95.4)])
def test_weights_load_no_faster_than_they_are_read(rate: float, seconds: float) -> None:
    assert chosen(fp8(LLAMA_405B), H100, read_bytes_per_second=rate).load_seconds == pytest.approx(seconds, rel=0.01)


def test_fp8_weights_on_an_a100_run_weight_only_and_the_plan_says_so() -> None:
    """https://docs.vllm.ai/en/latest/features/quantization/fp8/: below 8.9 FP8 Marlin, W8A16."""
    fit = chosen(fp8(LLAMA_70B), "nvidia-a100-80gb", 4, kv_cache_dtype="fp8", tensor=4)
    assert fit.notes == (
        "nvidia-a100-80gb has no FP8 arithmetic: FP8 weights run weight-only (Marlin, bfloat16 arithmetic)",
        "nvidia-a100-80gb has no FP8 arithmetic: not every attention backend of vLLM reads an FP8 KV cache there",
    )
    assert fit.prefill_tokens_per_second == chosen(bf16(LLAMA_70B), "nvidia-a100-80gb", 4, tensor=4).prefill_tokens_per_second


def test_above_the_kv_heads_they_are_copied_and_the_plan_says_so() -> None:
    fit = chosen(fp8(LLAMA_405B), H100, 16, tensor=16)
    assert fit.notes == ("each of 8 KV heads is copied to 2 ranks: their cache is not shared",)


@pytest.mark.parametrize(
    ("layers", "stages_", "counts"),
    [(126, 2, (63, 63)), (126, 4, (31, 32, 32, 31)), (80, 3, (27, 27, 26)), (30, 4, (7, 8, 8, 7)), (7, 4, (2, 2, 2, 1)), (5, 5, (1,) * 5)],
)
def test_layers_go_to_stages_as_vllm_splits_them(layers: int, stages_: int, counts: tuple[int, ...]) -> None:
    """Worked by hand from `get_pp_indices` of vLLM 0.29.0."""
    assert split_layers(layers, stages_) == counts


def test_the_ranking_chooses() -> None:
    question = {"model": bf16(LLAMA_8B), "accelerator": H100, "context_tokens": 8192}
    fewest, fastest, cheapest = (chosen(**question, ranking=ranking) for ranking in Ranking)  # type: ignore[arg-type]
    assert (fewest.gpus, fewest.replicas_per_node) == (1, 8)
    assert (fastest.tensor, fastest.pipeline) == (8, 1)
    assert fastest.decode_floor_seconds < fewest.decode_floor_seconds  # type: ignore[operator]
    rates = {each: each.tokens_per_second / each.gpus for each in (fewest, fastest, cheapest)}  # type: ignore[operator]
    assert rates[cheapest] == max(rates.values())


def test_a_gpu_that_no_other_replica_could_use_counts_as_taken() -> None:
    """405B in FP8 fits on 7 GPUs as 7 stages of one, at eight times the latency; the eighth would stand idle."""
    answer = plan(fp8(LLAMA_405B), H100, context_tokens=LONGEST)
    assert answer.chosen is not None
    assert (answer.chosen.gpus, answer.chosen.tensor) == (8, 8)
    (seven,) = [each for each in answer.alternatives if each.gpus == 7]
    assert seven.gpus_taken == answer.chosen.gpus_taken == 8


def test_a_price_is_per_million_tokens_of_a_full_replica() -> None:
    fit = chosen(fp8(LLAMA_405B), H100, price_per_gpu_hour=2.0)
    assert fit.tokens_per_second is not None
    assert fit.price_per_million_tokens == pytest.approx(16 / 3600 / fit.tokens_per_second * 1e6)


@pytest.mark.parametrize(
    ("repo", "tokens"),
    [("meta-llama/Llama-3.1-405B-Instruct-FP8", 191_000), ("RedHatAI/Meta-Llama-3.1-405B-Instruct-FP8-dynamic", 340_000)],
)
def test_the_catalogues_405b_fits_a_node_of_h100(repo: str, tokens: int) -> None:
    model = known_facts(f"hf://{repo}")
    assert model is not None
    fit = chosen(model, H100)
    assert (fit.tensor, fit.pipeline) == (8, 1)
    assert fit.cache.tokens == pytest.approx(tokens, rel=0.005)


@pytest.mark.parametrize(
    ("method", "brought", "asked", "halved"),
    [
        ("modelopt", Precision.FP8, "auto", True),
        ("modelopt", Precision.FP8, "bfloat16", False),
        ("compressed-tensors", Precision.FP8, "bfloat16", True),
        ("compressed-tensors", None, "auto", False),
        ("compressed-tensors", None, "fp8", True),
    ],
)
def test_a_checkpoint_may_bring_the_type_of_its_cache(method: str, brought: Precision | None, asked: str, halved: bool) -> None:
    """As `Quantization.kv_cache` says of vLLM."""
    plain = fp8(LLAMA_8B)
    method_ = dataclasses.replace(plain.quantization, method=method, kv_cache=brought)  # type: ignore[type-var]
    fit = chosen(dataclasses.replace(plain, quantization=method_), H100, kv_cache_dtype=asked, tensor=1)
    whole = chosen(plain, H100, kv_cache_dtype="bfloat16", tensor=1)
    assert fit.cache.blocks // whole.cache.blocks == (2 if halved else 1)
