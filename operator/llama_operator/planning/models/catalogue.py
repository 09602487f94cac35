"""The Llamas that Meta publishes, and quantised ones of theirs, so that a spec is planned for with no network and no token.

Shapes and types from the config.json of each model on the hub, licences from their model cards. Everything else is computed, by the code
that reads other models too, and tested against the published parameter counts and sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from llama_operator.planning.facts import ModelFacts, Precision
from llama_operator.planning.models.quantization import read_recipe
from llama_operator.planning.models.weights import compute_facts
from llama_serving.config import ModelShape

SCHEME = "hf://"
_POSITIONS = 131_072
_VOCABULARY = 128_256

LICENCES = {"llama3.1": "Llama 3.1 Community License", "llama3.2": "Llama 3.2 Community License", "llama3.3": "Llama 3.3 Community License"}
"""By the hub's name. https://www.llama.com/llama3_1/license/, https://www.llama.com/llama3_2/license/, https://www.llama.com/llama3_3/license/"""

TOOL_PARSER = "llama3_json"
"""vLLM's --tool-call-parser for Llama 3.x. https://docs.vllm.ai/en/v0.15.0/api/vllm/tool_parsers/llama_tool_parser/"""


@dataclass(frozen=True, kw_only=True)
class Known:
    """One repository of the hub."""

    repo: str
    shape: ModelShape
    licence: str
    """A key of LICENCES."""
    gated: bool | None
    """Whether its files need a token whose owner accepted the licence; None where that was not looked up."""
    tool_parser: str | None = None
    """None for models that call no tools: base models and guards."""
    dtype: Precision = Precision.BFLOAT16
    quantization: Mapping[str, Any] | None = field(default=None, hash=False)
    """What counts of its quantization_config."""

    @property
    def licence_name(self) -> str:
        """The licence as people call it."""
        return LICENCES[self.licence]

    def facts(self) -> ModelFacts:
        """What the planner is told."""
        return _facts(self)


@cache
def _facts(known: Known) -> ModelFacts:
    """Reckoned once: the catalogue does not change, and a pass over 405B looks at hundreds of modules."""
    recipe = None if known.quantization is None else read_recipe(known.quantization, known.dtype)
    return compute_facts(known.repo, known.shape, known.dtype, known_from="catalogue", recipe=recipe)


def _llama(layers: int, hidden: int, intermediate: int, heads: int, *, head_size: int = 128, tied: bool = False) -> ModelShape:
    """A Llama 3.1, 3.2 or 3.3: all have 8 KV heads, one vocabulary and one context length."""
    return ModelShape(
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=8,
        head_size=head_size,
        vocabulary=_VOCABULARY,
        max_positions=_POSITIONS,
        tied=tied,
    )


LLAMA_1B = _llama(16, 2048, 8192, 32, head_size=64, tied=True)
LLAMA_3B = _llama(28, 3072, 8192, 24, tied=True)
LLAMA_8B = _llama(32, 4096, 14_336, 32)
LLAMA_70B = _llama(80, 8192, 28_672, 64)
LLAMA_405B = _llama(126, 16_384, 53_248, 128)
GUARD_1B = _llama(16, 2048, 8192, 32, head_size=64)
"""Its files hold an output head of their own: the hub counts 1,498,482,688 parameters, Llama 3.2 1B's and 128,256 x 2,048 more."""


def meta_fp8(layers: int) -> dict[str, Any]:
    """The quantization_config of Meta's FP8 checkpoints: the MLP alone, without the first and the last layer.

    The Llama 3 Herd of Models, section 6.2 (https://arxiv.org/abs/2407.21783): "we do not quantize the parameters in the self-attention
    layers … we do not quantize the first and last Transformer layers".
    """
    attention = [f"model.layers.{layer}.self_attn" for layer in range(layers)]
    return {"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head", "model.layers.0", f"model.layers.{layers - 1}", *attention]}


_FP8_INPUTS = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}
FP8_STATIC: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "tensor"},
            "input_activations": _FP8_INPUTS,
        }
    },
    "ignore": ["lm_head"],
}
"""Every linear layer of every decoder layer in FP8, one scale a tensor and one for its input, as llm-compressor's scheme FP8 writes it.

https://github.com/vllm-project/compressed-tensors (src/compressed_tensors/quantization/quant_scheme.py). Taken for the FP8 checkpoints of
https://huggingface.co/RedHatAI; a scale for each output would add 0.01 % to 405B.
"""

FP8_DYNAMIC: dict[str, Any] = FP8_STATIC | {
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
        }
    }
}
"""The same with a scale an output, and the inputs' found for each token: scheme FP8_DYNAMIC."""

W4A16: dict[str, Any] = FP8_STATIC | {
    "format": "pack-quantized",
    "config_groups": {
        "group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}}
    },
}
"""Scheme W4A16: groups of 128. No repository is listed with it: what the published ones' groups are was not to be seen on their cards."""

