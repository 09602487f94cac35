"""Pods of a node that is dead stay Terminating until somebody removes the node: the rest goes on without them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.world import Sim
from tests.sim.test_stories import BIG, SEEDS, live

from llama_operator.rendering import names


def ready_of(sim: Sim, revision: str) -> list[dict[str, Any]]:
    """Replicas of a revision that serve."""
    lives = {pod["metadata"]["uid"]: pod for pod in sim.pods(revision=revision) if pod["metadata"]["uid"] not in sim.cluster.stranded}
    return [pod for uid, pod in lives.items() if uid in sim.cluster.lives and sim.cluster.lives[uid].phase == "Ready"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lost", [1, 2])
def test_an_edit_after_it_moves_to_the_new_revision_without_them(seed: int, lost: int) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**BIG, replicas=2)
        await sim.until(sim.settled, 60)
        old = sim.status()["revision"]
        for pod in sim.pods()[:lost]:
            sim.strand(pod)
        sim.apply(**BIG, replicas=2, context={"maxTokens": 64})
        await sim.until(lambda: sim.status()["revision"] != old, 60)
        new = sim.status()["revision"]
        await sim.until(lambda: len(ready_of(sim, new)) == 2 and not ready_of(sim, old), 400)
        await sim.until(lambda: sim.condition("Progressing")["reason"] == "Complete", 60)
        assert len(sim.pods(revision=old)) == lost
        writes, _ = await sim.one_pass()
        assert writes == 0

    live(seed, story, nodes={f"node-{index}": 8 for index in range(4)})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_number_that_falls_is_followed_beside_them(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**BIG, replicas=3)
        await sim.until(sim.settled, 60)
        sim.strand(sim.pods()[0])
        revision = sim.status()["revision"]
        await sim.until(lambda: len(ready_of(sim, revision)) == 3, 300)
        sim.apply(**BIG, replicas=1)
        await sim.until(lambda: len(sim.pods()) == 2, 300)
        assert len(ready_of(sim, revision)) == 1
        assert {pod["metadata"]["labels"][names.LABEL_REVISION] for pod in sim.pods()} == {revision}

    live(seed, story, nodes={f"node-{index}": 8 for index in range(4)})
