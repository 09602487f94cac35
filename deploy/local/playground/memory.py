"""How much memory of the machine something took at most: what the kernel calls available, watched from a thread."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

INTERVAL_SECONDS = 1.0


def available_kib() -> int:
    """MemAvailable of /proc/meminfo."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/meminfo has no MemAvailable")


class Peak:
    """The most memory in use while the block ran, less what was in use before."""

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._before = self._least = available_kib()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    @property
    def gib(self) -> float:
        """GiB so far."""
        return (self._before - self._least) / 1024 / 1024

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self._least = min(self._least, available_kib())
