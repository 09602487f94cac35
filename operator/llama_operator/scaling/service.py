"""What one replica can do, as the policy believes: the planner's numbers, corrected by what is measured.

prompt tokens per second    raised to any rate that was seen; lowered towards the rate seen while requests wait and slots and cache are
                            free where they wait: then prompts are what they wait for. Not while a replica is young: it has free slots,
                            and what waits does so where it came to, at the others
seconds per token           running sequences / tokens per second, seen while nothing waits and prompts take little
slots, KV room              the engine's settings: believed
tokens of a request         prompt and generated tokens per request that ended, as seen
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from llama_operator.scaling.sane import LEAST_POSITIVE, number
from llama_operator.scaling.signals import Load

PACE = 0.1
"""Share of a look's measurement in what is believed: some ten looks, a minute, make it known."""
LEARNED = ("prefill", "itl", "prompt", "output")
LEAST_PREFILL = 0.1
"""Of the planned rate: less is no slower replica, but requests that wait for something else, as where one is full and another idle."""
BOUND_USE = 0.9
"""Slots or cache above this share may themselves be what requests wait for."""
STEADY_SHARE = 0.3
"""While the number in hand changes by more than this share of what ends, tokens are of other requests than those that end."""
QUIET_USE = 0.5
"""Prompts below this share of their rate hardly slow down the batch."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One replica, which is one whole tensor-parallel group."""

    prefill: float
    """Prompt tokens per second with nothing else to do."""
    slots: float
    """Sequences in the batch (vLLM's max_num_seqs)."""
    itl: float
    """Seconds from one token of a sequence to its next."""
    kv: float
    """Tokens that the KV cache holds."""
    prompt: float | None = None
    """Prompt tokens of a request; None: not seen yet."""
    output: float | None = None
    """Generated tokens of a request; None: not seen yet."""

    @property
    def residence(self) -> float | None:
        """Seconds that a request decodes, in a slot; None: not known."""
        return None if self.output is None else self.output * self.itl


def recall(told: Service, memory: object) -> Service:
    """What is believed: `told`, and what `learn` put into the memory, as far as that can be."""
    if not isinstance(memory, Mapping):
        return told
    found = {}
    for name in LEARNED:
        value = number(memory.get(name))
        if value is not None and value >= LEAST_POSITIVE:
            found[name] = value
    found["prefill"] = max(found.get("prefill", told.prefill), LEAST_PREFILL * told.prefill)
    return replace(told, **found)


def learned(service: Service) -> dict[str, Any]:
    """For the memory: what measurements change, in few digits."""
    values = {name: getattr(service, name) for name in LEARNED}
    return {name: float(f"{value:.4g}") for name, value in values.items() if value is not None and math.isfinite(value)}


def learn(service: Service, load: Load, ready: int, *, young: bool = False) -> Service:
    """The belief after one look at `ready` replicas that serve; `young`: one of them does so since a moment."""
    if not ready or load.running is None or load.prompt_rate is None or load.output_rate is None or load.kv_use is None:
        return service
    each = load.prompt_rate / ready
    prefill = max(service.prefill, each)
    # Where it is known who waits, those replicas count: others may be idle, since nothing moves from one queue to another.
    uses = [max(running / service.slots, use) for running, use in load.queues]
    full = min(uses or [max(load.running / (ready * service.slots), load.kv_use / ready)]) > BOUND_USE
    if load.waiting and not full and not young:
        prefill += PACE * (each - prefill)
    itl = service.itl
    if not load.waiting and load.output_rate > 0 and each < QUIET_USE * prefill and load.running >= ready:
        itl += PACE * (load.running / load.output_rate - itl)
    prompt, output = service.prompt, service.output
    if load.finish_rate and load.growth is not None and abs(load.growth) <= STEADY_SHARE * load.finish_rate:
        prompt = _towards(prompt, load.prompt_rate / load.finish_rate)
        output = _towards(output, load.output_rate / load.finish_rate)
    return replace(service, prefill=prefill, itl=itl, prompt=prompt, output=output)


def _towards(believed: float | None, seen: float) -> float:
    return seen if believed is None else believed + PACE / 2 * (seen - believed)
