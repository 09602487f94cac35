"""An object that an earlier version accepted and this one refuses goes on, can be mended without a restart, and can be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.harness.builders import KEY
from tests.harness.depth import seeds
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.rendering import names

GATED: dict[str, Any] = {"source": "hf://meta-llama/Llama-3.1-8B-Instruct"}
ACCEPTED: dict[str, Any] = {**GATED, "licenseAccepted": True}
SEEDS = seeds(3)


def live(seed: int, story: Callable[[Sim], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Sim(seed) as sim:
            await story(sim)

    run_virtually(run())


def uids(sim: Sim) -> set[str]:
    return {pod["metadata"]["uid"] for pod in sim.pods()}


async def from_before(sim: Sim) -> set[str]:
    """A gated model that runs, as an operator before the licence gate left it, under a new operator."""
    sim.apply(replicas=2, model=ACCEPTED)
    await sim.until(sim.settled, 60)
    await sim.operator.kill()
    sim.apply(replicas=2, model=GATED)
    await sim.restart()
    await sim.until(lambda: sim.condition("Accepted").get("status") == "False", 60)
    assert "spec.model.licenseAccepted" in sim.condition("Accepted")["message"]
    return uids(sim)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_goes_on_and_a_lost_replica_is_replaced(seed: int) -> None:
    async def story(sim: Sim) -> None:
        before = await from_before(sim)
        await asyncio.sleep(120)
        assert uids(sim) == before
        assert sim.status()["ready"] == "2/2"
        sim.lose(sim.pods()[0])
        await sim.until(lambda: sim.status()["ready"] == "1/2", 30)
        await sim.until(lambda: sim.status()["ready"] == "2/2", 60)

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_mended_by_an_edit_that_restarts_nothing(seed: int) -> None:
    async def story(sim: Sim) -> None:
        before = await from_before(sim)
        sim.apply(replicas=2, model=ACCEPTED)
        await sim.until(sim.settled, 60)
        assert sim.condition("Accepted")["status"] == "True"
        assert uids(sim) == before

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_deleted_within_a_minute(seed: int) -> None:
    async def story(sim: Sim) -> None:
        await from_before(sim)
        await sim.delete()
        await sim.until(lambda: (names.KIND, KEY.namespace, KEY.name) not in sim.api.objects, 60)
        await sim.until(lambda: [key for key in sim.api.objects if key[0] not in ("Node", "Event")] == [], 60)

    live(seed, story)


NONSENSE: list[dict[str, Any]] = [{"model": 7}, {"hardware": None, "later": [1]}, {"autoscaling": {"objective": "x"}}]


@pytest.mark.parametrize("spec", NONSENSE, ids=str)
def test_a_finalizer_goes_whatever_the_spec_says(spec: dict[str, Any]) -> None:
    """Fields of a version that nobody remembers, or written past the API server's checks."""

    async def story(sim: Sim) -> None:
        sim.apply(replicas=1)
        await sim.until(sim.settled, 60)
        sim.apply(**spec)
        await sim.until(lambda: sim.condition("Accepted").get("status") == "False", 60)
        await sim.delete()
        await sim.until(lambda: (names.KIND, KEY.namespace, KEY.name) not in sim.api.objects, 60)

    live(0, story)
