"""A model's bytes from the headers of its files: what lies there counts, and what does not fit its config.json is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG, QUANTISED, tensors_of

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.models.from_config import facts_from_config
from llama_operator.planning.models.from_tensors import facts_from_tensors
from llama_operator.planning.models.safetensors import Tensor

TENSORS = tensors_of(CONFIG)


def facts_of(config: dict[str, Any], tensors: list[Tensor], own: object = None) -> ModelFacts:
    facts = facts_from_tensors("m", config, tensors, own)
    assert isinstance(facts, ModelFacts)
    return facts


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", [None, *QUANTISED])
def test_a_checkpoint_that_is_what_its_config_says_gives_the_same_facts(kind: str | None, tied: bool) -> None:
    config = CONFIG | {"tie_word_embeddings": tied} | ({"quantization_config": QUANTISED[kind]} if kind else {})
    assert facts_of(config, tensors_of(config)) == replace(facts_from_config("m", config), known_from="checkpoint")  # type: ignore[type-var]


def test_the_bytes_are_the_files_own() -> None:
    """A float32 checkpoint whose config speaks of bfloat16 takes what it takes."""
    wide = [replace(tensor, dtype="F32", nbytes=2 * tensor.nbytes) for tensor in TENSORS]
    facts = facts_of(CONFIG, wide)
    assert facts.dtype is Precision.BFLOAT16
    assert facts.checkpoint_bytes == 2 * facts_of(CONFIG, TENSORS).checkpoint_bytes
    assert facts_of(CONFIG | {"torch_dtype": None}, wide).dtype is Precision.FLOAT32


def test_layers_that_were_left_as_they_were_are_seen_in_the_tensors() -> None:
    config = CONFIG | {"quantization_config": QUANTISED["compressed fp8, dynamic"]}
    mixed = [tensor for tensor in tensors_of(config) if not tensor.name.startswith("model.layers.1.")]
    mixed += [tensor for tensor in TENSORS if tensor.name.startswith("model.layers.1.")]
    facts = facts_of(config, mixed)
    assert facts.quantization is not None
    assert facts.quantization.skipped_layers == (1,)
    assert facts.layers[1] == facts_of(CONFIG, TENSORS).layers[1]


def test_tables_that_vllm_computes_do_not_count() -> None:
    extra = Tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (16,), 64)
    assert facts_of(CONFIG, [*TENSORS, extra]) == facts_of(CONFIG, TENSORS)


def test_a_tied_models_stored_head_is_not_loaded() -> None:
    tied = CONFIG | {"tie_word_embeddings": True}
    assert facts_of(tied, TENSORS) == facts_of(tied, tensors_of(tied))


def test_what_only_one_part_holds_goes_where_it_is_held() -> None:
    more = [
        Tensor("model.layers.0.self_attn.k_proj.k_scale", "F32", (1,), 4),
        Tensor("model.layers.0.self_attn.o_proj.bias", "BF16", (256,), 512),
        Tensor("model.layers.0.self_attn.q_proj.bias", "BF16", (256,), 512),
        Tensor("model.layers.0.something_new", "F32", (2,), 8),
    ]
    plain, facts = facts_of(CONFIG, TENSORS).layers[0], facts_of(CONFIG, TENSORS + more).layers[0]
    assert facts.replicated - plain.replicated == 4 + 512 + 8
    assert facts.query_output - plain.query_output == 512


UP = "model.layers.1.mlp.up_proj.weight"


def without(name: str) -> list[Tensor]:
    return [tensor for tensor in TENSORS if tensor.name != name]


def with_(name: str, /, **change: Any) -> list[Tensor]:
    return [replace(tensor, **change) if tensor.name == name else tensor for tensor in TENSORS]


@pytest.mark.parametrize(
    ("config", "tensors", "words"),
    [
        ({}, [*TENSORS, TENSORS[3]], "in two files"),
        ({}, without(UP), "without model.layers.1.mlp.up_proj"),
        ({}, without("model.layers.2.input_layernorm.weight"), "without model.layers.2.input_layernorm.weight"),
        ({}, without("model.norm.weight"), "without model.norm.weight"),
        ({}, without("lm_head.weight"), "without lm_head.weight"),
        ({}, without("model.embed_tokens.weight"), "without model.embed_tokens.weight"),
        ({"torch_dtype": None}, without("model.embed_tokens.weight"), "torch_dtype of nothing"),
        ({}, with_("model.embed_tokens.weight", name="model.embed_tokens.qweight"), "no model.embed_tokens.weight"),
        ({}, with_("model.embed_tokens.weight", shape=(512, 512)), "allowed is [1024, 256]"),
        ({}, with_(UP, shape=(256, 512)), "of BF16 [256, 512] is given; allowed is [512, 256]"),
        ({}, with_(UP, dtype="F8_E4M3"), "and no quantization_config"),
        ({"quantization_config": QUANTISED["awq"]}, with_(UP, dtype="F8_E4M3"), "what its quantization_config stores"),
        ({"quantization_config": QUANTISED["fp8, dynamic"]}, with_(UP, dtype="F8_E4M3", shape=(1, 2)), "allowed is [512, 256]"),
        ({}, [*TENSORS, Tensor("model.layers.3.x", "F32", (), 4)], "layer 3 is given; allowed is 3 layers"),
        ({}, [*TENSORS, Tensor("vision_model.x", "F32", (), 4)], "vision_model.x"),
        ({}, [], "without model.layers.0.self_attn.q_proj"),
        ({"num_hidden_layers": 2}, TENSORS, "layer 2"),
        ({"architectures": ["T5"]}, TENSORS, "Name a Llama"),
        ({"quantization_config": {"quant_method": "x"}}, TENSORS, "quant_method"),
    ],
)
def test_files_that_do_not_fit_their_config_are_refused(config: dict[str, Any], tensors: list[Tensor], words: str) -> None:
    problem = facts_from_tensors("m", CONFIG | config, tensors)
    assert isinstance(problem, Problem)
    assert words in problem.message


names = (
    st.sampled_from([tensor.name for tensor in TENSORS])
    | st.from_regex(r"model\.layers\.[0-9]{1,12}\.[a-z_.]{1,20}", fullmatch=True)
    | st.text(max_size=20)
)
tensors = st.builds(
    Tensor,
    names,
    st.sampled_from(["BF16", "F32", "F8_E4M3", "I32", "U8", "I8"]),
    st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
    st.integers(0, 2**60),
)


@given(st.sampled_from([None, *QUANTISED]), st.lists(tensors, max_size=4), st.sets(st.integers(0, len(TENSORS) - 1), max_size=3))
def test_any_tensors_are_facts_or_a_problem(kind: str | None, more: list[Tensor], gone: set[int]) -> None:
    config = CONFIG | ({"quantization_config": QUANTISED[kind]} if kind else {})
    kept = [tensor for number, tensor in enumerate(tensors_of(config)) if number not in gone]
    facts = facts_from_tensors("m", config, kept + more)
    assert isinstance(facts, ModelFacts | Problem)
    if isinstance(facts, ModelFacts):
        assert len(facts.layers) == 3
        assert all(min(layer.query_output, layer.key_value, layer.mlp, layer.replicated) > 0 for layer in facts.layers)
