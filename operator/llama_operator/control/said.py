"""What the statuses say that were written last, as they were meant.

A CRD older than the operator prunes the fields that it does not know, so what comes back never equals what was written. What counts
as the previous status in the next pass is therefore what was meant, as long as nobody else wrote the status since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_operator.rendering.names import Key


class Said:
    """By LlamaDeployment. Empty when the process begins: each status may be written once for nothing then."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._said: dict[Key, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}

    def note(self, key: Key, meant: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
        """`meant` was written, and `stored` came back."""
        self._said.pop(key, None)
        if meant != stored:
            self._said[key] = meant, stored

    def last(self, key: Key, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was meant by the status that is stored now."""
        meant, back = self._said.get(key, (stored, stored))
        return meant if back == stored else stored

    def forget(self, key: Key) -> None:
        """The LlamaDeployment is gone."""
        self._said.pop(key, None)
