"""A quantization_config, understood: which modules it means, how they are stored, and what the kernels multiply in."""

from __future__ import annotations

from dataclasses import dataclass

from llama_operator.planning.facts import Precision, Quantization
from llama_operator.planning.models.layouts import Layout
from llama_operator.planning.models.names import Names

MODULES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
"""The linear modules of a decoder layer."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One way to quantise, and the modules that it is for."""

    layout: Layout
    weights: Precision
    activations: Precision | None
    """None: the model's own."""
    group_size: int | None = None
    targets: Names | None = None
    """None: every linear module."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a quantization_config says."""

    method: str
    schemes: tuple[Scheme, ...]
    """The first that is for a module counts."""
    skipped: Names
    head: bool = False
    """Whether the output head is quantised too, where `skipped` does not name it."""
    kv_cache: Precision | None = None
    kv_scale_bytes: int = 0
    """Bytes of the KV cache's scales in a layer."""

    def scheme(self, module: str) -> Scheme | None:
        """How a module is quantised; None where it is not."""
        if module in self.skipped or (module == "lm_head" and not self.head):
            return None
        return next((scheme for scheme in self.schemes if scheme.targets is None or module in scheme.targets), None)

    def layout(self, module: str, plain: Layout) -> Layout:
        """How a module is stored; `plain` where it is not quantised."""
        scheme = self.scheme(module)
        return plain if scheme is None else scheme.layout

    def describe(self, layers: int, dtype: Precision) -> Quantization:
        """What the planner is told. Where several schemes are used, the one of most modules speaks for all."""
        used = [[self.scheme(f"model.layers.{layer}.{module}") for module in MODULES] for layer in range(layers)]
        counts = {scheme: sum(row.count(scheme) for row in used) for scheme in self.schemes}
        main = max(self.schemes, key=lambda scheme: counts[scheme])
        groups = {scheme.group_size for scheme in self.schemes if counts[scheme] and scheme.group_size}
        return Quantization(
            method=self.method,
            weights=main.weights,
            activations=main.activations or dtype,
            group_size=max(groups, default=None),
            skipped_layers=tuple(layer for layer, row in enumerate(used) if not any(row)),
            kv_cache=self.kv_cache,
        )
