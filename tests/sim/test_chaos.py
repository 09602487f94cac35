"""Any order of edits, losses, outages and restarts, by seed: while they last no invariant breaks, and after them all is as wanted."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from tests.harness.depth import seeds
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.rendering import names

SEEDS = int(os.environ.get("LLAMA_SIM_SEEDS", len(seeds(16))))
"""More for a night: a seed takes about half a second."""
BAD = {"source": "file:///models/bad"}
GOOD = {"source": "file:///models/tiny"}
SHAPES: list[dict[str, Any]] = [
    {"hardware": {"accelerator": "nvidia-h100-80gb"}, "parallelism": {"tensor": 8}},
    {"hardware": {"accelerator": "nvidia-h100-80gb"}, "parallelism": {"tensor": 8, "pipeline": 2}},
    {},
]


class Chaos:
    """What happens next, by the simulation's own random numbers."""

    def __init__(self, sim: Sim) -> None:
        self.sim, self.rng = sim, sim.rng
        self.spec: dict[str, Any] = {**self.rng.choice(SHAPES), "replicas": self.rng.randint(1, 2), "model": GOOD}

    async def strike(self) -> None:
        """One event."""
        name = self.rng.choice(
            ["edit", "edit", "scale", "lose", "crash", "head", "evict", "restart", "restart", "outage", "flaky", "load", "bad"]
        )
        await getattr(self, name)()

    async def edit(self) -> None:
        self.sim.apply(**self._spec(context={"maxTokens": self.rng.choice([32, 64])}))

    async def scale(self) -> None:
        self.sim.apply(**self._spec(replicas=self.rng.randint(0, 2) or 1))

    async def bad(self) -> None:
        self.sim.apply(**self._spec(model=self.rng.choice([BAD, GOOD])))

    async def lose(self) -> None:
        if pods := self.sim.pods():
            self.sim.lose(self.rng.choice(pods))

    async def crash(self) -> None:
        if pods := [pod for pod in self.sim.pods() if pod.get("status", {}).get("phase") == "Running"]:
            self.sim.crash(self.rng.choice(pods))

    async def evict(self) -> None:
        """As `kubectl drain` does: the pod is told to go, and has its grace."""
        if pods := self.sim.pods():
            self.sim.api._begin_deletion(self.rng.choice(pods), 10)

    async def head(self) -> None:
        if heads := self.sim.pods(names.HEAD):
            self.sim.lose(self.rng.choice(heads))

    async def restart(self) -> None:
        await self.sim.restart(away=self.rng.random() * 15)

    async def outage(self) -> None:
        self.sim.api.down = True
        await asyncio.sleep(self.rng.random() * 20)
        self.sim.api.down = False

    async def flaky(self) -> None:
        self.sim.cluster.flaky = self.rng.choice([0.0, 0.3])

    async def load(self) -> None:
        self.sim.cluster.load = self.rng.randint(0, 12)

    def _spec(self, **change: Any) -> dict[str, Any]:
        self.spec.update(change)
        return self.spec


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_it_ends_as_wanted(seed: int) -> None:
    async def run() -> None:
        async with Sim(seed, nodes={f"node-{index}": 8 for index in range(4)}, load_seconds=4.0, bad_sources={BAD["source"]}) as sim:
            chaos = Chaos(sim)
            sim.apply(**chaos.spec)
            for _ in range(10):
                await asyncio.sleep(sim.rng.random() * 12)
                await chaos.strike()
                sim.operator.check()
            sim.cluster.flaky, sim.api.down = 0.0, False
            sim.apply(**chaos._spec(model=GOOD, context={"maxTokens": 128}, replicas=2))
            # The longest way: a drain whose deadline must pass, because the old head is gone, for each of two gangs.
            await sim.until(sim.settled, 800)
            await asyncio.sleep(10)
            writes, lists = await sim.one_pass()
            assert (writes, lists <= 2) == (0, True), dict(sim.api.writes)

    run_virtually(run())
