"""Plans in small: what is refused and why, what a question may not ask, and what a plan looks like as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.harness.models import bf16, fp8, meta_fp8

from llama_operator.planning.facts import KnownFrom, LayerWeights, ModelFacts, Precision, Quantization
from llama_operator.planning.fit.document import SCHEMA_FILE, PlanDocument, json_schema, to_json
from llama_operator.planning.fit.option import Rejected
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.speed import (
    arithmetic,
    first_token_seconds,
    linear_layers,
    load_seconds,
    price_per_million,
    step_seconds,
    tokens_per_second,
)
from llama_operator.planning.fit.split import Stage, lay_out, layer_sums, stages, why_not_tensor
from llama_operator.planning.fit.wishes import Wishes, check_wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Accelerator, Hardware
from llama_operator.planning.models.catalogue import LLAMA_8B, LLAMA_70B, LLAMA_405B

ROOT = Path(__file__).resolve().parents[4]
H100 = CATALOGUE["nvidia-h100-80gb"]
NODE = Hardware(accelerator=H100, gpus_per_node=8)
CPU = Hardware(accelerator=CATALOGUE["cpu"], gpus_per_node=0)
EIGHT = bf16(LLAMA_8B, "Llama-3.1-8B")


def rejected(model: ModelFacts, hardware: Hardware, **wishes: Any) -> list[Rejected]:
    return list(plan_fit(model, hardware, Wishes(**wishes)).rejected)


@pytest.mark.parametrize(
    ("model", "tensor", "rule", "words"),
    [
        (EIGHT, 3, "heads", "32 attention heads are not divided by 3"),
        (bf16(dataclasses.replace(LLAMA_8B, kv_heads=6)), 4, "kv-heads", "6 KV heads are not divided by 4"),
        (bf16(dataclasses.replace(LLAMA_8B, kv_heads=3)), 4, "kv-heads", "4 ranks cannot hold equally many copies of 3 KV heads"),
        (bf16(dataclasses.replace(LLAMA_8B, intermediate=14_337)), 2, "intermediate", "the MLP of 14337 is not divided by 2"),
        (
            bf16(dataclasses.replace(LLAMA_8B, heads=24, kv_heads=3, intermediate=9216, vocabulary=128_255)),
            6,
            "vocabulary",
            "the vocabulary of 128255, padded to 128256, is not divided by 6",
        ),
        (
            fp8(LLAMA_8B, group_size=512),
            16,
            "quantisation-groups",
            "o_proj has 256 inputs on each of 16 ranks, which groups of 512 with one scale do not divide",
        ),
        (
            fp8(LLAMA_8B, group_size=128),
            32,
            "quantisation-groups",
            "down_proj has 448 inputs on each of 32 ranks, which groups of 128 with one scale do not divide",
        ),
    ],
)
def test_a_split_that_the_model_forbids_says_which_size(model: ModelFacts, tensor: int, rule: str, words: str) -> None:
    if rule == "vocabulary":
        model = dataclasses.replace(model, shape=dataclasses.replace(model.shape, vocabulary=128_191))
        words = "the vocabulary of 128191, padded to 128192, is not divided by 6"
    assert why_not_tensor(model, tensor) == (rule, words)
    (first,) = rejected(model, dataclasses.replace(NODE, gpus_per_node=64), tensor=tensor)
    assert (first.option, first.rule, first.reason) == (f"tensor {tensor}", rule, words)


def test_a_group_that_divides_every_slice_is_no_obstacle() -> None:
    assert why_not_tensor(fp8(LLAMA_8B, group_size=128), 16) is None
    assert why_not_tensor(fp8(LLAMA_8B), 32) is None


@pytest.mark.parametrize(
    ("wishes", "option", "rule", "words"),
    [
        ({"tensor": 16}, "tensor 16", "node", "tensor parallelism stays inside a node, whose links carry it, and a node has 8 GPUs"),
        ({"tensor": 8, "pipeline": 2}, "tensor 8 x pipeline 2", "nodes", "2 pods of 8 GPUs need 2 nodes of 8, and 1 may be used"),
        (
            {"tensor": 1, "pipeline": 15, "nodes": 2},
            "tensor 1 x pipeline 15",
            "nodes",
            "3 pods of 5 GPUs need 3 nodes of 8, and 2 may be used",
        ),
        ({"tensor": 1, "pipeline": 33}, "tensor 1 x pipeline 33", "layers", "33 stages are more than the model's 32 layers"),
        (
            {"tensor": 1, "pipeline": 1, "concurrency": 4},
            "tensor 1 x pipeline 1",
            "kv-cache",
            "the KV cache holds 436,080 tokens in 53.23 GiB of each rank, and 4 of 131,072 need 524,304",
        ),
        (
            {"tensor": 1, "pipeline": 1, "utilization": 0.2},
            "tensor 1 x pipeline 1",
            "memory",
            "weights of 14.96 GiB and 3.00 GiB beside them leave no room for a KV cache in 15.82 GiB, which is 0.2 of 79.10 GiB",
        ),
    ],
)
def test_a_split_that_the_hardware_forbids_says_what_is_missing(wishes: dict[str, Any], option: str, rule: str, words: str) -> None:
    (first,) = rejected(EIGHT, NODE, **wishes)
    assert (first.option, first.rule, first.reason) == (option, rule, words)


def test_pods_that_leave_half_a_node_share_it() -> None:
    """Tensor 2 x pipeline 3 is three stages in one pod of 6; tensor 4 x pipeline 3 is three pods of 4, two of them to a node of 8."""
    fits = {(fit.tensor, fit.pipeline): fit for fit in plan_fit(EIGHT, NODE, Wishes(nodes=2)).alternatives}
    assert (fits[2, 3].nodes, fits[2, 3].replicas_per_node, fits[2, 3].gpus_taken) == (1, 1, 8)
    assert (fits[4, 3].nodes, fits[4, 3].replicas_per_node, fits[4, 3].gpus_taken) == (2, None, 16)
    assert (fits[2, 1].replicas_per_node, fits[2, 1].gpus_taken) == (4, 2)


@pytest.mark.parametrize(
    ("wishes", "hardware", "field", "allowed"),
    [
        ({"context_tokens": 0}, NODE, "wishes.contextTokens", "a whole number from 1 to 1000000000"),
        ({"context_tokens": 131_073}, NODE, "wishes.contextTokens", "1 to 131072, the model's max_position_embeddings"),
        ({"concurrency": 0}, NODE, "wishes.concurrency", "a whole number from 1 to 1000000000"),
        ({"nodes": 65}, NODE, "wishes.nodes", "a whole number from 1 to 64"),
        ({"nodes": 0}, NODE, "wishes.nodes", "a whole number from 1 to 64"),
        ({"tensor": 0}, NODE, "wishes.tensor", "a whole number from 1 to 64"),
        ({"pipeline": 65}, NODE, "wishes.pipeline", "a whole number from 1 to 64"),
        ({"cpu_kv_space_gib": 0}, CPU, "wishes.cpuKvSpaceGib", "a whole number from 1 to 1000000000"),
        ({"utilization": 0.0}, NODE, "wishes.utilization", "a number above 0, at most 1"),
        ({"utilization": 1.01}, NODE, "wishes.utilization", "a number above 0, at most 1"),
        ({"utilization": float("nan")}, NODE, "wishes.utilization", "a number above 0, at most 1"),
        ({"overhead_bytes": -1}, NODE, "wishes.overheadBytes", "0 or more"),
        ({"layer_partition": (16, 15)}, NODE, "wishes.layerPartition", "whole numbers above 0 that add up to 32, the model's layers"),
        ({"layer_partition": (0, 32)}, NODE, "wishes.layerPartition", "whole numbers above 0 that add up to 32, the model's layers"),
        ({"layer_partition": ()}, NODE, "wishes.layerPartition", "whole numbers above 0 that add up to 32, the model's layers"),
        ({"layer_partition": (16, 16), "pipeline": 3}, NODE, "wishes.layerPartition", "3 numbers, one for each stage"),
        ({"read_bytes_per_second": 0.0}, NODE, "wishes.readBytesPerSecond", "a number above 0"),
        ({"price_per_gpu_hour": float("inf")}, NODE, "wishes.pricePerGpuHour", "a number above 0"),
        ({}, dataclasses.replace(NODE, gpus_per_node=0), "hardware.gpusPerNode", "a whole number from 1 to 64"),
        ({}, dataclasses.replace(NODE, gpus_per_node=65), "hardware.gpusPerNode", "a whole number from 1 to 64"),
        ({}, dataclasses.replace(CPU, gpus_per_node=1), "hardware.gpusPerNode", "0 on a CPU"),
        (
            {},
            Hardware(accelerator=Accelerator(name="x", memory=None), gpus_per_node=1),
            "hardware.accelerator",
            "one whose memory is given",
        ),
    ],
)
def test_a_question_that_makes_no_sense_is_not_answered(wishes: dict[str, Any], hardware: Hardware, field: str, allowed: str) -> None:
    answer = plan_fit(EIGHT, hardware, Wishes(**wishes))
    assert (answer.verdict, answer.chosen, answer.rejected, answer.nearest) == ("invalid", None, (), ())
    assert [(problem.field, problem.allowed) for problem in answer.problems] == [(field, allowed)]
    assert answer.problems[0].remedy


@pytest.mark.parametrize(
    "wishes",
    [
        {"context_tokens": 1},
        {"tensor": 64, "pipeline": 64, "nodes": 64},
        {"utilization": 1.0, "overhead_bytes": 0},
        {"layer_partition": (1, 31), "pipeline": 2},
    ],
)
def test_the_bounds_themselves_are_allowed(wishes: dict[str, Any]) -> None:
    assert check_wishes(EIGHT, dataclasses.replace(NODE, gpus_per_node=64), Wishes(**wishes)) == []


def test_a_context_must_be_given_where_the_model_names_none() -> None:
    endless = bf16(dataclasses.replace(LLAMA_8B, max_positions=None))
    (problem,) = check_wishes(endless, NODE, Wishes())
    assert (problem.field, problem.given, problem.remedy) == ("wishes.contextTokens", "nothing", "Give one.")
    fit = plan_fit(endless, NODE, Wishes(context_tokens=400_000)).chosen
    assert fit is not None
    assert (fit.cache.tokens, fit.cache.requests) == (436_080, 1)


def test_a_quantised_checkpoint_is_not_quantised_again() -> None:
    (problem,) = check_wishes(fp8(LLAMA_8B), NODE, Wishes(quantization="fp8"))
    assert problem.allowed == "nothing: the checkpoint is quantised (compressed-tensors)"


def test_the_nearest_changes_leave_the_parallelism_to_the_planner_first() -> None:
    answer = plan_fit(fp8(LLAMA_405B), NODE, Wishes(tensor=4, pipeline=1))
    changes = {each.change: each for each in answer.nearest}
    assert next(iter(changes)) == "leave the parallelism to the planner"
    assert changes["leave the parallelism to the planner"].fit.tensor == 8
    assert changes["use nvidia-h200-141gb, 8 to a node"].accelerator == "nvidia-h200-141gb"


def test_fewer_sequences_are_proposed_where_the_cache_is_too_small_for_all() -> None:
    answer = plan_fit(fp8(LLAMA_405B), NODE, Wishes(concurrency=6))
    assert [each.change for each in answer.nearest] == [
        "ask for 2 sequences at once instead of 6",
        "ask for a context of 56,688 tokens instead of 131,072",
        "use 2 nodes of 8",
        "use nvidia-h200-141gb, 8 to a node",
    ]
    assert answer.nearest[1].fit.cache.requests == 6


def test_an_accelerator_of_an_unknown_maker_may_be_replaced_by_any() -> None:
    small = Hardware(accelerator=Accelerator(name="tiny", memory=20 * GIB), gpus_per_node=1)
    answer = plan_fit(EIGHT, small, Wishes(context_tokens=8192, overhead_bytes=6 * GIB))
    assert (answer.nearest[-1].change, answer.nearest[-1].accelerator) == ("use nvidia-a100-40gb, 1 to a node", "nvidia-a100-40gb")


def test_nothing_is_proposed_where_no_single_change_helps() -> None:
    small = Hardware(accelerator=dataclasses.replace(CATALOGUE["nvidia-l4-24gb"], memory=2 * GIB), gpus_per_node=1)
    assert plan_fit(fp8(LLAMA_405B), small, Wishes(kv_cache_dtype="fp8")).nearest == ()


def test_what_is_asked_for_already_is_not_proposed() -> None:
    answer = plan_fit(bf16(LLAMA_405B), NODE, Wishes(quantization="fp8", kv_cache_dtype="fp8", concurrency=6))
    assert [each.change for each in answer.nearest] == [
        "ask for 5 sequences at once instead of 6",
        "ask for a context of 113,440 tokens instead of 131,072",
        "use 2 nodes of 8",
        "use nvidia-h100-nvl-94gb, 8 to a node",
    ]


def test_speeds_are_unknown_where_bandwidth_or_flops_are() -> None:
    gpu = Accelerator(name="some", memory=80 * GIB, bandwidth=1e12)
    fit = plan_fit(EIGHT, Hardware(accelerator=gpu, gpus_per_node=1), Wishes()).chosen
    assert fit is not None
    assert (fit.prefill_tokens_per_second, fit.first_token_seconds, fit.load_seconds) == (None, None, None)
    assert fit.decode_floor_seconds == pytest.approx(15.01e9 / 1e12, rel=0.001)
    assert fit.tokens_per_second == pytest.approx(fit.cache.requests / (fit.decode_floor_seconds + 3 * 131_072 * 131_072 / 1e12))


def test_a_token_passes_the_stages_one_after_the_other() -> None:
    parts = lay_out((Stage(layers=2, weights=50, read=40), Stage(layers=1, weights=70, read=60)))
    gpu = Accelerator(name="some", memory=1, bandwidth=10.0)
    assert step_seconds(parts, gpu, token_bytes=4) == 10
    # five sequences on two stages are three at a time; each has 6 tokens of 4 bytes in every layer
    assert step_seconds(parts, gpu, token_bytes=4, sequences=5, context=6) == (40 + 3 * 24 * 2 + 60 + 3 * 24) / 10
    assert step_seconds(parts, Accelerator(name="some", memory=1), token_bytes=4) is None


def test_arithmetic_bounds_a_large_batch() -> None:
    work = arithmetic(EIGHT, H100)
    assert work is not None
    free = math.inf
    assert tokens_per_second(1e-9, work, 2, 1000, free) == pytest.approx(2 / (work.layers + work.head))
    assert tokens_per_second(10.0, work, 2, 1000, free) == 100
    assert tokens_per_second(10.0, None, 2, 1000, free) == 100
    assert tokens_per_second(10.0, None, 2, 1000, 5.0) == 5
    assert tokens_per_second(None, work, 2, 1, free) is None
    assert tokens_per_second(1.0, work, 2, 0, free) is None
    assert first_token_seconds(work, 1, 1, 0.5, free) == 0.5
    assert first_token_seconds(work, 1, 1, None, free) == pytest.approx(work.layers + work.attention / 2 + work.head)
    assert 1 / work.layers == pytest.approx(989.5e12 / (2 * 6.979e9), rel=0.001)
    assert 1 / work.head == pytest.approx(989.5e12 / (2 * 4096 * 128_256))
    assert (load_seconds(10, 4.0), load_seconds(10, None)) == (2.5, None)
    assert (price_per_million(4, 9.0, 100.0), price_per_million(4, None, 1.0), price_per_million(4, 9.0, None)) == (100.0, None, None)


def test_only_the_quantised_layers_multiply_in_fp8() -> None:
    def share(model: ModelFacts) -> float:
        found = list(linear_layers(model))
        return sum(count for count, precision in found if precision is Precision.FP8) / sum(count for count, _ in found)

    assert share(bf16(LLAMA_405B)) == 0
    assert share(fp8(LLAMA_405B)) == 1
    mlp = 3 * 16_384 * 53_248
    assert share(meta_fp8(LLAMA_405B)) == pytest.approx(124 * mlp / (126 * (mlp + 16_384 * 128 * 272)))


def test_weight_only_methods_multiply_in_the_models_type() -> None:
    awq = Quantization(method="awq", weights=Precision.INT4, activations=Precision.BFLOAT16, group_size=128)
    whole = bf16(LLAMA_70B)
    layer = whole.layers[0]
    small = LayerWeights(
        query_output=layer.query_output // 4, key_value=layer.key_value // 4, mlp=layer.mlp // 4, replicated=layer.replicated
    )
    model = dataclasses.replace(whole, layers=(small,) * 80, quantization=awq)
    fit = plan_fit(model, NODE, Wishes(tensor=1)).chosen
    assert fit is not None
    assert fit.notes == ()
    assert arithmetic(model, H100) == arithmetic(whole, H100)


def test_the_tied_embedding_lies_on_the_first_and_the_last_stage() -> None:
    tied = bf16(dataclasses.replace(LLAMA_8B, tied=True))
    (whole,) = stages(tied, 1, (32,), layer_sums(tied, 1))
    assert whole.weights == whole.read == tied.checkpoint_bytes
    first, last = stages(tied, 1, (16, 16), layer_sums(tied, 1))
    assert first.weights + last.weights == tied.checkpoint_bytes + tied.embedding
    assert (first.weights - first.read, last.weights - last.read) == (tied.embedding, 0)


def test_the_vocabulary_is_padded_on_both_tables() -> None:
    odd = bf16(dataclasses.replace(LLAMA_8B, vocabulary=128_001))
    (part,) = stages(odd, 1, (32,), layer_sums(odd, 1))
    assert part.weights == odd.checkpoint_bytes + 2 * 63 * 4096 * 2
    first, _, last = stages(odd, 1, (10, 11, 11), layer_sums(odd, 1))
    assert first.weights - first.read == 128_064 * 4096 * 2
    assert last.weights == last.read


def test_a_plan_is_written_as_json_with_a_schema() -> None:
    document = to_json(plan_fit(EIGHT, NODE, Wishes(context_tokens=8192, price_per_gpu_hour=2.5, read_bytes_per_second=7e9)))
    assert document["schemaVersion"] == 1
    assert (document["verdict"], document["model"], document["accelerator"]) == ("fits", "Llama-3.1-8B", "nvidia-h100-80gb")
    best = document["chosen"]
    assert (best["tensorParallel"], best["pipelineParallel"], best["gpus"], best["replicasPerNode"]) == (1, 1, 1, 8)
    assert (best["weightBytesPerGpu"], best["kvCacheTokens"], best["requestsAtContext"]) == (16_060_522_496, 436_080, 53)
    assert best["maxConcurrencyAtContext"] == 436_080 / 8192
    assert best["decodeFloorSeconds"] == pytest.approx(0.00448, abs=1e-5)
    assert best["loadSeconds"] == pytest.approx(16.06 / 7, rel=0.001)
    assert document["rejected"][0] == {
        "option": "tensor 3",
        "tensorParallel": 3,
        "pipelineParallel": None,
        "rule": "heads",
        "reason": "32 attention heads are not divided by 3",
    }
    assert document["nearest"] == document["problems"] == []


@pytest.mark.parametrize("known_from", ["checkpoint", "catalogue", "config"])
def test_a_document_says_where_the_models_sizes_are_from_whatever_the_verdict(known_from: KnownFrom) -> None:
    model = dataclasses.replace(EIGHT, known_from=known_from)
    documents = [to_json(plan_fit(model, NODE, wishes)) for wishes in (Wishes(), Wishes(utilization=0.01), Wishes(concurrency=0))]
    assert [(each["verdict"], each["knownFrom"]) for each in documents] == [
        ("fits", known_from),
        ("does_not_fit", known_from),
        ("invalid", known_from),
    ]
    with pytest.raises(ValidationError, match="knownFrom"):
        PlanDocument.model_validate(documents[0] | {"knownFrom": "hearsay"})


def test_a_plan_that_does_not_fit_and_a_question_that_makes_no_sense_are_written_too() -> None:
    nothing = to_json(plan_fit(bf16(LLAMA_405B), NODE, Wishes()))
    assert (nothing["verdict"], nothing["chosen"]) == ("does_not_fit", None)
    assert nothing["nearest"][1]["change"] == "use 2 nodes of 8"
    assert nothing["nearest"][1]["chosen"]["nodes"] == 2
    senseless = to_json(plan_fit(EIGHT, NODE, Wishes(concurrency=0)))
    assert (senseless["verdict"], senseless["problems"][0]["field"]) == ("invalid", "wishes.concurrency")


def test_the_schema_is_committed_and_strict() -> None:
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    path = ROOT / SCHEMA_FILE
    if os.environ.get("LLAMA_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "if the change is meant, run again with LLAMA_UPDATE_GOLDEN=1"
    document = to_json(plan_fit(EIGHT, NODE, Wishes()))
    with pytest.raises(ValidationError):
        PlanDocument.model_validate(document | {"more": 1})
    schema = json.loads(text)
    assert set(document) == set(schema["required"]) == set(schema["properties"])
    for definition in schema["$defs"].values():
        assert definition["additionalProperties"] is False
        assert all(field.get("description") or "$ref" in field for field in definition["properties"].values())
