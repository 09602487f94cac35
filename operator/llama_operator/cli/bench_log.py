"""What the driver said in the pod's log: how far it is, and the tool's results, put together again. Pure.

A line that is none of the driver's, or none that can be read, is passed over: the log holds what others write too.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_operator.api.depth import read_json
from llama_operator.cli.bench_driver import MARK

MOST_BYTES = 64 * 1024 * 1024
"""Of one result when it is unpacked: 10,000 requests take half a megabyte."""


@dataclass
class Said:
    """All that is known so far."""

    tool: str | None = None
    failed: str | None = None
    ended: bool = False
    begun: dict[int, float] = field(default_factory=dict)
    """By load: seconds since 1970 at which its tool was started."""
    done: tuple[int, int, int] | None = None
    """Load, requests that ended, and of how many."""
    parts: dict[int, dict[int, str]] = field(default_factory=dict)
    wanted: dict[int, int] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.ended or self.failed is not None

    def read(self, line: str) -> None:
        """One more line."""
        if not line.startswith(MARK):
            return
        try:
            event = read_json(line[len(MARK) :])
        except ValueError:
            return
        if isinstance(event, Mapping):
            self._take(event)

    def _take(self, event: Mapping[str, Any]) -> None:
        index = event.get("index")
        match event.get("event"):
            case "started":
                self.tool = str(event.get("tool"))
            case "failed":
                self.failed = str(event.get("why"))
            case "end":
                self.ended = True
            case "run" if isinstance(index, int) and isinstance(event.get("at"), int | float):
                self.begun[index] = float(event["at"])
            case "progress" if all(isinstance(event.get(key), int) for key in ("index", "done", "of")):
                self.done = (event["index"], event["done"], event["of"])
            case "result" if all(isinstance(event.get(key), int) for key in ("index", "part", "of")):
                self.wanted[event["index"]] = event["of"]
                self.parts.setdefault(event["index"], {})[event["part"]] = str(event.get("data"))

    def result(self, index: int) -> dict[str, Any] | None:
        """What the tool found for a load; None where it is not whole, or cannot be read."""
        parts = self.parts.get(index, {})
        if not parts or set(parts) != set(range(self.wanted[index])):
            return None
        try:
            packed = base64.b64decode("".join(parts[number] for number in sorted(parts)), validate=True)
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(packed, MOST_BYTES)
            value = read_json(text) if unpacker.eof else None
        except (binascii.Error, zlib.error, ValueError):
            return None
        return value if isinstance(value, dict) else None


def read_log(lines: Iterable[str]) -> Said:
    """All of a log."""
    said = Said()
    for line in lines:
        said.read(line.rstrip("\n"))
    return said
