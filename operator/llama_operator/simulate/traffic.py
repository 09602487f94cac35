"""Requests in three columns: a trace is read once, checked to its last line, and replayed for every policy.

A request takes 16 bytes here, and some 140 as an object: ten million of them are 160 MB.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import starmap
from statistics import fmean

from llama_operator.simulate.service import Request
from llama_operator.simulate.traces import COPY_SHIFT_SECONDS, superpose

MOST_REQUESTS = 50_000_000
"""In one trace: 800 MB of columns. A week at 80 requests a second."""


class TooManyRequestsError(Exception):
    """More than MOST_REQUESTS."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """`copies` of a trace at once, copy k later by k * COPY_SHIFT_SECONDS. Iterating begins anew each time."""

    arrivals: array[float] = field(default_factory=lambda: array("d"))
    prompts: array[float] = field(default_factory=lambda: array("f"))
    outputs: array[float] = field(default_factory=lambda: array("f"))
    copies: int = 1
    begun: float | None = None
    """Seconds since 1970 of time 0; None: nobody knows."""

    def __iter__(self) -> Iterator[Request]:
        """In order of arrival."""
        return superpose(self._rows, self.copies) if self.copies > 1 else self._rows()

    def times(self) -> Iterator[float]:
        """Of arrival alone, in the same order."""
        return heapq.merge(*(map((index * COPY_SHIFT_SECONDS).__add__, self.arrivals) for index in range(self.copies)))

    def __len__(self) -> int:
        """Requests of all copies."""
        return len(self.arrivals) * self.copies

    @property
    def seconds(self) -> float:
        """From 0 to the last arrival."""
        return self.arrivals[-1] + (self.copies - 1) * COPY_SHIFT_SECONDS if self.arrivals else 0.0

    @property
    def mean_prompt(self) -> float:
        """Tokens; 0 without a request."""
        return fmean(self.prompts) if self.prompts else 0.0

    @property
    def mean_output(self) -> float:
        """Tokens; 0 without a request."""
        return fmean(self.outputs) if self.outputs else 0.0

    def begin(self, seconds: float) -> tuple[float, float, float]:
        """Of the first `seconds`: requests, prompt tokens and output tokens a second."""
        length = min(seconds, self.seconds)
        requests = prompts = outputs = 0.0
        for request in self:
            if request.arrival > length:
                break
            requests += 1
            prompts += request.prompt
            outputs += request.output
        length = max(length, 1.0)
        return requests / length, prompts / length, outputs / length

    def _rows(self) -> Iterator[Request]:
        return starmap(Request, zip(self.arrivals, self.prompts, self.outputs, strict=True))


def gather(requests: Iterable[Request], copies: int = 1) -> Traffic:
    """All requests, in the order in which they come. Raises TooManyRequestsError, and whatever reading them raises.

    Tokens are whole numbers of at most 10 million, which single precision holds exactly.
    """
    traffic = Traffic(copies=copies)
    times, prompts, outputs = traffic.arrivals.append, traffic.prompts.append, traffic.outputs.append
    for count, (arrival, prompt, output) in enumerate(requests):
        if count >= MOST_REQUESTS:
            raise TooManyRequestsError
        times(arrival)
        prompts(prompt)
        outputs(output)
    return traffic
