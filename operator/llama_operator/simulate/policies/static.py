"""A fixed number of replicas: what most fleets run today, and the bar for whether scaling pays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llama_operator.simulate.view import Ask, Sight, View


@dataclass(frozen=True, kw_only=True)
class Static:
    """`static:N`."""

    replicas: int

    @property
    def name(self) -> str:
        """With the number."""
        return f"static:{self.replicas}"

    @property
    def sight(self) -> Sight:
        """Often enough to ask for its number at the beginning, where the run starts with another."""
        return Sight(every=15.0)

    def look(self, view: View, memory: Any) -> Ask:
        """Always the same."""
        del view, memory
        return Ask(self.replicas, None, "Static")
