"""A model's bytes from its config.json alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.checkpoints import CONFIG, QUANTISED, tensors_of

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import LayerWeights, ModelFacts, Precision
from llama_operator.planning.models.from_config import LAYERS_MAX, facts_from_config
from llama_operator.planning.models.recipe import MODULES
from llama_operator.planning.models.weights import linear_sizes
from llama_serving.config import ModelShape


def facts_of(config: dict[str, Any]) -> ModelFacts:
    facts = facts_from_config("m", config)
    assert isinstance(facts, ModelFacts)
    return facts


def test_a_layer_of_bfloat16_by_hand() -> None:
    layer = facts_of(CONFIG).layers[1]
    assert layer == LayerWeights(
        query_output=2 * (2 * 256 * 256), key_value=2 * (2 * 128 * 256), mlp=2 * (3 * 256 * 512), replicated=2 * (2 * 256)
    )


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_times_two_bytes_are_the_checkpoint(tied: bool) -> None:
    facts = facts_of(CONFIG | {"tie_word_embeddings": tied})
    assert facts.checkpoint_bytes == 2 * facts.shape.parameters
    assert (facts.lm_head == 0) == tied


@pytest.mark.parametrize("kind", QUANTISED)
def test_every_tensor_that_a_config_promises_is_counted(kind: str) -> None:
    config = CONFIG | {"quantization_config": QUANTISED[kind]}
    facts = facts_of(config)
    assert facts.checkpoint_bytes == sum(tensor.nbytes for tensor in tensors_of(config))
    assert (facts.known_from, facts.quantization is not None) == ("config", True)


def test_biases_are_split_where_the_outputs_are_and_copied_elsewhere() -> None:
    plain, both = facts_of(CONFIG).layers[0], facts_of(CONFIG | {"attention_bias": True, "mlp_bias": True}).layers[0]
    assert both.query_output - plain.query_output == 2 * 256
    assert both.key_value - plain.key_value == 2 * (128 + 128)
    assert both.mlp - plain.mlp == 2 * (512 + 512)
    assert both.replicated - plain.replicated == 2 * (256 + 256)


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        ({"torch_dtype": "float16"}, Precision.FLOAT16),
        ({"torch_dtype": None, "dtype": "bfloat16"}, Precision.BFLOAT16),
        ({"dtype": "torch.float32"}, Precision.FLOAT32),
    ],
)
def test_the_type_of_what_is_not_quantised(change: dict[str, Any], dtype: Precision) -> None:
    facts = facts_of(CONFIG | change)
    assert facts.dtype is dtype
    assert facts.norm == 256 * dtype.bits // 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, "Name a Llama"),
        ({"num_hidden_layers": LAYERS_MAX + 1}, f"1 to {LAYERS_MAX} layers"),
        ({"num_hidden_layers": 2**31 - 1}, f"1 to {LAYERS_MAX} layers"),
        ({"torch_dtype": None}, "torch_dtype of nothing is given; allowed is bfloat16, float16, float32"),
        ({"torch_dtype": "int8"}, "bfloat16, float16, float32"),
        ({"dtype": ["float16"]}, "dtype of"),
        ({"attention_bias": "no"}, "true or false"),
        ({"quantization_config": {"quant_method": "hqq"}}, "gptq"),
        ({"quantization_config": "fp8"}, "an object"),
    ],
)
def test_what_cannot_be_known_is_refused(change: dict[str, Any], words: str) -> None:
    problem = facts_from_config("m", CONFIG | change)
    assert isinstance(problem, Problem)
    assert words in problem.message


def test_the_modules_have_one_list() -> None:
    assert tuple(linear_sizes(ModelShape.from_config(CONFIG))) == MODULES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([*CONFIG, "dtype", "quantization_config", "mlp_bias", "head_dim"]), json_values, max_size=3),
    json_values,
)
def test_any_config_is_facts_or_a_problem(change: dict[str, Any], own: Any) -> None:
    for config in (change, CONFIG | change):
        facts = facts_from_config("m", config, own)
        assert isinstance(facts, ModelFacts | Problem)
        if isinstance(facts, ModelFacts):
            assert facts.checkpoint_bytes > 0


@given(json_values)
def test_any_value_at_all_is_answered(value: Any) -> None:
    assert isinstance(facts_from_config("m", value, value), Problem)
