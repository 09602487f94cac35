"""Steps are done in their order; drains that follow one another are asked for together, and none of them keeps others from being done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.harness.builders import KEY, NOW
from tests.harness.fake_api import FakeApi
from tests.harness.virtual_time import run_virtually

from llama_operator.adapters.tokens import Tokens
from llama_operator.control.execute import DRAIN_SECONDS, DRAINS_AT_ONCE, Hands, Outcome, execute
from llama_operator.control.store import Store
from llama_operator.lifecycle import actions as act
from llama_operator.lifecycle.observed import Agent, Unknown, World
from llama_operator.ports import AgentError

WORLD = World(key=KEY, uid="u", generation=1, deleting=False, finalizers=())


class Agents:
    """Agents that answer a drain as `answer` does, by their address."""

    def __init__(self, answer: Callable[[str], Awaitable[None]]) -> None:
        self.answer, self.asked, self.now, self.most = answer, list[str](), 0, 0

    async def status(self, ip: str) -> Agent | Unknown:
        raise NotImplementedError(ip)

    async def drain(self, ip: str, token: str, deadline_seconds: int) -> None:
        del token, deadline_seconds
        self.asked.append(ip)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.answer(ip)
        finally:
            self.now -= 1


def drains(count: int, first: int = 0) -> list[act.Action]:
    return [act.Drain(why="x", pod=f"p{n}", ip=str(n), deadline_seconds=1) for n in range(first, first + count)]


def delete(name: str) -> act.Action:
    return act.Delete(why="x", kind="Pod", name=name, uid="u")


def did(agents: Agents, actions: list[act.Action]) -> tuple[Outcome, float]:
    """What became of it, and how many seconds it took."""

    async def run() -> tuple[Outcome, float]:
        api = FakeApi(clock=lambda: NOW)
        hands = Hands(writer=api, agents=agents, serve=None, tokens=Tokens(b"k" * 32), store=Store())  # type: ignore[arg-type] - no step asks Serve
        loop = asyncio.get_running_loop()
        begun = loop.time()
        return await execute(hands, WORLD, {}, None, actions), loop.time() - begun

    return run_virtually(run())


async def hang(_: str) -> None:
    await asyncio.sleep(3)
    raise AgentError("no answer")


def test_a_hundred_agents_that_hang_hold_a_worker_for_seconds() -> None:
    agents = Agents(hang)
    outcome, seconds = did(agents, [*drains(100), delete("after")])
    assert seconds <= 12
    assert agents.most == DRAINS_AT_ONCE
    assert len(outcome.errors) == 100
    assert [action.why for action in outcome.done] == ["x"]


def test_however_many_hang_the_pass_goes_on_and_says_who_was_not_asked() -> None:
    outcome, seconds = did(Agents(hang), [*drains(1000), delete("after")])
    assert seconds <= DRAIN_SECONDS
    assert len(outcome.errors) == 1000
    assert outcome.errors[-1] == "Drain: agent at 999: not reached within the 20 s for all drains"
    assert len(outcome.done) == 1


def test_a_drain_that_fails_keeps_no_other_from_being_done_and_order_is_kept() -> None:
    async def some(ip: str) -> None:
        if ip == "1":
            raise AgentError("no")

    actions = [delete("a"), *drains(3), delete("b"), *drains(2, first=3)]
    agents = Agents(some)
    outcome, _ = did(agents, actions)
    assert outcome.errors == ["Drain: no"]
    assert outcome.done == [action for action in actions if action is not actions[2]]
    assert agents.asked == ["0", "1", "2", "3", "4"]


def test_a_mistake_of_ours_ends_the_pass_after_all_drains_have_ended() -> None:
    ended: list[Any] = []

    async def broken(ip: str) -> None:
        if ip == "0":
            raise ValueError("a bug")
        await asyncio.sleep(1)
        ended.append(ip)

    with pytest.raises(ValueError, match="a bug"):
        did(Agents(broken), [*drains(3), delete("after")])
    assert ended == ["1", "2"]
