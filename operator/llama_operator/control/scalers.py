"""The HorizontalPodAutoscalers of LlamaDeployments, looked up only where somebody else was seen to set the number of replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llama_operator.lifecycle.ownership import Scaler, read_scalers
from llama_operator.ports import ApiError, Clock, Reader

MOST_AGE_SECONDS = 30.0
"""How old what was found may be: the message is as old at most, and a number that stays contested does not take a list at every look."""


@dataclass(frozen=True, kw_only=True)
class Scalers:
    """What was found last, by namespace."""

    reader: Reader
    clock: Clock
    _found: dict[str, tuple[float, Sequence[Scaler]]] = field(default_factory=dict)

    async def read(self, namespace: str) -> Sequence[Scaler]:
        """Those of a namespace, as of a short time ago. None where they may not be listed, as with the role of an older chart; where they
        cannot be, those that were found before: who it is only names what is known already, and no pass fails for it.
        """
        begun = self.clock.now()
        known = self._found.get(namespace)
        if known is not None and abs(begun - known[0]) <= MOST_AGE_SECONDS:
            return known[1]
        try:
            found: Sequence[Scaler] = read_scalers(await self.reader.list("HorizontalPodAutoscaler", namespace))
        except ApiError:
            found = known[1] if known is not None else ()
        self._found[namespace] = begun, found
        return found
