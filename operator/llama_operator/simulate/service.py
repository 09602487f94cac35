"""What a request asks for and what one replica can do.

A step of a continuously batching engine costs the larger of its memory time (weights and cache are read once, whatever the batch) and its
arithmetic, which prompt and output tokens share: the roofline of "Sarathi-Serve" (https://arxiv.org/abs/2403.02310, section 3).

    memory time of a step with n sequences     d(n) = itl + itl_per_sequence * n
    step with a chunk of k prompt tokens       max(d(n), (n + k) / prefill)
    prompt tokens per second                   k / step;   tokens per second of each sequence   1 / step

Without a chunk given, k is what fits beside the batch without making the step longer: prefill * d(n) - n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from llama_operator.api.problems import Problem, show

LEAST_PREFILL_SHARE = 0.05
"""Of the arithmetic, for prompts, beside a batch that would leave none: a scheduler that starved them would never answer. Assumed."""


MOST_ITL = 10.0
"""Seconds for a token; more is a mistake of units."""


class Request(NamedTuple):
    """One request of a trace. Real traces have whole tokens; closed forms need fractions."""

    arrival: float
    """Seconds since the start of the trace."""
    prompt: float
    """Tokens in."""
    output: float
    """Tokens out; the first of them comes with the end of the prefill."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One replica, which is one whole tensor-parallel group."""

    prefill: float = 4900.0
    """Prompt tokens per second with nothing else to do."""
    slots: int = 64
    """Sequences in the batch (vLLM's max_num_seqs)."""
    itl: float = 0.1
    """Seconds from one token to the next, with a batch of nearly none."""
    itl_per_sequence: float = 0.0
    """Seconds added to that for each sequence of the batch."""
    kv: float = 681_000.0
    """Tokens that the KV cache holds. A request reserves prompt and output when it enters the batch: no preemption is modelled."""
    chunk: float | None = None
    """Prompt tokens in a step; None: as many as do not slow down the batch."""
    accepts: int | None = None
    """Requests that a replica takes, those that wait in it included; None: any number, as the operator configures Ray Serve."""

    def rates(self, sequences: int, prefilling: bool) -> tuple[float, float]:
        """Prompt tokens per second, and tokens per second of each of the `sequences` that decode."""
        if not sequences:
            return (self.prefill if prefilling else 0.0), 0.0
        memory = self.itl + self.itl_per_sequence * sequences
        if not prefilling:
            step = max(memory, sequences / self.prefill)
            return 0.0, 1.0 / step
        least = LEAST_PREFILL_SHARE * self.prefill * memory
        chunk = max(self.prefill * memory - sequences, least) if self.chunk is None else self.chunk
        step = max(memory, (sequences + chunk) / self.prefill)
        return chunk / step, 1.0 / step

    def fits(self, request: Request) -> bool:
        """Whether an empty replica could serve it. An engine refuses what is longer than its cache."""
        return request.prompt + request.output <= self.kv


def check_service(service: Service) -> list[Problem]:
    """What makes no replica of it; empty when it is one."""
    allowed = {
        "prefill": ("a finite number of at least 1, in prompt tokens per second", math.isfinite(service.prefill) and service.prefill >= 1),
        "slots": ("a whole number of at least 1", service.slots >= 1),
        "itl": (f"a number from 0 to {MOST_ITL:g}, in seconds, above 0 where itl-per-sequence is 0", _itl(service)),
        "kv": ("a number above 0, in tokens", service.kv > 0),
        "chunk": ("a finite number above 0, in prompt tokens per step", service.chunk is None or _above(service.chunk, 0)),
        "accepts": ("a whole number of at least 1", service.accepts is None or service.accepts >= 1),
    }
    return [
        Problem(
            field=f"--service {name}",
            given=show(getattr(service, name)),
            allowed=text,
            remedy="Take the numbers of `kubectl llama plan`, or measured ones.",
        )
        for name, (text, good) in allowed.items()
        if not good
    ]


def _above(value: float, least: float) -> bool:
    return math.isfinite(value) and value > least


def _itl(service: Service) -> bool:
    parts = (service.itl, service.itl_per_sequence)
    return all(0 <= part <= MOST_ITL for part in parts) and sum(parts) > 0
