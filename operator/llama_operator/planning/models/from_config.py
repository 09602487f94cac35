"""A model's facts from its config.json alone: exact where the files are what their config says.

A float32 checkpoint is counted as it is stored, four bytes a number; vLLM's dtype `auto` loads it in two.
https://docs.vllm.ai/en/latest/configuration/engine_args/#modelconfig
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.models.quantization import find_config, read_recipe
from llama_operator.planning.models.reading import Refused, answering, flag, one_of
from llama_operator.planning.models.weights import Biases, compute_facts
from llama_operator.planning.shape import read_shape
from llama_serving.config import ModelShape

LAYERS_MAX = 1024
"""Decoder layers that are planned for; 405B has 126. Each is a value in ModelFacts, so a config that lies must not have billions."""

DTYPES = (Precision.BFLOAT16, Precision.FLOAT16, Precision.FLOAT32)


def read_base(config: object) -> tuple[ModelShape, Mapping[str, Any]]:
    """The shape in a parsed config.json, and the config as a mapping. Raises Refused."""
    shape = read_shape(config)
    if isinstance(shape, Problem):
        raise Refused(shape.given, shape.allowed, shape.remedy)
    if shape.layers > LAYERS_MAX:
        raise Refused(f"config.json with num_hidden_layers {shape.layers}", f"1 to {LAYERS_MAX} layers")
    assert isinstance(config, Mapping)  # noqa: S101 -- read_shape refuses anything else
    return shape, config


def read_dtype(config: Mapping[str, Any]) -> Precision:
    """The type of what is not quantised: `dtype`, as transformers 5 writes it, else `torch_dtype`. Raises Refused."""
    name = "dtype" if config.get("dtype") is not None else "torch_dtype"
    value = config.get(name)
    stripped = {name: value.removeprefix("torch.") if isinstance(value, str) else value}
    return one_of(stripped, name, "config.json", DTYPES)


def read_biases(config: Mapping[str, Any]) -> Biases:
    """Whether linear layers have biases. Raises Refused."""
    return Biases(
        attention=flag(config, "attention_bias", "config.json", default=False), mlp=flag(config, "mlp_bias", "config.json", default=False)
    )


@answering
def facts_from_config(name: str, config: object, quant_file: object = None) -> ModelFacts:
    """The facts of a model from its parsed config.json, and its parsed hf_quant_config.json where it has one.

    A Problem for what is no Llama, and for a type or a quantisation that is not known: what cannot be known is not guessed.
    """
    shape, values = read_base(config)
    dtype, quantization = read_dtype(values), find_config(values, quant_file)
    recipe = None if quantization is None else read_recipe(quantization, dtype)
    return compute_facts(name, shape, dtype, known_from="config", recipe=recipe, biases=read_biases(values))
