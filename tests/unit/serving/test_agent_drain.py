"""A drain lasts as long as it was given, whatever becomes of the node's clock meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.harness.virtual_time import run_virtually
from tests.unit.serving.test_agent_process import CONFIG

from llama_serving.agent import agent as module
from llama_serving.agent.agent import Agent
from llama_serving.agent.settings import Settings
from llama_serving.agent.snapshot import Snapshot

SECONDS = 60.0
STEPS = [-86_400.0, -30.0, 0.0, 30.0, 86_400.0]


class Busy(Agent):
    """A replica with three streams that do not end."""

    def look(self) -> Snapshot:
        return cast("Snapshot", SimpleNamespace(engine=SimpleNamespace(in_flight=3), engine_alive=True))


def clocked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Agent, SimpleNamespace]:
    """An agent by the loop's time; `ahead` is what the node's clock was set forward."""
    loop, clock = asyncio.get_running_loop(), SimpleNamespace(ahead=0.0)
    wall = SimpleNamespace(monotonic=loop.time, time=lambda: 1_790_000_000.0 + loop.time() + clock.ahead)
    monkeypatch.setattr(module, "time", wall)
    settings = Settings(
        role="replica", config=CONFIG, gang=0, rank=0, head="h:1", pod_name="p", pod_ip="127.0.0.1", run_dir=tmp_path, token=""
    )
    return Busy(settings), clock


@pytest.mark.parametrize("step", STEPS)
def test_streams_have_their_time_and_gpus_are_held_no_longer_when_the_clock_is_set(
    step: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def story() -> None:
        draining, clock = clocked(monkeypatch, tmp_path)
        await draining.drain(SECONDS)
        asyncio.get_running_loop().call_later(10, setattr, clock, "ahead", step)
        await asyncio.wait_for(draining._wait_for_streams(), SECONDS + 2 * module.LOOK_SECONDS)
        assert asyncio.get_running_loop().time() >= SECONDS

    run_virtually(story())


@pytest.mark.parametrize("step", STEPS)
def test_a_later_call_does_not_extend_a_drain_and_an_earlier_deadline_does_shorten_it_when_the_clock_is_set(
    step: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def story() -> None:
        draining, clock = clocked(monkeypatch, tmp_path)
        await draining.drain(SECONDS)
        until = draining._drained_until
        clock.ahead = step
        await draining.drain(SECONDS + 1)
        assert draining._drained_until == until
        await draining.drain(SECONDS - 20)
        assert until is not None
        assert draining._drained_until == until - 20

    run_virtually(story())


@pytest.mark.parametrize("step", STEPS)
def test_ray_is_told_of_what_is_left_of_the_drain_when_the_clock_is_set(
    step: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def story() -> None:
        told: list[float] = []

        def refuse(*_: Any, deadline_seconds: float, **__: Any) -> str:
            told.append(deadline_seconds)
            return "not yet"

        async def at_once(work: Any, *given: Any, **named: Any) -> Any:
            return work(*given, **named)

        draining, clock = clocked(monkeypatch, tmp_path)
        draining.snap = replace(draining.snap, node_id="n")
        monkeypatch.setattr(module.ray_internals, "drain_node", refuse)
        monkeypatch.setattr(asyncio, "to_thread", at_once)  # no thread keeps the loop's time
        await draining.drain(SECONDS)
        asyncio.get_running_loop().call_later(10, setattr, clock, "ahead", step)
        assert draining._draining is not None
        await asyncio.wait_for(draining._draining, SECONDS + 2 * module.LOOK_SECONDS)
        assert told == pytest.approx([SECONDS - index * module.LOOK_SECONDS for index in range(len(told))])
        assert len(told) == SECONDS / module.LOOK_SECONDS

    run_virtually(story())
