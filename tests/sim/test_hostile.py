"""What a tenant can write on pods, or let their agents say, costs the API server little, and neither stops nor holds up a pass."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.harness.builders import KEY
from tests.harness.world import Sim
from tests.sim.test_stories import live

from llama_operator.lifecycle.observed import Agent
from llama_operator.rendering import names


@pytest.mark.parametrize("failed", [False, True], ids=["a message", "a root cause"])
def test_an_agent_that_never_says_the_same_makes_no_pass_without_a_pause(monkeypatch: pytest.MonkeyPatch, failed: bool) -> None:
    answers = itertools.count()

    async def story(sim: Sim) -> None:
        sim.apply()
        await sim.until(sim.settled, 60)

        async def status(ip: str) -> Agent:
            word = f"{next(answers)}"
            cause = {"reason": word, "message": word} if failed else None
            return Agent.of({"phase": "Failed" if failed else "Ready", "message": word, "rootCause": cause})

        monkeypatch.setattr(sim.cluster, "status", status)
        # A replica that serves is taken away here, as its agent wants it.
        monkeypatch.setattr(sim.api, "before_write", lambda _verb, _target: None)
        monkeypatch.setattr(sim.cluster, "on_scale", lambda _revision, _target: None)
        await asyncio.sleep(5)
        sim.api.writes.clear()
        await asyncio.sleep(60)
        # A busy pass comes every two seconds, or when a pod changes; heads are replaced after ten, gangs after pauses that double.
        assert sim.api.writes["apply LlamaDeployment"] <= 60
        assert sim.api.writes["delete Pod"] <= 10
        assert sim.api.writes["create Event"] <= 40

    live(0, story)


@pytest.mark.parametrize("since", ["x", "2026-09-21", "9999-99-99T23:59:59Z"])
def test_a_spoilt_time_of_a_drain_takes_no_replica_away_and_holds_no_deletion_up(since: str) -> None:
    async def story(sim: Sim) -> None:
        sim.apply()
        await sim.until(sim.settled, 60)
        for pod in sim.pods():
            pod["metadata"].setdefault("annotations", {})[names.ANNOTATION_DRAIN_SINCE] = since
            sim.api.touch(pod)
        await asyncio.sleep(60)
        assert sim.status()["ready"] == "1/1"
        await sim.delete()
        await sim.until(lambda: (names.KIND, KEY.namespace, KEY.name) not in sim.api.objects, 120)

    live(0, story)
