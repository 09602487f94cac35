"""Shapes of the Llamas that Meta publishes, so that their specs are checked with no network.

From the config.json of each model on the hub; parameter counts in the tests are those of the model cards' safetensors.
"""

from __future__ import annotations

from llama_serving.config import ModelShape

_POSITIONS = 131_072
_VOCABULARY = 128_256


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

KNOWN: dict[str, ModelShape] = {
    "Llama-3.2-1B": LLAMA_1B,
    "Llama-3.2-1B-Instruct": LLAMA_1B,
    "Llama-3.2-3B": LLAMA_3B,
    "Llama-3.2-3B-Instruct": LLAMA_3B,
    "Llama-3.1-8B": LLAMA_8B,
    "Llama-3.1-8B-Instruct": LLAMA_8B,
    "Llama-3.1-70B": LLAMA_70B,
    "Llama-3.1-70B-Instruct": LLAMA_70B,
    "Llama-3.3-70B-Instruct": LLAMA_70B,
    "Llama-3.1-405B": LLAMA_405B,
    "Llama-3.1-405B-FP8": LLAMA_405B,
    "Llama-3.1-405B-Instruct": LLAMA_405B,
    "Llama-3.1-405B-Instruct-FP8": LLAMA_405B,
}
"""Repositories of the organisation meta-llama. The older names, as in Meta-Llama-3.1-8B, are the same models."""


def known_shape(source: str) -> ModelShape | None:
    """The shape of a source in the catalogue, else None: another organisation may give the same name to another model."""
    prefix = "hf://meta-llama/"
    return KNOWN.get(source.removeprefix(prefix).removeprefix("Meta-")) if source.startswith(prefix) else None
