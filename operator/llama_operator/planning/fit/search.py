"""Every split of a model over the hardware, those that hold what is wished first, and the order of the ranking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.option import Fit, Question, Rejected, evaluate
from llama_operator.planning.fit.quantize import quantized
from llama_operator.planning.fit.speed import arithmetic
from llama_operator.planning.fit.split import layer_sums, why_not_tensor
from llama_operator.planning.fit.wishes import LARGEST_SPLIT, Ranking, Wishes
from llama_operator.planning.hardware.accelerators import Hardware


def options(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> tuple[list[Fit], list[Rejected]]:
    """The splits that fit, best first, and the others. The question is valid."""
    wanted = quantized(model) if wishes.quantization is not None else model
    found = list(_splits(wanted, hardware, wishes))
    fits = [each for each in found if isinstance(each, Fit)]
    return rank(fits, wishes.ranking), [each for each in found if isinstance(each, Rejected)]


def _splits(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> Iterator[Fit | Rejected]:
    question = Question(model=model, hardware=hardware, wishes=wishes, work=arithmetic(model, hardware.accelerator))
    node = hardware.gpus_per_node
    tensors: Iterable[int] = range(1, node + 1) if wishes.tensor is None else (wishes.tensor,)
    if hardware.accelerator.is_cpu:
        tensors = (wishes.tensor or 1,)
    for tensor in tensors:
        if (reason := why_not_tensor(model, tensor)) is not None:
            yield Rejected(tensor=tensor, pipeline=None, rule=reason[0], reason=reason[1])
        elif tensor > node and not hardware.accelerator.is_cpu:
            words = f"tensor parallelism stays inside a node, whose links carry it, and a node has {node} GPUs"
            yield Rejected(tensor=tensor, pipeline=None, rule="node", reason=words)
        else:
            sums = layer_sums(model, tensor)
            for pipeline in _pipelines(model, hardware, wishes, tensor):
                yield evaluate(question, tensor, pipeline, sums)


def _pipelines(model: ModelFacts, hardware: Hardware, wishes: Wishes, tensor: int) -> Iterable[int]:
    if wishes.pipeline is not None:
        return (wishes.pipeline,)
    if wishes.layer_partition is not None:
        return (len(wishes.layer_partition),)
    if hardware.accelerator.is_cpu:
        return (1,)
    return range(1, min(wishes.nodes * hardware.gpus_per_node // tensor, model.shape.layers, LARGEST_SPLIT) + 1)


def rank(fits: Iterable[Fit], ranking: Ranking) -> list[Fit]:
    """Best first. What is not known counts as worst; ties go to fewer GPUs, then lower latency, then higher throughput."""

    def key(fit: Fit) -> tuple[float, ...]:
        latency = math.inf if fit.step_floor_seconds is None else fit.step_floor_seconds
        rate = 0.0 if fit.tokens_per_second is None else fit.tokens_per_second
        first = {Ranking.FEWEST_GPUS: 0.0, Ranking.LATENCY: latency, Ranking.THROUGHPUT: -rate / max(fit.gpus, 1)}[ranking]
        return first, fit.gpus_taken, latency, -rate, fit.gpus, fit.pipeline

    return sorted(fits, key=key)