AWQ: dict[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
GPTQ: dict[str, Any] = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}
"""AWQ and GPTQ as on the model cards of https://huggingface.co/hugging-quants: 4 bits in groups of 128."""


RECIPES: dict[str, tuple[dict[str, Any], Precision]] = {
    "fp8": (FP8_STATIC, Precision.BFLOAT16),
    "fp8-dynamic": (FP8_DYNAMIC, Precision.BFLOAT16),
    "w4a16": (W4A16, Precision.BFLOAT16),
    "awq": (AWQ, Precision.FLOAT16),
    "gptq": (GPTQ, Precision.FLOAT16),
}
"""Ways to quantise any of them, with the type of what is left: what a model would take if it were quantised so."""


def quantised(name: str, shape: ModelShape, recipe: str) -> ModelFacts:
    """What a model of that shape takes when it is quantised by one of RECIPES, whether somebody has published that or not."""
    quantization, dtype = RECIPES[recipe]
    return compute_facts(name, shape, dtype, known_from="catalogue", recipe=read_recipe(quantization, dtype))


def _meta(version: str, size: str, shape: ModelShape, *, base: bool = True) -> list[Known]:
    """A model of Meta's, the base one and the one that was taught to talk."""
    licence = f"llama{version}"
    talks = Known(repo=f"meta-llama/Llama-{version}-{size}-Instruct", shape=shape, licence=licence, gated=True, tool_parser=TOOL_PARSER)
    return [talks] + ([Known(repo=f"meta-llama/Llama-{version}-{size}", shape=shape, licence=licence, gated=True)] if base else [])


def _quantised(repo: str, shape: ModelShape, quantization: dict[str, Any], dtype: Precision = Precision.BFLOAT16) -> Known:
    """A Llama 3.1 Instruct that others quantised."""
    return Known(repo=repo, shape=shape, licence="llama3.1", gated=None, tool_parser=TOOL_PARSER, quantization=quantization, dtype=dtype)


_FP8_405B = meta_fp8(LLAMA_405B.layers)
_SIZES = {"8B": LLAMA_8B, "70B": LLAMA_70B, "405B": LLAMA_405B}

CATALOGUE: tuple[Known, ...] = (
    *_meta("3.1", "8B", LLAMA_8B),
    *_meta("3.1", "70B", LLAMA_70B),
    *_meta("3.1", "405B", LLAMA_405B),
    Known(
        repo="meta-llama/Llama-3.1-405B-Instruct-FP8",
        shape=LLAMA_405B,
        licence="llama3.1",
        gated=True,
        tool_parser=TOOL_PARSER,
        quantization=_FP8_405B,
    ),
    Known(repo="meta-llama/Llama-3.1-405B-FP8", shape=LLAMA_405B, licence="llama3.1", gated=True, quantization=_FP8_405B),
    *_meta("3.2", "1B", LLAMA_1B),
    *_meta("3.2", "3B", LLAMA_3B),
    *_meta("3.3", "70B", LLAMA_70B, base=False),
    Known(repo="meta-llama/Llama-Guard-3-1B", shape=GUARD_1B, licence="llama3.2", gated=True),
    Known(repo="meta-llama/Llama-Guard-3-8B", shape=LLAMA_8B, licence="llama3.1", gated=True),
    *(_quantised(f"RedHatAI/Meta-Llama-3.1-{size}-Instruct-FP8", shape, FP8_STATIC) for size, shape in _SIZES.items()),
    *(_quantised(f"RedHatAI/Meta-Llama-3.1-{size}-Instruct-FP8-dynamic", shape, FP8_DYNAMIC) for size, shape in _SIZES.items()),
    *(
        _quantised(f"hugging-quants/Meta-Llama-3.1-{size}-Instruct-AWQ-INT4", shape, AWQ, Precision.FLOAT16)
        for size, shape in _SIZES.items()
    ),
    *(
        _quantised(f"hugging-quants/Meta-Llama-3.1-{size}-Instruct-GPTQ-INT4", shape, GPTQ, Precision.FLOAT16)
        for size, shape in _SIZES.items()
    ),
)

BY_REPO: dict[str, Known] = {known.repo: known for known in CATALOGUE}


def find(source: str) -> Known | None:
    """The catalogue's entry of a source, else None: another organisation may give the same name to another model.

    Repositories that were renamed are found by their older names too, as meta-llama/Meta-Llama-3.1-8B and neuralmagic/….
    """
    if not source.startswith(SCHEME):
        return None
    organisation, _, name = source.removeprefix(SCHEME).strip("/").partition("/")
    if organisation == "meta-llama":
        name = name.removeprefix("Meta-")
    return BY_REPO.get(f"{'RedHatAI' if organisation == 'neuralmagic' else organisation}/{name}")


def known_facts(source: str) -> ModelFacts | None:
    """The facts of a source in the catalogue, else None."""
    known = find(source)
    return known.facts() if known else None
