"""Killed at any write, refused at any write, answered too late at any write: the operator ends where it would have ended anyway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from tests.harness.depth import DEEP
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.ports import ApiError

H100 = {"accelerator": "nvidia-h100-80gb"}
TWO_PODS: dict[str, Any] = {"hardware": H100, "parallelism": {"tensor": 8, "pipeline": 2}}
NODES = {f"node-{index}": 8 for index in range(4)}


class Trouble:
    """Something happens at the n-th write of the operator, Events not counted."""

    def __init__(self, sim: Sim, at: int, what: str) -> None:
        self.sim, self.at, self.what = sim, at, what
        self.count = 0
        self.killed = asyncio.Event()
        self._watch = sim.api.before_write
        sim.api.before_write, sim.api.after_write = self.before, self.after

    def before(self, verb: str, target: Mapping[str, Any]) -> None:
        self._watch(verb, target)
        if target["kind"] != "Event":
            self.count += 1
            if self.count == self.at and self.what == "refused":
                raise ApiError(500, "InternalError", "induced")
            if self.count == self.at and self.what == "killed before":
                self.kill()

    def after(self, verb: str, target: Mapping[str, Any]) -> None:
        if target["kind"] != "Event" and self.count == self.at:
            if self.what == "answer lost":
                self.at = -1
                raise ApiError(0, "NoAnswer", "induced")
            if self.what == "killed after":
                self.at = -1
                self.kill()

    def kill(self) -> None:
        """Every task of the operator ends at the await that it is in, as with SIGKILL."""
        self.killed.set()
        for task in self.sim.operator.tasks:
            task.cancel()

    async def resurrect(self) -> None:
        await self.killed.wait()
        await self.sim.restart(away=self.sim.rng.random() * 20)


async def life(sim: Sim) -> None:
    """A first load, a step up, an edit, a lost pod: the writes of a normal day."""
    sim.apply(**TWO_PODS, replicas=1)
    await until(sim)
    sim.apply(**TWO_PODS, replicas=2)
    await until(sim)
    sim.apply(**TWO_PODS, replicas=2, context={"maxTokens": 64})
    await until(sim)
    sim.lose(sim.pods()[0])
    await sim.until(lambda: not sim.settled(), 60)
    await until(sim)


async def until(sim: Sim) -> None:
    begun = sim.clock.now()
    while not (sim.settled() and all(sim.status()["ready"] == f"{n}/{n}" for n in [len(sim.status()["replicas"])])):
        assert sim.clock.now() - begun < 400, sim.describe()
        await asyncio.sleep(0.5)


async def play(seed: int, at: int, what: str) -> int:
    """The day, with trouble at one write; how many writes it took in all."""
    async with Sim(seed, nodes=NODES) as sim:
        trouble = Trouble(sim, at, what)
        reviver = asyncio.create_task(trouble.resurrect())
        await life(sim)
        reviver.cancel()
        if not trouble.killed.is_set():
            sim.operator.check()
        writes, lists = await sim.one_pass()
        assert (writes, lists <= 2) == (0, True)
        return trouble.count


TROUBLES = ("refused", "answer lost", "killed before", "killed after")
SAMPLES = int(os.environ.get("LLAMA_SIM_SAMPLES", "3" if DEEP else "1"))
"""Writes of the day that are tried with each trouble, spread evenly and for each trouble others; 1000 tries every one, which takes a
quarter of an hour."""


@cache
def writes_of_a_day() -> int:
    """Without trouble."""
    return run_virtually(play(0, -1, "nothing"))


@pytest.mark.parametrize("what", TROUBLES)
def test_trouble_at_any_write_of_a_day_changes_nothing_in_the_end(what: str) -> None:
    most = writes_of_a_day()
    assert most > 60
    samples = min(SAMPLES, most)
    shift = (TROUBLES.index(what) + 0.5) / len(TROUBLES)
    for at in sorted({1 + int((step + shift) * most / samples) for step in range(samples)}):
        run_virtually(play(at, at, what))
