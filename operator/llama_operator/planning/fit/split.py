"""How vLLM splits a model over tensor x pipeline ranks, and what the worst rank of each stage holds.

    layer      q, o, MLP: 1/tensor each.  k, v: 1/tensor up to the KV heads, then copies.  norms: whole
    stages     layers // stages each; the rest go to the stages before the last, from the back
    first      the embedding, over the vocabulary padded to 64
    last       norm and lm_head, padded alike; the embedding again where it is tied
    layout     what memory and speed need of all that: of stages with equally many layers only the heaviest can be the first to run out of
               room, and a step reads the sum of all

As vLLM 0.29.0 has it: `get_pp_indices` (vllm/distributed/utils.py), `VocabParallelEmbedding` (vllm/model_executor/layers/
vocab_parallel_embedding.py), `LlamaAttention` and `LlamaModel` (vllm/model_executor/models/llama.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from llama_operator.planning.facts import LayerWeights, ModelFacts
from llama_serving.config import ModelShape

VOCABULARY_PADDING = 64
"""DEFAULT_VOCAB_PADDING_SIZE of vLLM."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One pipeline stage, as its worst rank has it."""

    layers: int
    weights: int
    """Bytes held."""
    read: int
    """Bytes of weights read for every step: all but the embedding, of which a step reads a row for each token."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A split as memory and speed see it."""

    layers: tuple[int, ...]
    """Of each stage."""
    heaviest: tuple[Stage, ...]
    """Of the stages with equally many layers, the one with the most weights."""
    weights: int
    """Bytes that a rank of the heaviest stage holds."""
    held: int
    """Bytes that one rank of each stage holds, together."""
    read: int
    """Bytes of weights that one rank of each stage reads for every step, together."""


def split_layers(layers: int, stages: int, partition: Sequence[int] | None = None) -> tuple[int, ...]:
    """Layers of each stage by vLLM's rule, or as VLLM_PP_LAYER_PARTITION gives them. `stages` is at most `layers`."""
    if partition is not None:
        return tuple(partition)
    counts = [layers // stages] * stages
    for back in range(2, layers % stages + 2):
        counts[-back] += 1
    return tuple(counts)


def padded_vocabulary(shape: ModelShape) -> int:
    """Rows of the embedding and of lm_head, padding included."""
    return -(-shape.vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING


def kv_heads_per_rank(shape: ModelShape, tensor: int) -> int:
    """KV heads that every rank holds: at least one, so that above the model's number they are copies."""
    return max(1, shape.kv_heads // tensor)


def rank_bytes(layer: LayerWeights, shape: ModelShape, tensor: int) -> int:
    """Bytes of one layer on one rank."""
    key_value = -(-layer.key_value * kv_heads_per_rank(shape, tensor) // shape.kv_heads)
    return -(-(layer.query_output + layer.mlp) // tensor) + key_value + layer.replicated


def layer_sums(model: ModelFacts, tensor: int) -> list[int]:
    """Bytes of the first 0, 1, 2 ... layers on one rank."""
    return [0, *accumulate(rank_bytes(layer, model.shape, tensor) for layer in model.layers)]


def stages(model: ModelFacts, tensor: int, counts: Sequence[int], sums: Sequence[int]) -> tuple[Stage, ...]:
    """The stages of `counts` layers each, over `tensor` ranks; `sums` as `layer_sums` gives them."""
    shape = model.shape
    ends = list(accumulate(counts))
    rows = padded_vocabulary(shape)
    embedding = -(-model.embedding * rows // (shape.vocabulary * tensor))
    head = -(-model.lm_head * rows // (shape.vocabulary * tensor)) if model.lm_head else embedding
    found = []
    for index, (count, end) in enumerate(zip(counts, ends, strict=True)):
        first, last = index == 0, index == len(counts) - 1
        inner = sums[end] - sums[end - count] + (model.norm if last else 0)
        held = (embedding if first else 0) + (head if last and not (first and model.lm_head == 0) else 0)
        found.append(Stage(layers=count, weights=inner + held, read=inner + (head if last else 0)))
    return tuple(found)


def lay_out(parts: Sequence[Stage]) -> Layout:
    """What memory and speed need of those stages."""
    heaviest: dict[int, Stage] = {}
    for part in parts:
        if part.layers not in heaviest or part.weights > heaviest[part.layers].weights:
            heaviest[part.layers] = part
    return Layout(
        layers=tuple(part.layers for part in parts),
        heaviest=tuple(heaviest.values()),
        weights=max(part.weights for part in heaviest.values()),
        held=sum(part.weights for part in parts),
        read=sum(part.read for part in parts),
    )


class Layouts:
    """The layouts of one model, each computed when it is first asked for: they follow from the model alone, and the many questions behind
    one plan ask for the same ones.
    """

    def __init__(self, model: ModelFacts) -> None:
        """None of them is known yet."""
        self.model = model
        self._sums: dict[int, list[int]] = {}
        self._known: dict[tuple[int, int, tuple[int, ...] | None], Layout] = {}

    def find(self, tensor: int, pipeline: int, partition: tuple[int, ...] | None = None) -> Layout:
        """That of `tensor` ranks in each of at most as many stages as layers; the sizes of the model allow it."""
        key = (tensor, pipeline, partition)
        if key not in self._known:
            if tensor not in self._sums:
                self._sums[tensor] = layer_sums(self.model, tensor)
            counts = split_layers(self.model.shape.layers, pipeline, partition)
            self._known[key] = lay_out(stages(self.model, tensor, counts, self._sums[tensor]))
        return self._known[key]


def why_not_tensor(model: ModelFacts, tensor: int) -> tuple[str, str] | None:
    """Why vLLM cannot split that model over so many ranks: a word, and a sentence with the numbers. None: it can."""
    shape = model.shape
    if shape.heads % tensor:
        return "heads", f"{shape.heads} attention heads are not divided by {tensor}"
    if shape.kv_heads >= tensor and shape.kv_heads % tensor:
        return "kv-heads", f"{shape.kv_heads} KV heads are not divided by {tensor}"
    if shape.kv_heads < tensor and tensor % shape.kv_heads:
        return "kv-heads", f"{tensor} ranks cannot hold equally many copies of {shape.kv_heads} KV heads"
    if shape.intermediate % tensor:
        return "intermediate", f"the MLP of {shape.intermediate} is not divided by {tensor}"
    if padded_vocabulary(shape) % tensor:
        return "vocabulary", f"the vocabulary of {shape.vocabulary}, padded to {padded_vocabulary(shape)}, is not divided by {tensor}"
    group = model.quantization.group_size if model.quantization is not None else None
    if group is not None:
        for name, inputs in (("o_proj", shape.heads * shape.head_size), ("down_proj", shape.intermediate)):
            if inputs // tensor % group:
                words = (
                    f"{name} has {inputs // tensor} inputs on each of {tensor} ranks, which groups of {group} with one scale do not divide"
                )
                return "quantisation-groups", words
    return None
