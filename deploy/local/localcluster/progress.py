"""What is being done and how long it took: one line a step, alive on a terminal, plain in a log."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress:
    """Prints steps with their elapsed seconds. `quiet` prints nothing (for tests and callers that report themselves). Not `alive`: no line
    that moves, of which a terminal can have only one, so that another thread may have it.
    """

    def __init__(self, *, quiet: bool = False, alive: bool = True) -> None:
        """Write to standard error, so that a command's own output can be piped."""
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self._alive = alive and self._console.is_terminal
        self._start = time.monotonic()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Announce a step, and say how long it took when it ends; a failure is marked and passed on."""
        began = time.monotonic()
        try:
            if self._alive:
                with self._console.status(f"{text} …"):
                    yield
            else:
                yield
        except BaseException:
            self._line("failed", text, began)
            raise
        self._line("ok", text, began)

    def note(self, text: str) -> None:
        """Say something that takes no time."""
        self._console.print(f"            {text}", markup=False, soft_wrap=True)

    def _line(self, word: str, text: str, began: float) -> None:
        now = time.monotonic()
        self._console.print(f"{now - self._start:6.1f} s {word:>6}  {text} ({now - began:.1f} s)", markup=False, soft_wrap=True)
