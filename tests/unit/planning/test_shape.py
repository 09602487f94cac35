"""Which splits a model allows, from its config.json alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.planning.models import catalogue
from llama_operator.planning.models.catalogue import find
from llama_operator.planning.shape import ModelShape, check_context, check_parallelism, check_shape, read_shape

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
"""SmolLM2-135M's."""


def spec(
    source: str = "hf://meta-llama/Llama-3.1-8B", tensor: int = 1, pipeline: int = 1, tokens: int | None = None
) -> LlamaDeploymentSpec:
    raw = {"model": {"source": source}, "hardware": {"accelerator": "nvidia-h100"}, "parallelism": {"tensor": tensor, "pipeline": pipeline}}
    return LlamaDeploymentSpec.model_validate(raw | {"context": {"maxTokens": tokens}})


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (catalogue.LLAMA_1B, 1_235_814_400),
        (catalogue.LLAMA_3B, 3_212_749_824),
        (catalogue.LLAMA_8B, 8_030_261_248),
        (catalogue.LLAMA_70B, 70_553_706_496),
        (catalogue.LLAMA_405B, 405_853_388_800),
    ],
)
def test_the_catalogue_has_the_published_parameter_counts(shape: ModelShape, parameters: int) -> None:
    assert shape.parameters == parameters


@pytest.mark.parametrize(
    ("what", "heads", "kv_heads", "intermediate", "allowed"),
    [
        ("405B", 128, 8, 53_248, [1, 2, 4, 8, 16, 32, 64]),
        ("8B", 32, 8, 14_336, [1, 2, 4, 8, 16, 32]),
        ("SmolLM2: nine heads, three of keys", 9, 3, 1536, [1, 3]),
        ("six KV heads over four ranks: neither divides the other", 12, 6, 12, [1, 2, 3, 6, 12]),
        ("an MLP that does not divide", 8, 8, 1001, [1]),
    ],
)
def test_tensor_parallelism_that_a_model_allows(what: str, heads: int, kv_heads: int, intermediate: int, allowed: list[int]) -> None:
    shape = ModelShape(layers=4, hidden=8 * heads, intermediate=intermediate, heads=heads, kv_heads=kv_heads, head_size=8, vocabulary=256)
    assert shape.splits() == allowed
    for tensor in range(1, 65):
        problems = check_parallelism(shape, tensor, 1)
        assert (problems == []) == (tensor in allowed)
        assert all(problem.field == "spec.parallelism.tensor" for problem in problems)


def test_the_problem_names_the_sizes_and_what_divides_them() -> None:
    (problem,) = check_parallelism(catalogue.LLAMA_8B, 3, 1)
    assert problem.message == (
        "spec.parallelism.tensor: 3 is given; allowed is 1, 2, 4, 8, 16, 32, which divide the model's 32 attention heads, 8 KV heads, "
        "MLP of 14336. Choose one of these; pipeline may take the rest."
    )


def test_more_stages_than_layers_are_refused() -> None:
    assert check_parallelism(catalogue.LLAMA_1B, 1, 16) == []
    (problem,) = check_parallelism(catalogue.LLAMA_1B, 1, 17)
    assert (problem.field, problem.allowed) == ("spec.parallelism.pipeline", "1 to 16, the model's layers")


def test_a_config_is_read() -> None:
    shape = read_shape(CONFIG)
    assert isinstance(shape, ModelShape)
    assert (shape.head_size, shape.parameters, shape.max_positions) == (64, 134_515_008, 8192)


@pytest.mark.parametrize(
    ("change", "max_positions"),
    [
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 8192),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, None),
        ({"rope_scaling": None}, 8192),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 8192),
        ({"rope_scaling": "odd"}, None),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_the_longest_context_is_known_where_the_rope_does_not_stretch_it(change: dict[str, Any], max_positions: int | None) -> None:
    shape = read_shape(CONFIG | change)
    assert isinstance(shape, ModelShape)
    assert shape.max_positions == max_positions


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "holds list, not an object"),
        (CONFIG | {"architectures": ["Qwen2ForCausalLM"]}, "Qwen2ForCausalLM"),
        (CONFIG | {"architectures": None}, "architectures"),
        (CONFIG | {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        (CONFIG | {"num_hidden_layers": True}, "num_hidden_layers is true"),
        (CONFIG | {"vocab_size": "many"}, 'vocab_size is "many"'),
        (CONFIG | {"hidden_size": 2**40}, "hidden_size"),
        (CONFIG | {"hidden_size": 577}, "hidden_size 577 is not a multiple of num_attention_heads 9"),
    ],
)
def test_a_config_of_something_else_is_refused(config: object, words: str) -> None:
    problem = read_shape(config)
    assert isinstance(problem, Problem)
    assert words in problem.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*CONFIG, "head_dim", "rope_scaling", "rope_parameters"]), json_values, max_size=3))
def test_any_config_is_a_shape_or_a_problem(change: dict[str, Any]) -> None:
    for config in (change, CONFIG | change):
        read = read_shape(json.loads(json.dumps(config)))
        assert isinstance(read, ModelShape | Problem)
        if isinstance(read, ModelShape):
            assert 1 in read.splits()
            assert read.parameters > 0


def test_a_spec_is_held_against_the_shape() -> None:
    (problem,) = check_shape(catalogue.LLAMA_8B, spec(tensor=3))
    assert problem.field == "spec.parallelism.tensor"
    assert check_shape(catalogue.LLAMA_8B, spec(tensor=4)) == []


def test_a_context_beyond_the_model_is_refused() -> None:
    assert check_context(catalogue.LLAMA_8B, 131_072) == check_context(catalogue.LLAMA_8B, None) == []
    (problem,) = check_shape(catalogue.LLAMA_8B, spec(tokens=131_073))
    assert (problem.field, problem.given) == ("spec.context.maxTokens", "131073")


def test_the_older_names_are_the_same_models() -> None:
    known = find("hf://meta-llama/Meta-Llama-3.1-405B-Instruct-FP8")
    assert known is not None
    assert known.shape is catalogue.LLAMA_405B
    assert find("hf://meta-llama/Llama-9") is None
    assert find("hf://someone/Llama-3.1-8B") is None
