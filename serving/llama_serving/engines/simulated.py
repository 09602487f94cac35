"""A second engine: tokens at a modelled pace, a bounded number of slots, and faults on order. No model, no GPU.

It stands where vLLM stands: behind the same HTTP surface, in the same Serve deployment, with the same metric families.
The model of time: a request waits for one of `slots`; its prompt takes `tokens / prefillTokensPerSecond`; after that a token comes
out every `1 / tokensPerSecond` seconds, whatever the other requests do (the default of 70 tokens/s a stream is assumed, no model's). A
stream that falls behind catches up: due times are absolute, so a slow consumer does not slow the model down.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from llama_serving.config import ConfigError
from llama_serving.status import Progress

Fault = Literal["none", "load-hang", "load-crash", "out-of-memory", "hang", "crash", "no-metrics"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

# The "checkpoint" that is loaded: big enough that the percent moves smoothly, and plainly not a real size.
LOAD_TOTAL_BYTES = 1_000_000_000
LOAD_STEPS = 50
WORDS = [
    "the",
    "llama",
    "walks",
    "slowly",
    "over",
    "high",
    "cold",
    "plains",
    "and",
    "eats",
    "dry",
    "grass",
    "while",
    "a",
    "small",
    "wind",
    "moves",
    "along",
    "stones",
    "under",
    "bright",
    "early",
    "sun",
]


class SimulatedLoadError(RuntimeError):
    """The load that failed because a fault was ordered. The message reads as the real engine's would."""


@dataclass(frozen=True, kw_only=True)
class SimulatedArgs:
    """`engine.args` of the simulated engine; names in the CR are in camel case."""

    load_seconds: float = 5.0
    tokens_per_second: float = 70.0
    prefill_tokens_per_second: float = 10_000.0
    slots: int = 64
    fault: Fault = "none"
    fault_after_seconds: float = 0.0

    @classmethod
    def parse(cls, args: Mapping[str, Any]) -> SimulatedArgs:
        """Read `engine.args`.

        Raises ConfigError naming the argument, what was given and what is allowed.
        """
        known = {_camel(item.name): item.name for item in fields(cls)}
        values: dict[str, Any] = {}
        for key, value in args.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(f"engine.args.{key}: unknown argument of the simulated engine{hint} Known: {', '.join(sorted(known))}")
            values[known[key]] = _check(key, value)
        return cls(**values)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def _check(key: str, value: Any) -> Any:
    if key == "fault":
        if value not in FAULTS:
            raise ConfigError(f"engine.args.fault: {value!r} is not one of {', '.join(FAULTS)}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"engine.args.{key}: {value!r} is not a number")
    if key == "slots":
        if int(value) != value or value < 1:
            raise ConfigError(f"engine.args.slots: {value!r} is not a whole number of at least 1")
        return int(value)
    zero_allowed = key in ("loadSeconds", "faultAfterSeconds")
    if value < 0 or (value == 0 and not zero_allowed):
        raise ConfigError(f"engine.args.{key}: {value!r} must be {'at least' if zero_allowed else 'more than'} 0")
    return float(value)


@dataclass(kw_only=True)
class Counters:
    """What the engine has done so far; the metrics are made of it."""

    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    finished: dict[str, int] = field(default_factory=dict)


Timing = Literal["first_token", "inter_token", "queue", "prefill", "decode", "whole"]

# Kept between two exports, half a second apart. Of the pauses between tokens a sample is enough, and 64 streams make thousands a second.
MOST_TIMINGS = 2_000
MOST_PAUSES = 100


@dataclass(kw_only=True)
class Timings:
    """What requests took in seconds, since the last export: the newest where there were more than are kept."""

    requests: deque[tuple[Timing, float]] = field(default_factory=lambda: deque(maxlen=MOST_TIMINGS))
    pauses: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_PAUSES))

    def drain(self) -> list[tuple[Timing, float]]:
        """All of them, and forget them."""
        drained = [*self.requests, *(("inter_token", pause) for pause in self.pauses)]
        self.requests.clear()
        self.pauses.clear()
        return drained


class SimulatedEngine:
    """The engine itself. One event loop, no threads."""

    def __init__(self, args: SimulatedArgs, *, context_tokens: int = 131_072) -> None:
        self.args = args
        self.context_tokens = context_tokens
        self.counters = Counters()
        self.timings = Timings()
        self._slots = asyncio.Semaphore(args.slots)
        self._ready_at: float | None = None

    @property
    def kv_cache_tokens(self) -> int:
        """Tokens of KV cache: each slot holds one whole context."""
        return self.args.slots * self.context_tokens

    async def load(self, on_progress: Callable[[Progress], None]) -> None:
        """Take `loadSeconds` to become ready and tell how far it is.

        Raises SimulatedLoadError where a fault of the load was ordered; `load-hang` stops half way and never returns.
        """
        for step in range(LOAD_STEPS + 1):
            on_progress(Progress(done=LOAD_TOTAL_BYTES * step // LOAD_STEPS, total=LOAD_TOTAL_BYTES))
            if step == LOAD_STEPS // 2:
                await self._fail_load()
            if step < LOAD_STEPS:
                await asyncio.sleep(self.args.load_seconds / LOAD_STEPS)
        self._ready_at = time.monotonic()

    async def _fail_load(self) -> None:
        if self.args.fault == "load-hang":
            await asyncio.Event().wait()
        if self.args.fault == "load-crash":
            raise SimulatedLoadError("simulated fault: the engine crashed while it loaded the weights (engine.args.fault: load-crash)")
        if self.args.fault == "out-of-memory":
            raise SimulatedLoadError(
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which "
                "1.02 GiB is free (simulated fault: out-of-memory)"
            )

    def fault_due(self) -> Fault | None:
        """The fault that is in force now: one was ordered, and `faultAfterSeconds` have gone by since the engine was ready."""
        if self._ready_at is None or self.args.fault in ("none", "load-hang", "load-crash", "out-of-memory"):
            return None
        return self.args.fault if time.monotonic() - self._ready_at >= self.args.fault_after_seconds else None

    async def generate(self, prompt_tokens: int, max_tokens: int) -> AsyncIterator[str]:
        """Yield `max_tokens` words, one a token, at the engine's pace. Closing the iterator frees the slot at once."""
        arrived = time.monotonic()
        self.counters.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.counters.waiting -= 1
        self.counters.running += 1
        outcome = "abort"
        begun = first = last = time.monotonic()
        try:
            due = begun + prompt_tokens / self.args.prefill_tokens_per_second
            interval = 1.0 / self.args.tokens_per_second
            for index in range(max_tokens):
                await self._until(due)
                now = time.monotonic()
                if index == 0:
                    first = now
                    self.counters.prompt_tokens += prompt_tokens
                    self.timings.requests += [("queue", begun - arrived), ("prefill", now - begun), ("first_token", now - arrived)]
                else:
                    self.timings.pauses.append(now - last)
                last = now
                self.counters.generation_tokens += 1
                yield f"{WORDS[index % len(WORDS)]} "
                due += interval
            outcome = "length"
            self.timings.requests += [("decode", last - first), ("whole", last - arrived)]
        finally:
            self.counters.running -= 1
            self.counters.finished[outcome] = self.counters.finished.get(outcome, 0) + 1
            self._slots.release()

    async def _until(self, due: float) -> None:
        if self.args.fault == "hang" and self.fault_due():
            # The ordered fault: the process lives and answers health checks, and no token ever comes out.
            await asyncio.Event().wait()
        # A pause is the pace of the model; sleep(0) when late, so that other streams run.
        await asyncio.sleep(max(0.0, due - time.monotonic()))
