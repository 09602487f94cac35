"""An adapter's rank, modules and bytes, from its config alone and from its tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import Precision
from llama_operator.planning.models.lora import AdapterFacts, adapter_from_config, adapter_from_tensors
from llama_operator.planning.models.safetensors import Tensor
from llama_serving.config import ModelShape

SHAPE = ModelShape.from_config(CONFIG)
ADAPTER: dict[str, Any] = {
    "peft_type": "LORA",
    "base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct",
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["v_proj", "q_proj"],
    "bias": "none",
    "modules_to_save": None,
    "use_dora": False,
}


def factor(name: str, *shape: int) -> Tensor:
    return Tensor(f"base_model.model.{name}", "BF16", shape, 2 * shape[0] * shape[1])


TENSORS = [
    tensor
    for layer in range(3)
    for module, outputs in (("q_proj", 256), ("v_proj", 128))
    for tensor in (
        factor(f"model.layers.{layer}.self_attn.{module}.lora_A.weight", 16, 256),
        factor(f"model.layers.{layer}.self_attn.{module}.lora_B.weight", outputs, 16),
    )
]


def test_config_and_tensors_agree() -> None:
    computed = adapter_from_config("a", ADAPTER, SHAPE, Precision.BFLOAT16)
    read = adapter_from_tensors("a", ADAPTER, TENSORS, SHAPE)
    assert isinstance(computed, AdapterFacts)
    assert isinstance(read, AdapterFacts)
    assert read == replace(computed, known_from="checkpoint")
    assert (read.rank, read.modules, read.base) == (16, ("q_proj", "v_proj"), "meta-llama/Llama-3.1-8B-Instruct")
    assert read.nbytes == 3 * 2 * 16 * ((256 + 256) + (128 + 256))


def test_the_tables_have_factors_too() -> None:
    tables = [
        factor("model.embed_tokens.lora_embedding_A", 16, 1024),
        factor("model.embed_tokens.lora_embedding_B", 256, 16),
        factor("lm_head.lora_A.weight", 16, 256),
        factor("lm_head.lora_B.weight", 1024, 16),
    ]
    config = ADAPTER | {"target_modules": ["lm_head", "model.embed_tokens"]}
    computed, read = adapter_from_config("a", config, SHAPE, Precision.BFLOAT16), adapter_from_tensors("a", config, tables, SHAPE)
    assert isinstance(computed, AdapterFacts)
    assert read == replace(computed, known_from="checkpoint")
    assert computed.modules == ("embed_tokens", "lm_head")


@pytest.mark.parametrize(
    ("rank", "pattern", "served"),
    [(1, {}, 1), (2, {}, 8), (16, {}, 16), (16, {"q_proj": 48}, 64), (300, None, 320), (512, {"q_proj": 2}, 512)],
)
def test_vllm_makes_room_for_the_next_rank_that_it_knows(rank: int, pattern: dict[str, int] | None, served: int) -> None:
    facts = adapter_from_config(
        "a", ADAPTER | {"r": rank, "rank_pattern": pattern, "target_modules": "all-linear"}, SHAPE, Precision.FLOAT16
    )
    assert isinstance(facts, AdapterFacts)
    assert facts.max_lora_rank == served
    assert len(facts.modules) == 7


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "a JSON object"),
        (ADAPTER | {"peft_type": "LOHA"}, "allowed is LORA"),
        (ADAPTER | {"use_dora": True}, "vLLM serves plain LoRA"),
        (ADAPTER | {"modules_to_save": ["lm_head"]}, "vLLM serves plain LoRA"),
        (ADAPTER | {"r": 0}, "1 to 512"),
        (ADAPTER | {"r": 513}, "1 to 512"),
        (ADAPTER | {"r": None}, "r of nothing"),
        (ADAPTER | {"rank_pattern": []}, None),
        (ADAPTER | {"rank_pattern": [1]}, "an object"),
        (ADAPTER | {"rank_pattern": {"q_proj": "many"}}, "1 to 512"),
        (ADAPTER | {"target_modules": None}, "target_modules of nothing"),
        (ADAPTER | {"target_modules": []}, "q_proj, k_proj"),
        (ADAPTER | {"target_modules": ".*_proj"}, "a list of"),
        (ADAPTER | {"target_modules": ["q_proj", "experts"]}, 'of "experts"'),
        (ADAPTER | {"base_model_name_or_path": 7}, None),
    ],
)
def test_what_vllm_would_refuse_is_refused_here(config: Any, words: str | None) -> None:
    facts = adapter_from_config("a", config, SHAPE, Precision.BFLOAT16)
    assert isinstance(facts, AdapterFacts if words is None else Problem)
    if isinstance(facts, Problem):
        assert words is not None
        assert words in facts.message


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([], "without tensors"),
        ([factor("model.layers.3.self_attn.q_proj.lora_A.weight", 16, 256)], "in 3 layers"),
        ([factor("model.layers.0.mlp.experts.lora_A.weight", 16, 256)], "factors of"),
        ([factor("q_proj.lora_A.weight", 16, 256)], "factors of"),
        ([factor("model.layers.0.self_attn.q_proj.weight", 256, 256)], "factors of"),
        ([factor("model.layers.0.self_attn.q_proj.lora_A.weight", 16, 4096)], "256 by a rank of at most 16"),
        ([factor("model.layers.0.self_attn.q_proj.lora_A.weight", 32, 256)], "256 by a rank of at most 16"),
        ([factor("model.layers.0.self_attn.v_proj.lora_B.weight", 256, 16)], "128 by a rank of at most 16"),
        ([Tensor("model.layers.0.self_attn.q_proj.lora_A.weight", "BF16", (4096,), 8192)], "Name an adapter of this model"),
    ],
)
def test_an_adapter_of_another_model_is_refused(tensors: list[Tensor], words: str) -> None:
    problem = adapter_from_tensors("a", ADAPTER, tensors, SHAPE)
    assert isinstance(problem, Problem)
    assert words in problem.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([tensor.name for tensor in TENSORS]) | st.from_regex(
    r"(model\.layers\.\d{1,9}\.)?[a-z_.]{1,20}(\.lora_[AB]\.weight)?", fullmatch=True
)
some_tensors = st.lists(
    st.builds(Tensor, names, st.just("BF16"), st.lists(st.integers(0, 300), max_size=3).map(tuple), st.integers(0, 2**40)), max_size=3
)


@given(
    json_values | st.dictionaries(st.sampled_from([*ADAPTER, "rank_pattern"]), json_values, max_size=2).map(ADAPTER.__or__), some_tensors
)
def test_anything_is_an_adapter_or_a_problem(config: Any, tensors: list[Tensor]) -> None:
    assert isinstance(adapter_from_config("a", config, SHAPE, Precision.BFLOAT16), AdapterFacts | Problem)
    assert isinstance(adapter_from_tensors("a", config, tensors, SHAPE), AdapterFacts | Problem)
