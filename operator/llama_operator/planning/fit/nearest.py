"""What to change where nothing fits: one change at a time, from the cheapest; two together only where neither saving of memory suffices.

    free parallelism ─ FP8 KV cache ─ FP8 weights (or both) ─ fewer sequences ─ shorter context ─ more nodes ─ a larger accelerator

Each is answered by the functions that answered the question, so its numbers are a plan's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.kv import BLOCK_TOKENS, CPU_BLOCK_TOKENS
from llama_operator.planning.fit.option import Fit, context_of
from llama_operator.planning.fit.search import options
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


def nearest_changes(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> Iterator[Change]:
    """The changes after which it would fit. The question is valid, and nothing fits it."""
    accelerator = hardware.accelerator.name
    savings = [(words, _best(model, hardware, changed)) for words, changed in _savings(hardware, wishes)]
    if not any(best for _, best in savings) and not hardware.accelerator.is_cpu:
        both = dataclasses.replace(wishes, kv_cache_dtype="fp8", quantization="fp8")
        savings.append(("quantise the weights to FP8 and keep the KV cache in FP8", _best(model, hardware, both)))
    for words, best in (
        *savings,
        _fewer_sequences(model, hardware, wishes),
        _shorter_context(model, hardware, wishes),
        _more_nodes(model, hardware, wishes),
    ):
        if best is not None:
            yield Change(change=words, fit=best, accelerator=accelerator)
    yield from _larger(model, hardware, wishes)


def _savings(hardware: Hardware, wishes: Wishes) -> Iterator[tuple[str, Wishes]]:
    if wishes.tensor is not None or wishes.pipeline is not None or wishes.layer_partition is not None:
        yield "leave the parallelism to the planner", dataclasses.replace(wishes, tensor=None, pipeline=None, layer_partition=None)
    if not wishes.kv_cache_dtype.startswith("fp8"):
        yield "keep the KV cache in FP8", dataclasses.replace(wishes, kv_cache_dtype="fp8")
    # Whether vLLM's CPU engine quantises while loading was not verified.
    if wishes.quantization is None and not hardware.accelerator.is_cpu:
        yield "quantise the weights to FP8", dataclasses.replace(wishes, quantization="fp8")


def _fewer_sequences(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> tuple[str, Fit | None]:
    one, _ = options(model, hardware, dataclasses.replace(wishes, concurrency=1))
    most = max((fit.cache.requests for fit in one), default=0)
    if wishes.concurrency == 1 or most == 0:
        return "", None
    return f"ask for {most} sequences at once instead of {wishes.concurrency}", _best(
        model, hardware, dataclasses.replace(wishes, concurrency=most)
    )


def _shorter_context(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> tuple[str, Fit | None]:
    block = CPU_BLOCK_TOKENS if hardware.accelerator.is_cpu else BLOCK_TOKENS
    least, _ = options(model, hardware, dataclasses.replace(wishes, context_tokens=1))
    # With a block for each sequence, `requests` are all blocks that sequences can have.
    longest = max((fit.cache.requests // wishes.concurrency * block for fit in least), default=0)
    if longest == 0:
        return "", None
    words = f"ask for a context of {longest:,} tokens instead of {context_of(model, wishes):,}"
    return words, _best(model, hardware, dataclasses.replace(wishes, context_tokens=longest))


def _more_nodes(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> tuple[str, Fit | None]:
    for nodes in () if hardware.accelerator.is_cpu else range(wishes.nodes + 1, NODES_TRIED + 1):
        if (best := _best(model, hardware, dataclasses.replace(wishes, nodes=nodes))) is not None:
            return f"use {nodes} nodes of {hardware.gpus_per_node}", best
    return "", None


def _larger(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> Iterator[Change]:
    """The smallest of the catalogue's larger accelerators of the same maker that would do, as many to a node."""
    have, maker = hardware.accelerator.memory or 0, hardware.accelerator.name.partition("-")[0]
    same = [each for each in CATALOGUE.values() if each.name.partition("-")[0] == maker]
    larger = sorted((each.memory, each.name) for each in same or CATALOGUE.values() if each.memory is not None and each.memory > have)
    for _, name in () if hardware.accelerator.is_cpu else larger:
        best = _best(model, dataclasses.replace(hardware, accelerator=CATALOGUE[name]), wishes)
        if best is not None:
            yield Change(change=f"use {name}, {hardware.gpus_per_node} to a node", fit=best, accelerator=name)
            return


def _best(model: ModelFacts, hardware: Hardware, wishes: Wishes) -> Fit | None:
    """The split that a plan would choose; None where nothing fits or the question makes no sense."""
    if check_wishes(model, hardware, wishes):
        return None
    fits, _ = options(model, hardware, wishes)
    return fits[0] if fits else None
