"""A changed spec moves to a new revision: a gang at a time, on the GPUs that there are, whatever is lost on the way."""

from __future__ import annotations

import pytest
from tests.harness.depth import seeds
from tests.harness.world import Sim
from tests.sim.test_stories import BIG, SEEDS, live

from llama_operator.rendering import names


@pytest.mark.parametrize("seed", seeds(6))
def test_an_edit_moves_to_a_new_revision_without_more_gpus_and_the_old_is_cleared_away(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.cluster.load = 8
        sim.apply(**BIG, replicas=2)
        await sim.until(sim.settled, 60)
        old = sim.status()["revision"]
        sim.apply(**BIG, replicas=2, context={"maxTokens": 64})
        await sim.until(lambda: sim.status()["revision"] != old and sim.settled(), 200)
        assert sim.pods(revision=old) == []
        await sim.until(
            lambda: (
                not [item for item in sim.api.objects.values() if (item["metadata"].get("labels") or {}).get(names.LABEL_REVISION) == old]
            ),
            30,
        )
        writes, _ = await sim.one_pass()
        assert writes == 0

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bad_luck", ["lose", "crash"])
def test_an_old_head_that_is_lost_during_a_move_comes_back_and_the_move_goes_on(seed: int, bad_luck: str) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**BIG, replicas=2)
        await sim.until(sim.settled, 60)
        old = sim.status()["revision"]
        (head,) = [pod for pod in sim.pods(names.HEAD) if pod["metadata"]["labels"][names.LABEL_REVISION] == old]
        sim.apply(**BIG, replicas=2, context={"maxTokens": 64})
        await sim.until(lambda: sim.status()["revision"] != old, 60)
        getattr(sim, bad_luck)(head)

        def another_head() -> bool:
            heads = [pod for pod in sim.pods(names.HEAD) if pod["metadata"]["labels"][names.LABEL_REVISION] == old]
            return any(pod["metadata"]["uid"] != head["metadata"]["uid"] for pod in heads)

        await sim.until(another_head, 60)
        await sim.until(lambda: sim.settled() and not sim.pods(revision=old), 300)

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_revision_that_cannot_load_stops_the_move_and_going_back_heals(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.cluster.bad_sources.add("file:///models/bad")
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        old = sim.status()["revision"]
        sim.apply(replicas=2, model={"source": "file:///models/bad"})
        await sim.until(lambda: sim.condition("Progressing")["reason"] == "RetriesExhausted", 300)
        assert len([pod for pod in sim.pods(revision=old) if not pod["metadata"].get("deletionTimestamp")]) == 1
        assert sim.condition("Available")["status"] == "True"
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        assert sim.status()["revision"] == old

    live(seed, story)
