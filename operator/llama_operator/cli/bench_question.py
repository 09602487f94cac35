"""What `kubectl llama bench` is asked: loads, one after the other, of prompts and answers of fixed lengths. Pure.

    --concurrency 1,8,32      so many requests are always under way: the next begins when one ends
    --rate 2,4,8              requests arrive by chance, so many a second on average (a Poisson process), however many are under way

Bounds keep the load tool within the memory of its pod: it holds every prompt and the time of every token.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from llama_operator.api.problems import Problem
from llama_operator.cli.numbers import seconds, whole
from llama_operator.cli.refusals import BadInput, quoted

MOST_LOADS = 8
MOST_REQUESTS = 10_000
MOST_RATE, LEAST_RATE = 1_000.0, 0.01
MOST_CONCURRENCY = 2_000
MOST_PROMPT_TOKENS, MOST_ANSWER_TOKENS = 20_000_000, 5_000_000
"""Of one load: 160 MB of references to the prompts' tokens, and as much of times."""
SEEDS = 2**31


@dataclass(frozen=True, kw_only=True)
class Load:
    """One load. Exactly one of `rate` (requests a second) and `concurrency` is there."""

    requests: int
    rate: float | None = None
    concurrency: int | None = None

    @property
    def words(self) -> str:
        """As a person names it."""
        return f"{self.rate:g} a second" if self.rate is not None else f"{self.concurrency} at once"


@dataclass(frozen=True, kw_only=True)
class Question:
    """All that is asked."""

    loads: tuple[Load, ...]
    input_tokens: int
    output_tokens: int
    seconds: int | None
    seed: int
    longest_seconds: int
    """After which the cluster ends it."""


def ask(arguments: argparse.Namespace, seed: int) -> Question:
    """From the command line. `seed` counts where none is given. Raises BadInput."""
    if arguments.rate is not None and arguments.concurrency is not None:
        problem = Problem(
            field="--rate", given="it and --concurrency", allowed="one of them", remedy="A rate is open, a concurrency closed: choose one."
        )
        raise BadInput.of(problem)
    lasts = None if arguments.seconds is None else whole("--seconds", arguments.seconds, 1, 86_400)
    question = Question(
        loads=tuple(_loads(arguments, lasts)),
        input_tokens=whole("--input-tokens", arguments.input_tokens or "256", 1, 1_000_000),
        output_tokens=whole("--output-tokens", arguments.output_tokens or "128", 1, 100_000),
        seconds=lasts,
        seed=seed if arguments.seed is None else whole("--seed", arguments.seed, 0, SEEDS - 1),
        longest_seconds=seconds("--longest", arguments.longest or "30m", 1),
    )
    _check_size(question)
    return question


def _loads(arguments: argparse.Namespace, lasts: int | None) -> Iterator[Load]:
    if lasts is not None and arguments.requests is not None:
        problem = Problem(field="--seconds", given="it and --requests", allowed="one of them", remedy="Leave one out.")
        raise BadInput.of(problem)
    if arguments.rate is None:
        if lasts is not None:
            problem = Problem(
                field="--seconds",
                given="it without --rate",
                allowed="a time with a rate, which together say how many requests there are",
                remedy="Add --rate, or say --requests.",
            )
            raise BadInput.of(problem)
        requests = whole("--requests", arguments.requests or "100", 1, MOST_REQUESTS)
        for text in _listed("--concurrency", arguments.concurrency or "8"):
            yield Load(requests=requests, concurrency=whole("--concurrency", text, 1, MOST_CONCURRENCY))
        return
    for text in _listed("--rate", arguments.rate):
        rate = _rate(text)
        count = whole("--requests", arguments.requests or "100", 1, MOST_REQUESTS) if lasts is None else math.ceil(rate * lasts)
        if count > MOST_REQUESTS:
            given = f"{lasts} s at {rate:g} a second, which is {count:,} requests"
            problem = Problem(field="--seconds", given=given, allowed=f"at most {MOST_REQUESTS:,} requests", remedy="Lower one of them.")
            raise BadInput.of(problem)
        yield Load(requests=count, rate=rate)


def _listed(field: str, text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) > MOST_LOADS or len(set(parts)) < len(parts):
        problem = Problem(field=field, given=quoted(text), allowed=f"at most {MOST_LOADS} numbers, each once", remedy="Leave some out.")
        raise BadInput.of(problem)
    return parts


def _rate(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", text, re.ASCII) is None or not LEAST_RATE <= float(text) <= MOST_RATE:
        allowed = f"requests a second, from {LEAST_RATE:g} to {MOST_RATE:g}"
        raise BadInput.of(Problem(field="--rate", given=quoted(text), allowed=allowed, remedy="Correct it."))
    return float(text)


def _check_size(question: Question) -> None:
    most = max(load.requests for load in question.loads)
    for field, each, limit in (
        ("--input-tokens", question.input_tokens, MOST_PROMPT_TOKENS),
        ("--output-tokens", question.output_tokens, MOST_ANSWER_TOKENS),
    ):
        if most * each > limit:
            given = f"{each:,} in {most:,} requests, which is {most * each:,} tokens"
            problem = Problem(field=field, given=given, allowed=f"at most {limit:,} in one load", remedy="Ask for fewer requests.")
            raise BadInput.of(problem)
