"""Every split of a model over the hardware, those that hold what is wished first, and the order of the ranking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cached_property

from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.option import Fit, Question, Rejected, evaluate, requests_held
from llama_operator.planning.fit.quantize import quantized
from llama_operator.planning.fit.split import Layouts, why_not_tensor
from llama_operator.planning.fit.wishes import LARGEST_SPLIT, Ranking, Wishes
from llama_operator.planning.hardware.accelerators import Hardware


class Splits:
    """A model as it is and as the engine may quantise it while loading, with the layouts that are known of both."""

    def __init__(self, model: ModelFacts) -> None:
        """No layout is known yet."""
        self._whole = Layouts(model)

    @cached_property
    def _quantised(self) -> Layouts:
        return Layouts(quantized(self._whole.model))

    def ask(self, hardware: Hardware, wishes: Wishes) -> Question:
        """A question about the model; valid, as `check_wishes` says."""
        layouts = self._whole if wishes.quantization is None else self._quantised
        return Question(layouts=layouts, hardware=hardware, wishes=wishes)


def options(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> tuple[list[Fit], list[Rejected]]:
    """The splits that fit, best first, and the others. The question is valid."""
    return all_options(Splits(model).ask(hardware, wishes))


def all_options(question: Question) -> tuple[list[Fit], list[Rejected]]:
    """The same for a model whose layouts other questions share."""
    found = list(_evaluated(question))
    fitting = [each for each in found if isinstance(each, Fit)]
    return rank(fitting, question.wishes.ranking), [each for each in found if isinstance(each, Rejected)]


def best(question: Question) -> Fit | None:
    """The first of the splits that fit; None where none does. Only splits that hold what is wished are computed to the end."""
    held = [split for split in _allowed(question) if requests_held(question, *split) >= question.wishes.concurrency]
    found = [fit for fit in (evaluate(question, *split) for split in held) if isinstance(fit, Fit)]
    return rank(found, question.wishes.ranking)[0] if found else None


def fits(question: Question) -> bool:
    """Whether any split does."""
    return any(requests_held(question, *split) >= question.wishes.concurrency for split in _allowed(question))


def most_requests(question: Question) -> int:
    """Sequences of the wished context that some split holds at once, whatever is wished."""
    return max((requests_held(question, *split) for split in _allowed(question)), default=0)


def _evaluated(question: Question) -> Iterator[Fit | Rejected]:
    """Every split, in the order of its size."""
    for tensor in _tensors(question):
        if (reason := _why_not(question, tensor)) is not None:
            yield Rejected(tensor=tensor, pipeline=None, rule=reason[0], reason=reason[1])
            continue
        for pipeline in _pipelines(question, tensor):
            yield evaluate(question, tensor, pipeline)


def _allowed(question: Question) -> Iterator[tuple[int, int]]:
    """Tensor and pipeline parallelism of the splits that the model's sizes and a node's allow, in the same order."""
    for tensor in _tensors(question):
        if _why_not(question, tensor) is None:
            for pipeline in _pipelines(question, tensor):
                yield tensor, pipeline


def _tensors(question: Question) -> Iterable[int]:
    wishes = question.wishes
    if question.hardware.accelerator.is_cpu:
        return (wishes.tensor or 1,)
    return range(1, question.hardware.gpus_per_node + 1) if wishes.tensor is None else (wishes.tensor,)


def _why_not(question: Question, tensor: int) -> tuple[str, str] | None:
    """Why no number of stages makes that tensor parallelism possible: a word and a sentence."""
    node = question.hardware.gpus_per_node
    if (reason := why_not_tensor(question.model, tensor)) is not None:
        return reason
    if tensor > node and not question.hardware.accelerator.is_cpu:
        return "node", f"tensor parallelism stays inside a node, whose links carry it, and a node has {node} GPUs"
    return None


def _pipelines(question: Question, tensor: int) -> Iterable[int]:
    hardware, wishes = question.hardware, question.wishes
    if wishes.pipeline is not None:
        return (wishes.pipeline,)
    if wishes.layer_partition is not None:
        return (len(wishes.layer_partition),)
    if hardware.accelerator.is_cpu:
        return (1,)
    return range(1, min(wishes.nodes * hardware.gpus_per_node // tensor, question.model.shape.layers, LARGEST_SPLIT) + 1)


def rank(fits: Iterable[Fit], ranking: Ranking) -> list[Fit]:
    """Best first. What is not known counts as worst; ties go to fewer GPUs, then lower latency, then higher throughput."""

    def key(fit: Fit) -> tuple[float, ...]:
        latency = math.inf if fit.step_floor_seconds is None else fit.step_floor_seconds
        rate = 0.0 if fit.tokens_per_second is None else fit.tokens_per_second
        first = {Ranking.FEWEST_GPUS: 0.0, Ranking.LATENCY: latency, Ranking.THROUGHPUT: -rate / max(fit.gpus, 1)}[ranking]
        return first, fit.gpus_taken, latency, -rate, fit.gpus, fit.pipeline

    return sorted(fits, key=key)
