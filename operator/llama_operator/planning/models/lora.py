"""Facts of a LoRA adapter: its rank, the modules that it changes, and its bytes.

    a module of `outputs` x `inputs`:  lora_A [rank, inputs]  lora_B [outputs, rank]

adapter_config.json is PEFT's: https://huggingface.co/docs/peft/package_reference/lora. What vLLM refuses of it stands in
vllm/lora/peft_helper.py, the ranks that it makes room for in vllm/config/lora.py (MaxLoRARanks).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llama_operator.api.problems import show
from llama_operator.planning.facts import Precision
from llama_operator.planning.models.reading import Refused, answering, flag, texts, whole
from llama_operator.planning.models.recipe import MODULES
from llama_operator.planning.models.safetensors import Tensor
from llama_operator.planning.models.weights import linear_sizes
from llama_serving.config import ModelShape

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank may be: an adapter takes the room of the next one. vllm/config/lora.py, as of 0.26."""

NAMES = {module.rpartition(".")[2]: module for module in MODULES}
"""The modules of a layer by the names that target_modules uses."""

TABLES = ("embed_tokens", "lm_head")

FACTORS = {"lora_A.weight": (1, 1), "lora_B.weight": (0, 0), "lora_embedding_A": (1, 0), "lora_embedding_B": (0, 1)}
"""By the end of a factor's name: which of its sides is the module's, and whether that is its outputs (0) or its inputs (1)."""

_TENSOR = re.compile(
    r"(?:base_model\.model\.)?(?:model\.layers\.(?P<layer>\d{1,9})\.)?(?:model\.)?(?P<module>[a-z_.]+)\."
    r"(?P<factor>lora_[AB]\.weight|lora_embedding_[AB])"
)


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """An adapter as the planner sees it."""

    name: str
    rank: int
    modules: tuple[str, ...]
    """Names of the modules that it changes, as q_proj."""
    nbytes: int
    base: str | None
    """The model that it was made for, as it says itself."""
    known_from: Literal["checkpoint", "config"]

    @property
    def max_lora_rank(self) -> int:
        """The --max-lora-rank that serves it."""
        return next(rank for rank in RANKS if rank >= self.rank)


@answering
def adapter_from_config(name: str, config: object, shape: ModelShape, dtype: Precision) -> AdapterFacts:
    """An adapter's facts from its parsed adapter_config.json alone, stored in `dtype`, for a model of that shape."""
    values, rank = _read(config)
    modules = _targets(values)
    sizes = {module.rpartition(".")[2]: size for module, size in linear_sizes(shape).items()}
    numbers = sum(shape.layers * sum(sizes[module]) if module in sizes else shape.vocabulary + shape.hidden for module in modules)
    nbytes = rank * numbers * dtype.bits // 8
    return AdapterFacts(name=name, rank=rank, modules=modules, nbytes=nbytes, base=_base(values), known_from="config")


@answering
def adapter_from_tensors(name: str, config: object, tensors: Iterable[Tensor], shape: ModelShape) -> AdapterFacts:
    """An adapter's facts from its config and the header of its weights. A Problem where they do not fit a model of that shape."""
    values, rank = _read(config)
    found, nbytes = set[str](), 0
    for tensor in tensors:
        found.add(_module(tensor, shape, rank))
        nbytes += tensor.nbytes
    if not found:
        raise Refused("an adapter without tensors", "lora_A and lora_B of its modules")
    modules = tuple(module for module in (*NAMES, *TABLES) if module in found)
    return AdapterFacts(name=name, rank=rank, modules=modules, nbytes=nbytes, base=_base(values), known_from="checkpoint")


def _module(tensor: Tensor, shape: ModelShape, rank: int) -> str:
    """The module that a factor belongs to, after its size agrees with the model and the rank. Raises Refused."""
    match = _TENSOR.fullmatch(tensor.name)
    layer, module = (match["layer"], match["module"]) if match else (None, "")
    sizes = linear_sizes(shape) if layer else dict.fromkeys(TABLES, (shape.vocabulary, shape.hidden))
    if match is None or module not in sizes or int(layer or 0) >= shape.layers:
        raise Refused(f"an adapter with tensor {show(tensor.name)}", f"factors of {_allowed()}, in {shape.layers} layers")
    side, of = FACTORS[match["factor"]]
    wide = sizes[module][of]
    if len(tensor.shape) != 2 or tensor.shape[side] != wide or tensor.shape[1 - side] > rank:
        given = f"an adapter with {show(tensor.name)} of {list(tensor.shape)}"
        raise Refused(given, f"{wide} by a rank of at most {rank}", "Name an adapter of this model.")
    return module.rpartition(".")[2]


def _read(config: object) -> tuple[Mapping[str, Any], int]:
    """The config as a mapping, and its largest rank. Raises Refused."""
    if not isinstance(config, Mapping):
        raise Refused(f"{CONFIG_FILE} of {show(config)}", "a JSON object")
    if config.get("peft_type", "LORA") != "LORA":
        raise Refused(f"{CONFIG_FILE}.peft_type of {show(config.get('peft_type'))}", "LORA")
    if flag(config, "use_dora", CONFIG_FILE, default=False) or config.get("modules_to_save"):
        raise Refused(f"{CONFIG_FILE} with use_dora or modules_to_save", "neither: vLLM serves plain LoRA")
    rank = whole(config, "r", CONFIG_FILE, low=1, high=RANKS[-1])
    pattern = config.get("rank_pattern") or {}
    if not isinstance(pattern, Mapping):
        raise Refused(f"{CONFIG_FILE}.rank_pattern of {show(pattern)}", "an object")
    return config, max([rank, *(whole(pattern, module, f"{CONFIG_FILE}.rank_pattern", low=1, high=RANKS[-1]) for module in pattern)])


def _targets(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules that target_modules names, in the order of a layer. Raises Refused."""
    given = config.get("target_modules")
    if given == "all-linear":
        return tuple(NAMES)
    named = {target.rpartition(".")[2] for target in texts(config, "target_modules", CONFIG_FILE, most=10_000)}
    if not named or (odd := named - {*NAMES, *TABLES}):
        raise Refused(f"{CONFIG_FILE}.target_modules of {show(min(odd) if named else given)}", _allowed())
    return tuple(module for module in (*NAMES, *TABLES) if module in named)


def _allowed() -> str:
    return ", ".join((*NAMES, *TABLES))


def _base(config: Mapping[str, Any]) -> str | None:
    base = config.get("base_model_name_or_path")
    return base if isinstance(base, str) else None
