"""The work queue in virtual time: one worker a key, coalescing, delays of which the earliest wins, and growing pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.harness.virtual_time import NothingLeft, run_virtually

from llama_operator.control.workqueue import BASE_SECONDS, FAULT_SECONDS, MAX_SECONDS, WorkQueue, share


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(queue: WorkQueue[str], count: int) -> list[tuple[float, str]]:
    """Take and finish so many keys: when, and which."""
    taken = []
    for _ in range(count):
        key = await queue.get()
        taken.append((now(), key))
        queue.done(key)
    return taken


def in_time(scenario: Callable[[WorkQueue[str]], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await scenario(WorkQueue[str](jitter=lambda: 1.0))

    return run_virtually(run())


def test_a_key_added_often_is_worked_on_once() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        assert len(queue) == 2
        return [key for _, key in await take(queue, 2)]

    assert in_time(scenario) == ["a", "b"]


def test_nothing_is_left_after_that() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        queue.add("a")
        queue.add("a")
        await take(queue, 2)

    with pytest.raises(NothingLeft):
        in_time(scenario)


def test_a_key_that_is_worked_on_is_not_given_to_another_worker() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        active: set[str] = set()
        worked: list[str] = []

        async def worker() -> None:
            while True:
                key = await queue.get()
                assert key not in active
                active.add(key)
                await asyncio.sleep(1)
                active.discard(key)
                worked.append(key)
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(4)]
        for _ in range(10):
            queue.add("a")
            queue.add("b")
            await asyncio.sleep(0.4)
        await asyncio.sleep(10)
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return worked

    worked = in_time(scenario)
    assert set(worked) == {"a", "b"}
    assert 4 <= worked.count("a") <= 6


def test_a_key_added_while_it_is_worked_on_is_worked_on_once_more() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        queue.add("a")
        key = await queue.get()
        queue.add(key)
        queue.add(key)
        queue.done(key)
        return len(await take(queue, 1)), len(queue)

    assert in_time(scenario) == (1, 0)


@pytest.mark.parametrize(("delays", "when"), [([5], 5), ([5, 3], 3), ([3, 5], 3), ([5, 0], 0), ([5, -1], 0)])
def test_of_several_delays_the_earliest_wins(delays: list[float], when: float) -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        for delay in delays:
            queue.add_after("a", delay)
        return await take(queue, 1)

    assert in_time(scenario) == [(when, "a")]


def test_a_delayed_key_comes_once() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        queue.add_after("a", 3)
        queue.add_after("a", 5)
        queue.add_after("b", 20)
        return await take(queue, 2)

    assert in_time(scenario) == [(3, "a"), (20, "b")]


def test_an_event_overtakes_a_delay_and_replaces_it() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        queue.add_after("a", 30)
        queue.add("a")
        queue.add_after("b", 60)
        return await take(queue, 2)

    assert in_time(scenario) == [(0, "a"), (60, "b")]


def test_a_key_that_waits_already_needs_no_delay() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        queue.add("a")
        queue.add_after("a", 5)
        await take(queue, 1)
        return len(queue._timers)

    assert in_time(scenario) == 0


def test_pauses_after_failures_double_up_to_a_bound_until_one_pass_goes_well() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        pauses = []
        for _ in range(10):
            pauses.append(queue.retry("a"))
            await take(queue, 1)
        queue.forget("a")
        return pauses, queue.retry("a")

    pauses, after = in_time(scenario)
    assert pauses == [min(MAX_SECONDS, BASE_SECONDS * 2**index) for index in range(10)]
    assert after == BASE_SECONDS


def test_jitter_at_most_halves_a_pause() -> None:
    async def pause(jitter: float) -> float:
        return WorkQueue[str](jitter=lambda: jitter).retry("a")

    assert [run_virtually(pause(jitter)) for jitter in (0.0, 0.5)] == [BASE_SECONDS / 2, BASE_SECONDS * 0.75]


def test_after_a_fault_pauses_grow_to_minutes_and_only_news_cuts_them_short() -> None:
    async def scenario(queue: WorkQueue[str]) -> Any:
        pauses = []
        for _ in range(12):
            pauses.append(queue.retry("a", fault=True))
            await take(queue, 1)
        queue.retry("a", fault=True)
        queue.remind("a")
        reminded = len(queue)
        queue.add("a")
        told = len(queue)
        await take(queue, 1)
        queue.retry("a")
        queue.remind("a")
        return pauses[-1], reminded, told, len(queue)

    assert in_time(scenario) == (FAULT_SECONDS, 0, 1, 1)


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_one_tenant_may_keep_half_of_the_workers_busy(workers: int, most: int) -> None:
    assert share(workers) == most


async def work(queue: WorkQueue[str], workers: int, seconds: Callable[[str], float]) -> list[tuple[float, str]]:
    """Work on what is there: when each key's work began."""
    begun: list[tuple[float, str]] = []

    async def worker() -> None:
        while True:
            key = await queue.get()
            begun.append((now(), key))
            await asyncio.sleep(seconds(key))
            queue.done(key)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    await asyncio.sleep(5000)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return begun


def test_a_tenant_whose_passes_hang_leaves_workers_to_the_others() -> None:
    """Twenty keys of `e`, 300 seconds each, were there before the others'."""

    async def run() -> list[tuple[float, str]]:
        queue = WorkQueue[str](tenant=lambda key: key[0], most=4)
        for key in [*(f"e{n}" for n in range(20)), "a0", "b0", "a1"]:
            queue.add(key)
        return await work(queue, 8, lambda key: 300 if key[0] == "e" else 1)

    begun = run_virtually(run())
    assert {key for at, key in begun if at == 0} == {"e0", "e1", "e2", "e3", "a0", "b0", "a1"}
    assert [key for _, key in begun if key[0] == "e"] == [f"e{n}" for n in range(20)]
    assert max(at for at, _ in begun) == 4 * 300
