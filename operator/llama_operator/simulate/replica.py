"""One replica as a fluid: between two events every rate is constant, so nothing is stepped token by token.

    waiting    FIFO; the head enters the batch when a slot and KV room are free
    prefill    one prompt after the other, in order of entry, at the rate that the batch leaves
    decode     all sequences at one common rate: a clock counts tokens per sequence since the batch began, a heap holds at which reading
               each of them has its last

A replica that drains takes nothing new, serves what it has, and is gone.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from enum import Enum

from llama_operator.simulate.service import Request, Service
from llama_serving.config import FIRST_TOKEN_BUCKETS

NEVER = float("inf")
FIRST_TOKEN_BOUNDS = (*FIRST_TOKEN_BUCKETS, NEVER)
"""Seconds: vLLM's buckets of the time to first token, and the one above all."""


class State(Enum):
    """Where a replica is in its life. It costs from being ordered until it is gone."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Job:
    """A request inside. `taken`: when a replica took it."""

    __slots__ = ("arrival", "index", "output", "prompt", "taken")

    def __init__(self, index: int, request: Request) -> None:
        self.index = index
        self.taken = NEVER
        self.arrival, self.prompt, self.output = request


class Rates(dict[tuple[int, bool], tuple[float, float]]):
    """What `service.rates` gives, by its arguments: reckoned once for each size of a batch, and asked for at every event."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service

    def __missing__(self, batch: tuple[int, bool]) -> tuple[float, float]:
        """Reckon it."""
        self[batch] = rates = self.service.rates(*batch)
        return rates


class Replica:
    """`ordered` and all other times in seconds of the simulation. `advance` before anything is changed; `changed` after it."""

    __slots__ = (
        "_clock", "_decoding", "_kv", "_left", "_prefilling", "_prompt_rate", "_rates", "_service", "_time", "_token_rate", "_waiting",
        "busy", "finished", "first_tokens", "generated", "gone_at", "in_hand", "name", "ordered", "prompted", "ready_at", "state",
        "touched", "version",
    )  # fmt: skip

    def __init__(self, name: str, rates: Rates, ordered: float) -> None:
        self.name = name
        self.ordered = self.touched = ordered
        self.ready_at = NEVER
        self.gone_at = NEVER
        self.state = State.LOADING
        self.version = 0
        self.in_hand = self.finished = 0
        self.first_tokens = [0] * len(FIRST_TOKEN_BOUNDS)
        self.busy = self.generated = self.prompted = 0.0
        self._rates, self._service = rates, rates.service
        self._waiting: deque[Job] = deque()
        self._prefilling: deque[Job] = deque()
        self._decoding: list[tuple[float, int, Job]] = []
        self._kv = 0.0
        self._left = self._clock = self._time = 0.0
        self._prompt_rate = self._token_rate = 0.0

    @property
    def running(self) -> int:
        """Sequences in the batch, those in prefill included."""
        return len(self._prefilling) + len(self._decoding)

    @property
    def waiting(self) -> int:
        """Requests in the replica's own queue."""
        return len(self._waiting)

    @property
    def kv_used(self) -> float:
        """Tokens reserved in the KV cache."""
        return self._kv

    @property
    def last_request(self) -> float:
        """When a request last came or left; now, while there is any."""
        return self._time if self.in_hand else self.touched

    def advance(self, now: float) -> None:
        """Let the time since the last event pass."""
        passed = now - self._time
        self._time = now
        if passed <= 0 or not (self._prefilling or self._decoding):
            return
        self.busy += passed
        if self._prefilling:
            done = min(self._prompt_rate * passed, self._left)
            self._left -= done
            self.prompted += done
        if self._decoding:
            tokens = self._token_rate * passed
            self._clock += tokens
            self.generated += tokens * len(self._decoding)

    def take(self, job: Job) -> None:
        """A request comes in, behind all others."""
        self.touched = job.taken = self._time
        self.in_hand += 1
        self._waiting.append(job)
        self._admit()

    def happen(self, prefilled: bool) -> tuple[Job | None, list[Job]]:
        """What was due: the job that has its first token now, and those that have their last."""
        first: Job | None = None
        ended: list[Job] = []
        if prefilled:
            first = self._prefilling.popleft()
            self.first_tokens[bisect_left(FIRST_TOKEN_BOUNDS, self._time - first.taken)] += 1
            self.prompted += self._left
            self._left = self._prefilling[0].prompt if self._prefilling else 0.0
            self.generated += min(first.output, 1.0)
            if first.output > 1:
                heapq.heappush(self._decoding, (self._clock + first.output - 1, first.index, first))
            else:
                ended.append(first)
        else:
            self._clock = max(self._clock, self._decoding[0][0])
            while self._decoding and self._decoding[0][0] <= self._clock:
                ended.append(heapq.heappop(self._decoding)[2])
        if not self._decoding:
            self._clock = 0.0
        if ended:
            self.touched = self._time
        self.finished += len(ended)
        for job in ended:
            self.in_hand -= 1
            self._kv -= job.prompt + job.output
        if self._waiting:
            self._admit()
        return first, ended

    def changed(self) -> tuple[float, bool]:
        """The batch is another one: new rates, and what was due before is void. When the next thing happens if nothing else does before,
        and whether it is the end of a prefill.
        """
        self.version += 1
        decoding, prefilling = self._decoding, self._prefilling
        self._prompt_rate, self._token_rate = prompt_rate, token_rate = self._rates[len(decoding), bool(prefilling)]
        prefill = self._time + self._left / prompt_rate if prefilling else NEVER
        if not decoding:
            return prefill, True
        left = decoding[0][0] - self._clock
        decode = self._time + left / token_rate if left > 0 else self._time
        return (prefill, True) if prefill <= decode else (decode, False)

    def _admit(self) -> None:
        service = self._service
        while self._waiting and (running := len(self._prefilling) + len(self._decoding)) < service.slots:
            job = self._waiting[0]
            need = job.prompt + job.output
            if running and self._kv + need > service.kv:
                return
            self._waiting.popleft()
            self._kv += need
            if not self._prefilling:
                self._left = job.prompt
            self._prefilling.append(job)
