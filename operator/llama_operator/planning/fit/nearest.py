"""What to change where nothing fits: one change at a time, from the cheapest; two together only where neither saving of memory suffices.

    free parallelism ─ FP8 KV cache ─ FP8 weights (or both) ─ fewer sequences ─ shorter context ─ more nodes ─ a larger accelerator

Each is answered by the functions that answered the question, so its numbers are a plan's; but only of the splits that fit are the numbers
computed, and what is known of the model's layouts serves all of them.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.kv import BLOCK_TOKENS, CPU_BLOCK_TOKENS
from llama_operator.planning.fit.option import Fit, Question, context_of
from llama_operator.planning.fit.search import Splits, best, fits, most_requests
from llama_operator.planning.fit.wishes import Wishes, check_wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, Hardware

NODES_TRIED = 8
"""A replica of a Llama on more nodes than this is not proposed."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change with which it would fit, and the best split then."""

    change: str
    """What to do, in words."""
    accelerator: str
    fit: Fit


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The question that nothing fits."""

    model: ModelFacts
    splits: Splits
    hardware: Hardware
    wishes: Wishes

    def ask(self, hardware: Hardware | None = None, **changed: Any) -> Question | None:
        """The same question with those wishes changed, or on other hardware; None where it makes no sense."""
        hardware, wishes = hardware or self.hardware, dataclasses.replace(self.wishes, **changed)
        return None if check_wishes(self.model, hardware, wishes) else self.splits.ask(hardware, wishes)

    def best(self, **changed: Any) -> Fit | None:
        """The split that a plan would choose then."""
        question = self.ask(**changed)
        return None if question is None else best(question)

    def most_requests(self, **changed: Any) -> int:
        """Sequences that some split holds at once with those wishes changed."""
        return most_requests(self.splits.ask(self.hardware, dataclasses.replace(self.wishes, **changed)))


def nearest_changes(model: ModelFacts, splits: Splits, hardware: Hardware, wishes: Wishes) -> Iterator[Change]:
    """The changes after which it would fit. The question is valid, and nothing fits it; `splits` are the model's."""
    asked = _Asked(model=model, splits=splits, hardware=hardware, wishes=wishes)
    savings = [(words, asked.best(**changed)) for words, changed in _savings(hardware, wishes)]
    if not any(fit for _, fit in savings) and not hardware.accelerator.is_cpu:
        both = asked.best(kv_cache_dtype="fp8", quantization="fp8")
        savings.append(("quantise the weights to FP8 and keep the KV cache in FP8", both))
    for words, fit in (*savings, _fewer_sequences(asked), _shorter_context(asked), _more_nodes(asked)):
        if fit is not None:
            yield Change(change=words, fit=fit, accelerator=hardware.accelerator.name)
    yield from _larger(asked)


def _savings(hardware: Hardware, wishes: Wishes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Wishes to change, with words for each."""
    if wishes.tensor is not None or wishes.pipeline is not None or wishes.layer_partition is not None:
        yield "leave the parallelism to the planner", {"tensor": None, "pipeline": None, "layer_partition": None}
    if not wishes.kv_cache_dtype.startswith("fp8"):
        yield "keep the KV cache in FP8", {"kv_cache_dtype": "fp8"}
    # Whether vLLM's CPU engine quantises while loading was not verified.
    if wishes.quantization is None and not hardware.accelerator.is_cpu:
        yield "quantise the weights to FP8", {"quantization": "fp8"}


def _fewer_sequences(asked: _Asked) -> tuple[str, Fit | None]:
    wished, most = asked.wishes.concurrency, asked.most_requests(concurrency=1)
    if wished == 1 or most == 0:
        return "", None
    return f"ask for {most} sequences at once instead of {wished}", asked.best(concurrency=most)


def _shorter_context(asked: _Asked) -> tuple[str, Fit | None]:
    block = CPU_BLOCK_TOKENS if asked.hardware.accelerator.is_cpu else BLOCK_TOKENS
    # With a block for each sequence, the requests are all blocks that sequences can have.
    longest = asked.most_requests(context_tokens=1) // asked.wishes.concurrency * block
    if longest == 0:
        return "", None
    words = f"ask for a context of {longest:,} tokens instead of {context_of(asked.model, asked.wishes):,}"
    return words, asked.best(context_tokens=longest)


def _more_nodes(asked: _Asked) -> tuple[str, Fit | None]:
    """As few more as possible. More nodes only add splits."""
    more = () if asked.hardware.accelerator.is_cpu else range(asked.wishes.nodes + 1, NODES_TRIED + 1)
    question = _first_that_fits(asked.ask(nodes=nodes) for nodes in more)
    if question is None:
        return "", None
    return f"use {question.wishes.nodes} nodes of {asked.hardware.gpus_per_node}", best(question)


def _larger(asked: _Asked) -> Iterator[Change]:
    """The smallest of the catalogue's larger accelerators of the same maker that would do, as many to a node. Whether one does follows from
    its memory alone.
    """
    accelerator, count = asked.hardware.accelerator, asked.hardware.gpus_per_node
    have, maker = accelerator.memory or 0, accelerator.name.partition("-")[0]
    same = [each for each in CATALOGUE.values() if each.name.partition("-")[0] == maker]
    larger = sorted((each.memory, each.name) for each in same or CATALOGUE.values() if each.memory is not None and each.memory > have)
    names = [] if accelerator.is_cpu else [name for _, name in larger]
    question = _first_that_fits(asked.ask(dataclasses.replace(asked.hardware, accelerator=CATALOGUE[name])) for name in names)
    fit = None if question is None else best(question)
    if question is not None and fit is not None:
        name = question.hardware.accelerator.name
        yield Change(change=f"use {name}, {count} to a node", fit=fit, accelerator=name)


def _first_that_fits(questions: Iterable[Question | None]) -> Question | None:
    """The first that some split fits; None where there is none. What fits one that makes sense fits those after it, so that half of them
    are passed over at once.
    """
    sensible = [question for question in questions if question is not None]
    index = bisect.bisect_left(sensible, True, key=fits)
    return sensible[index] if index < len(sensible) else None
