"""What the operator knows of a model before a pod exists: from the catalogue, or from the hub, and remembered.

Read are headers and config files, never weights, and without anybody's token: the operator by design cannot read the users' Secrets. A
gated model that is not in the catalogue is therefore not known here; its pods, which have the token, check it before they load it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from llama_operator.adapters.hub import Hub, HubProblem
from llama_operator.api.problems import Problem
from llama_operator.planning.admission import Unread
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.models.catalogue import SCHEME, known_facts
from llama_operator.planning.models.from_config import facts_from_config
from llama_operator.planning.shape import read_shape
from llama_operator.ports import ModelFilesError, ModelReader

Answer = ModelFacts | Problem | Unread

KEEP = 256
"""Answers that are remembered."""
KEEP_SECONDS = 3600.0
"""A branch of the hub may move."""
RETRY_SECONDS = 30.0
"""Between two questions to a hub that gave no answer; a hub that names a longer time is left alone for it."""
READ_SECONDS = 60.0
"""For those whose turn is earlier, as one model is read at a time, and then as long for all headers of
one model: 405B has some 190 files, and each is asked for twice."""
SOON = frozenset({"NoAnswer", "RateLimited"})
"""Failures of a ModelFilesError that may pass."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    until: float
    answer: Answer


class KnownModels:
    """Implements Models."""

    def __init__(self, reader: ModelReader | None, hub: Hub, *, monotonic: Callable[[], float], read_seconds: float = READ_SECONDS) -> None:
        """`reader` reads the weight files' headers, `hub` a config.json where the weight files have none that can be read; no reader where
        the operator was given no hub.
        """
        self._reader, self._hub, self._monotonic, self._read_seconds = reader, hub, monotonic, read_seconds
        self._known: dict[tuple[str, str | None], _Known] = {}
        self._turn = asyncio.Semaphore(1)  # what is read of one model takes tens of megabytes where somebody wants it to

    async def facts(self, source: str, revision: str | None = None) -> Answer:
        """See ports.Models."""
        if (known := known_facts(source)) is not None:
            return known
        if not source.startswith(SCHEME):
            return Unread(why=f"the files of {source} can be seen from its pods alone")
        if self._reader is None:
            return Unread(why="the operator was given no hub to ask")
        key = source, revision
        if (kept := self._kept(key)) is not None:
            return kept
        try:
            async with asyncio.timeout(self._read_seconds):
                await self._turn.acquire()
        except TimeoutError:
            # Not remembered: nothing was learnt of this model.
            return Unread(why=f"other models were read for {self._read_seconds:.0f} s", soon=True)
        try:
            if (kept := self._kept(key)) is not None:
                return kept
            answer, seconds = await self._read(self._reader, source, revision)
        finally:
            self._turn.release()
        if len(self._known) >= KEEP:
            del self._known[min(self._known, key=lambda each: self._known[each].until)]
        self._known[key] = _Known(until=self._monotonic() + seconds, answer=answer)
        return answer

    def _kept(self, key: tuple[str, str | None]) -> Answer | None:
        kept = self._known.get(key)
        return kept.answer if kept is not None and kept.until > self._monotonic() else None

    async def _read(self, reader: ModelReader, source: str, revision: str | None) -> tuple[Answer, float]:
        """The answer, and for how many seconds it holds."""
        name = source.removeprefix(SCHEME)
        try:
            async with asyncio.timeout(self._read_seconds):
                contents = await reader.read_model(source, revision)
        except ModelFilesError as error:
            if error.reason in SOON:
                return Unread(why=error.message, soon=True), max(RETRY_SECONDS, error.retry_after or 0.0)
            why = error.message
        except TimeoutError:
            why = f"the headers of {name} were not read within {self._read_seconds:.0f} s"
        else:
            facts = await asyncio.to_thread(contents.facts, name)  # of some 50,000 tensors at most
            return _told(facts, contents.config), KEEP_SECONDS
        config = await self._hub.read_config(source, revision)
        if isinstance(config, HubProblem):
            return Unread(why=why), KEEP_SECONDS
        # It says enough of files that are as it says.
        return _told(facts_from_config(name, config), config), KEEP_SECONDS


def _told(facts: ModelFacts | Problem, config: object) -> Answer:
    """The facts. What is no Llama is refused; what is one, with files that the planner does not understand, may still be one that the
    engine serves: its shape is all that is known then.
    """
    if isinstance(facts, ModelFacts):
        return facts
    shape = read_shape(config)
    if isinstance(shape, Problem):
        return shape
    return Unread(why=f"the planner does not know {facts.given}, where it knows {facts.allowed}", shape=shape)
