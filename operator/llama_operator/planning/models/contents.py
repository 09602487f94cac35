"""What was read of a model: its parsed config files and the tensors in its headers."""

from __future__ import annotations

from dataclasses import dataclass, field

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.models.from_tensors import facts_from_tensors
from llama_operator.planning.models.safetensors import Tensor

CONFIG_FILE, QUANT_FILE = "config.json", "hf_quant_config.json"


@dataclass(frozen=True, kw_only=True)
class ModelContents:
    """One model, or one LoRA adapter, whose config is then its adapter_config.json."""

    config: object
    tensors: tuple[Tensor, ...] = field(repr=False)
    files: tuple[str, ...]
    """The weight files."""
    quant_file: object = None
    """The parsed hf_quant_config.json, where config.json speaks of no quantisation and that file is there."""

    def facts(self, name: str) -> ModelFacts | Problem:
        """What the planner is told, or why not."""
        return facts_from_tensors(name, self.config, self.tensors, self.quant_file)
