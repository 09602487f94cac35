"""The simulated engine keeps its promises about time: pace, slots, queue, faults."""

from __future__ import annotations

import asyncio
import time

import pytest

from llama_serving.engines.simulated import LOAD_TOTAL_BYTES, SimulatedArgs, SimulatedEngine, SimulatedLoadError
from llama_serving.rootcause import diagnose
from llama_serving.status import Progress


def engine(**args: object) -> SimulatedEngine:
    return SimulatedEngine(SimulatedArgs.parse({"loadSeconds": 0, **args}), context_tokens=1000)


async def loaded(**args: object) -> SimulatedEngine:
    made = engine(**args)
    await made.load(lambda _: None)
    return made


async def take(made: SimulatedEngine, tokens: int, prompt: int = 1) -> list[str]:
    return [word async for word in made.generate(prompt, tokens)]


async def test_a_load_tells_its_progress_from_nothing_to_all() -> None:
    seen: list[Progress] = []
    await engine(loadSeconds=0.05).load(seen.append)
    assert seen[0].percent == 0
    assert seen[-1] == Progress(done=LOAD_TOTAL_BYTES, total=LOAD_TOTAL_BYTES)
    assert [item.done for item in seen] == sorted(item.done for item in seen)


async def test_as_many_tokens_come_out_as_were_asked_for_at_the_modelled_pace() -> None:
    made = await loaded(tokensPerSecond=200)
    began = time.monotonic()
    words = await take(made, 41)
    assert len(words) == 41
    assert 0.2 <= time.monotonic() - began < 1.0  # 40 intervals of 5 ms
    assert made.counters.generation_tokens == 41


async def test_a_long_prompt_delays_the_first_token() -> None:
    made = await loaded(tokensPerSecond=1000, prefillTokensPerSecond=1000)
    began = time.monotonic()
    await take(made, 1, prompt=200)
    assert time.monotonic() - began >= 0.2


async def test_requests_beyond_the_slots_wait_their_turn() -> None:
    made = await loaded(slots=2, tokensPerSecond=100)
    tasks = [asyncio.create_task(take(made, 10)) for _ in range(5)]
    await asyncio.sleep(0.03)  # into the first two requests' 100 ms
    assert (made.counters.running, made.counters.waiting) == (2, 3)
    assert [len(words) for words in await asyncio.gather(*tasks)] == [10] * 5
    assert (made.counters.running, made.counters.waiting) == (0, 0)


async def test_a_client_that_goes_away_frees_its_slot() -> None:
    made = await loaded(slots=1, tokensPerSecond=1)
    first = asyncio.create_task(take(made, 100))
    await asyncio.sleep(0.01)  # until it holds the slot
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert made.counters.running == 0
    assert made.counters.finished == {"abort": 1}
    assert len(await asyncio.wait_for(take(made, 1), 2)) == 1


async def test_a_waiting_client_that_goes_away_leaves_the_queue() -> None:
    made = await loaded(slots=1, tokensPerSecond=1)
    first, second = (asyncio.create_task(take(made, 5)) for _ in range(2))
    await asyncio.sleep(0.01)  # until one runs and one waits
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (made.counters.running, made.counters.waiting) == (1, 0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_load_that_was_ordered_to_hang_stops_half_way() -> None:
    seen: list[Progress] = []
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine(fault="load-hang").load(seen.append), 0.2)
    assert seen[-1].percent == 50


@pytest.mark.parametrize(("fault", "reason"), [("load-crash", "EngineFailed"), ("out-of-memory", "OutOfMemory")])
async def test_a_load_that_was_ordered_to_fail_says_what_the_operator_will_read(fault: str, reason: str) -> None:
    with pytest.raises(SimulatedLoadError) as caught:
        await engine(fault=fault).load(lambda _: None)
    assert diagnose(f"SimulatedLoadError: {caught.value}").reason == reason


async def test_an_engine_that_was_ordered_to_hang_gives_no_token_after_its_time() -> None:
    made = await loaded(fault="hang", faultAfterSeconds=0.1, tokensPerSecond=1000)
    assert len(await take(made, 5)) == 5
    await asyncio.sleep(0.1)  # until the fault is due
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(take(made, 1), 0.2)


async def test_no_fault_is_due_before_the_engine_is_ready() -> None:
    made = engine(fault="crash")
    assert made.fault_due() is None
    await made.load(lambda _: None)
    assert made.fault_due() == "crash"
