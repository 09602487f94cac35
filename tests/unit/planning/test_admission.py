"""What is said of a spec before a pod exists: accepted with a split, refused with the nearest change, or not decided yet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.conditions import Reason
from llama_operator.api.engine_args import check_args
from llama_operator.api.problems import Problem
from llama_operator.api.status import PlanStatus
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.planning.admission import MEMORY_ARGS, TIGHT, Admission, Unread, admit, describe, known_model, remembered
from llama_operator.planning.fit.of_spec import wishes_of
from llama_operator.planning.models.catalogue import BY_REPO, LLAMA_8B, known_facts
from llama_operator.planning.parallelism import Parallelism, parallelism_of, with_split

H100 = {"accelerator": "nvidia-h100-80gb"}
L4 = {"accelerator": "nvidia-l4-24gb"}


def spec(model: str = "meta-llama/Llama-3.1-8B", **over: Any) -> LlamaDeploymentSpec:
    source = model if "://" in model else f"hf://{model}"
    return LlamaDeploymentSpec.model_validate({"model": {"source": source}, "hardware": H100, **over})


def verdict(asked: LlamaDeploymentSpec) -> Admission:
    return admit(asked, known_model(asked.model.source))


@pytest.mark.parametrize(
    ("what", "asked", "tensor", "pipeline"),
    [
        ("8B needs one GPU", spec(), 1, 1),
        ("70B in BF16 needs four for its whole context", spec("meta-llama/Llama-3.1-70B"), 4, 1),
        ("405B in FP8 needs the eight of a node", spec("meta-llama/Llama-3.1-405B-Instruct-FP8"), 8, 1),
        ("405B in BF16 needs two nodes", spec("meta-llama/Llama-3.1-405B"), 8, 2),
        ("a tensor that is given leaves the stages open", spec("meta-llama/Llama-3.1-405B", parallelism={"tensor": 8}), 8, 2),
        ("stages that are given leave the tensor open", spec("meta-llama/Llama-3.1-405B", parallelism={"pipeline": 2}), 8, 2),
        ("what is given is kept, though less would do", spec(parallelism={"tensor": 4, "pipeline": 1}), 4, 1),
    ],
)
def test_the_split_that_is_left_out_is_chosen(what: str, asked: LlamaDeploymentSpec, tensor: int, pipeline: int) -> None:
    found = verdict(asked)
    assert found.verdict == "fits", found.message
    assert found.split == Parallelism(tensor=tensor, pipeline=pipeline)
    assert found.reason == Reason.FITS
    assert f"tensor {tensor} x pipeline {pipeline}" in found.message
    assert found.plan is not None
    assert (found.plan["tensorParallel"], found.plan["pipelineParallel"], found.plan["gpus"]) == (tensor, pipeline, tensor * pipeline)


def test_the_plan_is_what_the_status_takes() -> None:
    plan = verdict(spec("meta-llama/Llama-3.1-405B-Instruct-FP8")).plan
    assert plan is not None
    read = PlanStatus.model_validate(plan)
    assert read.model_dump(by_alias=True, exclude_none=True) == plan
    assert read.decode_floor_seconds == pytest.approx(0.0180, rel=0.01)


def test_bf16_405b_on_one_node_is_refused_with_what_would_fit() -> None:
    found = verdict(spec("meta-llama/Llama-3.1-405B", parallelism={"tensor": 8, "pipeline": 1}))
    assert (found.verdict, found.reason, found.split) == ("does_not_fit", Reason.INVALID, None)
    (problem,) = found.problems
    assert problem.field == "spec.parallelism"
    assert problem.given == "tensor 8 x pipeline 1 of meta-llama/Llama-3.1-405B on 8 x nvidia-h100-80gb a node"
    assert "leave no room for a KV cache" in problem.allowed
    assert problem.remedy.startswith("Nearest: leave the parallelism to the planner; then tensor 8 x pipeline 2, 16 GPUs: ") or (
        "Nearest: " in problem.remedy
    )
    assert found.message == problem.message


def test_a_model_that_no_node_of_that_kind_holds_is_refused_at_the_hardware() -> None:
    found = verdict(spec("meta-llama/Llama-3.1-405B", hardware={**L4, "gpusPerNode": 1}))
    assert found.verdict == "does_not_fit"
    assert found.problems[0].field == "spec.hardware"


def test_what_misses_by_less_than_the_reserve_is_accepted_and_called_tight() -> None:
    """8B in BF16 on an L4: 15 GiB of 22, and at 32k tokens the cache needs what the planner keeps back."""
    tight = [
        verdict(spec(hardware=L4, parallelism={"tensor": 1, "pipeline": 1}, context={"maxTokens": tokens})) for tokens in (8192, 24_576)
    ]
    assert [found.verdict for found in tight] == ["fits", "fits"]
    assert [TIGHT in found.message for found in tight] == [False, True]


VALUES: dict[str, Any] = {
    "cpu_offload_gb": 40.0,
    "dtype": "float16",
    "enable_lora": True,
    "hf_overrides": {"num_hidden_layers": 8},
    "kv_cache_memory_bytes": 10**9,
    "load_format": "bitsandbytes",
    "num_gpu_blocks_override": 100,
    "quantization": "bitsandbytes",
    "speculative_config": {"method": "ngram"},
}


def test_the_table_knows_every_such_argument_and_each_is_one_of_the_engine() -> None:
    assert VALUES.keys() == MEMORY_ARGS
    assert check_args("vllm", VALUES) == []


@pytest.mark.parametrize("name", VALUES)
def test_arguments_that_change_the_memory_are_left_to_the_engine(name: str) -> None:
    asked = spec("meta-llama/Llama-3.1-70B", parallelism={"tensor": 1, "pipeline": 1}, engine={"args": {name: VALUES[name]}})
    found = verdict(asked)
    assert (found.verdict, found.split) == ("unknown", Parallelism(tensor=1, pipeline=1))
    assert f"spec.engine.args.{name} changes what it needs" in found.message


def test_fp8_weights_are_computed_with_and_excuse_nothing() -> None:
    args = {"engine": {"args": {"quantization": "fp8"}}}
    assert verdict(spec("meta-llama/Llama-3.1-70B", parallelism={"tensor": 2, "pipeline": 1}, **args)).verdict == "fits"
    assert verdict(spec("meta-llama/Llama-3.1-405B", parallelism={"tensor": 4, "pipeline": 1}, **args)).verdict == "does_not_fit"


def test_what_the_shape_does_not_allow_is_refused_whatever_the_memory() -> None:
    found = verdict(spec(parallelism={"tensor": 3}, context={"maxTokens": 200_000}))
    assert found.verdict == "refused"
    assert [problem.field for problem in found.problems] == ["spec.parallelism.tensor", "spec.context.maxTokens"]


def test_a_share_of_memory_that_is_none_is_refused_at_its_field() -> None:
    found = verdict(spec(engine={"args": {"gpu_memory_utilization": 1.5}}))
    assert [problem.field for problem in found.problems] == ["spec.engine.args.gpu_memory_utilization"]


def test_custom_hardware_is_planned_with() -> None:
    small = {"accelerator": "ours", "custom": {"memoryGiB": 12, "memoryBandwidthGBps": 300}, "gpusPerNode": 4}
    found = verdict(spec(hardware=small))
    assert found.split == Parallelism(tensor=4, pipeline=1)
    assert verdict(spec(hardware={**small, "custom": {"memoryGiB": 48, "memoryBandwidthGBps": 300}})).split == Parallelism(
        tensor=1, pipeline=1
    )


def test_an_accelerator_that_nobody_knows_refuses_nothing() -> None:
    found = verdict(spec(hardware={"accelerator": "ours"}))
    assert (found.verdict, found.split) == ("unknown", Parallelism(tensor=1, pipeline=1))
    assert "whether it fits is not known: spec.hardware.accelerator" in found.message


def test_what_is_no_llama_is_refused_at_its_source() -> None:
    wrong = Problem(field="model", given="a model with architectures T5", allowed="a Llama", remedy="Name a Llama.")
    assert admit(spec(), wrong).problems[0].field == "spec.model.source"


UNREAD = {
    "files of a volume": Unread(why="the files of pvc://models/x can be seen from its pods alone"),
    "a gated model": Unread(why="it is behind a licence"),
}


@pytest.mark.parametrize("what", UNREAD)
def test_a_model_that_cannot_be_looked_at_is_accepted_as_it_is_given(what: str) -> None:
    left_out = admit(spec("pvc://models/x"), UNREAD[what])
    assert (left_out.verdict, left_out.split, left_out.plan) == ("unknown", Parallelism(tensor=1, pipeline=1), None)
    assert left_out.message.endswith("; what spec.parallelism leaves out is 1")
    given = admit(spec("pvc://models/x", parallelism={"tensor": 8, "pipeline": 2}), UNREAD[what])
    assert given.split == Parallelism(tensor=8, pipeline=2)
    assert given.message == f"every field is allowed; whether it fits is not known: {UNREAD[what].why}"


def test_its_shape_counts_where_that_much_is_known() -> None:
    odd = Unread(why="its quantisation is new", shape=LLAMA_8B)
    assert admit(spec("org/x", parallelism={"tensor": 3}), odd).problems[0].field == "spec.parallelism.tensor"
    assert admit(spec("org/x", parallelism={"tensor": 4}), odd).accepted


SILENT = Unread(why="the hub gives no answer", soon=True)


def test_nothing_begins_while_the_hub_is_silent_and_the_split_is_open() -> None:
    found = admit(spec("org/x"), SILENT)
    assert (found.verdict, found.accepted, found.reason) == ("waits", False, Reason.READING_MODEL)
    assert "Set spec.parallelism (tensor and pipeline) to go on without it" in found.message


@pytest.mark.parametrize(
    "over",
    [{"parallelism": {"tensor": 2, "pipeline": 1}}, {"hardware": {"accelerator": "cpu"}}, {"engine": {"type": "simulated"}}],
    ids=["both numbers given", "on a CPU", "simulated"],
)
def test_a_silent_hub_holds_nothing_up_that_needs_no_plan(over: dict[str, Any]) -> None:
    assert admit(spec("org/x", **over), SILENT).accepted


def test_a_rehearsal_has_nothing_to_fit() -> None:
    found = verdict(spec("meta-llama/Llama-3.1-405B", engine={"type": "simulated"}))
    assert (found.verdict, found.split) == ("unknown", Parallelism(tensor=1, pipeline=1))


def test_what_runs_is_described_and_never_refused() -> None:
    too_large = spec("meta-llama/Llama-3.1-405B", parallelism={"tensor": 8, "pipeline": 1})
    found = describe(too_large, known_model(too_large.model.source))
    assert (found.verdict, found.split) == ("unknown", Parallelism(tensor=8, pipeline=1))
    fits = describe(spec(parallelism={"tensor": 2, "pipeline": 1}), known_model("hf://meta-llama/Llama-3.1-8B"))
    assert fits.plan is not None


def test_a_plan_is_remembered_in_words() -> None:
    plan = {"tensorParallel": 8, "pipelineParallel": 1, "gpus": 8, "kvCacheTokens": 1000}
    assert remembered(plan) == "as planned when this revision was made: tensor 8, pipeline 1, GPUs 8, tokens of KV cache 1000"


def test_the_size_of_a_cpus_cache_is_the_one_that_the_pod_template_gives() -> None:
    variables = [{"name": "OTHER", "valueFrom": {}}, {"name": "VLLM_CPU_KVCACHE_SPACE", "value": "4"}]
    model = known_facts("hf://meta-llama/Llama-3.2-1B")
    assert model is not None
    cpu = {"hardware": {"accelerator": "cpu"}}
    for containers, gib in (
        ([{"name": "llama", "env": variables}], 4),
        ([{"name": "llama", "env": [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "much"}]}], 1),
        ("odd", 1),
        ([None, {"env": "odd"}, {"env": [None]}], 1),
    ):
        asked = spec("meta-llama/Llama-3.2-1B", podTemplate={"spec": {"containers": containers}}, **cpu)
        assert wishes_of(asked, model).cpu_kv_space_gib == gib


@given(
    st.sampled_from(sorted(BY_REPO)),
    st.sampled_from(["nvidia-h100-80gb", "nvidia-l4-24gb", "amd-mi300x-192gb", "cpu", "ours"]),
    st.none() | st.sampled_from([1, 2, 3, 4, 8, 16]),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 200_000),
)
def test_a_verdict_always_has_a_split_or_a_reason(
    repo: str, kind: str, tensor: int | None, pipeline: int | None, tokens: int | None
) -> None:
    given_split = {name: value for name, value in (("tensor", tensor), ("pipeline", pipeline)) if value}
    asked = spec(repo, hardware={"accelerator": kind}, parallelism=given_split, context={"maxTokens": tokens})
    found = verdict(asked)
    assert found.accepted != bool(found.problems)
    assert found.message
    if found.split is not None:
        assert parallelism_of(with_split(asked, found.split)) == found.split
        assert tensor in (None, found.split.tensor)
        assert pipeline in (None, found.split.pipeline)
