"""Free GPUs, looked up for all LlamaDeployments together: it takes a list of all nodes and all pods of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llama_operator.control.gather import read_rooms
from llama_operator.lifecycle.observed import NodeGpus, Unknown
from llama_operator.planning.hardware.requests import Holder
from llama_operator.ports import Clock, Reader

Found = tuple[Sequence[NodeGpus] | Unknown, Sequence[Holder]]


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """What was found last, by resource name."""

    reader: Reader
    clock: Clock
    _found: dict[str, tuple[float, Found]] = field(default_factory=dict)

    async def read(self, resource: str, most_age: float) -> Found:
        """The free GPUs of that resource name, and who holds the others, as of at most `most_age` seconds ago."""
        begun = self.clock.now()
        if (known := self._found.get(resource)) is not None and abs(begun - known[0]) <= most_age:
            return known[1]
        found = await read_rooms(self.reader, resource)
        self._found[resource] = begun, found
        return found
