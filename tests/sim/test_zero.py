"""A deployment at zero replicas: what happened before, or is done to it meanwhile, never keeps the next request from its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.harness.world import Sim
from tests.sim.test_stories import SEEDS, live

from llama_operator.rendering import names

ASLEEP = {
    "minReplicas": 0,
    "maxReplicas": 2,
    "objective": {"inFlightPerReplica": 4},
    "scaleToZeroAfter": "2m",
    "scaleDownStabilizationSeconds": 60,
}


async def fall_asleep(sim: Sim) -> None:
    """Nobody asks any more, until no replica is left."""
    sim.cluster.load = 0
    await sim.until(lambda: sim.settled() and not sim.pods() and sim.status()["ready"] == "0/0", 900)


async def sleeps(sim: Sim) -> str:
    """Let a deployment come, and go to zero. Returns its revision."""
    sim.apply(autoscaling=ASLEEP)
    await sim.until(sim.settled, 60)
    await fall_asleep(sim)
    return str(sim.status()["revision"])


def doors(sim: Sim) -> list[str]:
    """Revisions of the pods that the users' Service has as ready endpoints."""
    return [
        pod["metadata"]["labels"][names.LABEL_REVISION]
        for pod in sim.api.all("Pod")
        if pod["metadata"]["labels"].get(names.LABEL_TRAFFIC) == "true"
        and not pod["metadata"].get("deletionTimestamp")
        and any(item["type"] == "Ready" and item["status"] == "True" for item in pod.get("status", {}).get("conditions", []))
    ]


@asynccontextmanager
async def the_door_stays_open(sim: Sim) -> AsyncIterator[None]:
    """Fails where the users' Service was without an endpoint meanwhile."""

    async def watch() -> None:
        while True:
            assert doors(sim), f"the Service has no endpoint\n{sim.describe()}"
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    yield
    if watching.done():
        watching.result()
    watching.cancel()


@pytest.mark.parametrize("seed", SEEDS)
def test_attempts_that_were_used_up_before_it_slept_do_not_keep_it_from_waking(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(autoscaling=ASLEEP)
        await sim.until(sim.settled, 60)
        sim.cluster.bad_sources.add("file:///models/tiny")
        sim.cluster.load = 8
        await sim.until(lambda: sim.condition("Progressing").get("reason") == "RetriesExhausted", 300)
        assert sim.status()["ready"] == "1/2"
        sim.cluster.bad_sources.clear()
        await fall_asleep(sim)
        assert "failures" not in sim.status()
        sim.cluster.load = 1
        await sim.until(lambda: sim.settled() and sim.status()["ready"] == "1/1", 90)

    live(seed, story)


def test_an_application_that_serve_refuses_at_zero_is_not_sent_for_ever() -> None:
    async def story(sim: Sim) -> None:
        await sleeps(sim)
        sim.cluster.app_error = "no module named x"
        sim.apply(autoscaling=ASLEEP, context={"maxTokens": 64})
        await sim.until(lambda: sim.status().get("failures", {}).get("attempts") == sim.settings.max_load_attempts, 300)
        await asyncio.sleep(30)
        writes = sum(sim.api.writes.values())
        await asyncio.sleep(300)
        assert sum(sim.api.writes.values()) == writes

    live(0, story)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("held", [0, 2])
def test_an_edit_at_zero_leaves_the_service_its_endpoint_and_the_old_head_goes(seed: int, held: int) -> None:
    async def story(sim: Sim) -> None:
        old = await sleeps(sim)
        sim.cluster.load = held
        async with the_door_stays_open(sim):
            sim.apply(autoscaling=ASLEEP, context={"maxTokens": 64})
            await sim.until(
                lambda: sim.status()["revision"] != old and sim.settled() and sim.status()["ready"] == f"{min(held, 1)}/{min(held, 1)}", 120
            )
            await asyncio.sleep(30)
        assert not [key for key in sim.api.objects if old in key[2]]
        writes, _ = await sim.one_pass()
        assert writes == 0

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_old_head_lets_users_in_while_no_other_can_and_heads_that_never_did_go(seed: int) -> None:
    async def story(sim: Sim) -> None:
        old = await sleeps(sim)
        (head,) = sim.pods(names.HEAD)
        run = sim.cluster._run
        sim.cluster._run = lambda pod: run(pod) if pod["metadata"]["labels"][names.LABEL_REVISION] == old else None  # type: ignore[method-assign]
        async with the_door_stays_open(sim):
            for tokens in (64, 65):
                sim.apply(autoscaling=ASLEEP, context={"maxTokens": tokens})
                await asyncio.sleep(200)
                assert len(sim.pods(names.HEAD)) == 2
            sim.cluster.load = 1
            sim.apply(autoscaling=ASLEEP)
            await sim.until(lambda: sim.settled() and (sim.status()["revision"], sim.status()["ready"]) == (old, "1/1"), 120)
        assert [pod["metadata"]["uid"] for pod in sim.pods(names.HEAD)] == [head["metadata"]["uid"]]

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spec_that_is_refused_at_zero_brings_one_replica_of_what_ran(seed: int) -> None:
    async def story(sim: Sim) -> None:
        old = await sleeps(sim)
        sim.apply(autoscaling=ASLEEP, parallelism={"tensor": 8}, hardware={"accelerator": "nvidia-h100-80gb", "gpusPerNode": 4})
        await sim.until(lambda: sim.condition("Accepted")["status"] == "False" and sim.status()["ready"] == "1/1", 90)
        assert len(sim.pods(revision=old)) == 1
        sim.apply(autoscaling=ASLEEP)
        await sim.until(sim.settled, 30)
        await fall_asleep(sim)

    live(seed, story)
