"""How far a simulation is, on a terminal: one line that is written over, with the run, its share, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from llama_operator.simulate.service import Request

EVERY = 500
"""Requests between two looks at the clock: some 10 ms."""
PAUSE_SECONDS = 0.2
"""Between two lines: faster than a person reads, and seldom enough to cost nothing."""
ERASE = "\r\x1b[K"


class Progress:
    """Counts requests of `runs` runs over `length` requests each. Says nothing where the stream is no terminal."""

    def __init__(self, runs: int, length: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`runs` may turn out fewer: the time left is what is left at most."""
        self._stream = sys.stderr if stream is None else stream
        self._shows = self._stream.isatty()
        self._runs, self._length, self._clock = runs, length, clock
        self._begun = self._said = clock()
        self._done = 0

    def watch(self, name: str, requests: Iterable[Request]) -> Iterable[Request]:
        """The requests of the named run, counted as they go by."""
        return self._counted(name, requests) if self._shows else requests

    def say(self, words: str) -> None:
        """Something that takes a while without being counted."""
        if self._shows:
            self._write(words)

    def end(self) -> None:
        """Leaves an empty line."""
        if self._shows:
            self._write("")

    def _counted(self, name: str, requests: Iterable[Request]) -> Iterator[Request]:
        here = 0
        for here, request in enumerate(requests, 1):
            if here % EVERY == 0:
                self._look(name, here)
            yield request
        self._done += here

    def _look(self, name: str, here: int) -> None:
        now = self._clock()
        if now - self._said < PAUSE_SECONDS:
            return
        self._said = now
        done = self._done + here
        left = (now - self._begun) / done * (self._runs * self._length - done)
        self._write(f"{name}: {here / self._length:.0%}; all: {done / (self._runs * self._length):.0%}, {duration(left)} left at most")

    def _write(self, words: str) -> None:
        self._stream.write(f"{ERASE}{words}")
        self._stream.flush()


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
