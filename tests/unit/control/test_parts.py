"""The parts of the operator live and die together, and none of them can keep its process from ending."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tests.harness.depth import DEEP

from llama_operator.control.parts import run_until_one_ends
from llama_operator.ports import NotLeader


async def deaf_once(cancelled: list[str]) -> None:
    """A part that loses a cancellation, as one does whose request runs out of time in the same moment."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        cancelled.append("deaf")
    await asyncio.sleep(3600)


async def obedient(cancelled: list[str]) -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        cancelled.append("obedient")
        raise


async def losing() -> None:
    raise NotLeader("another took the Lease")


async def test_the_first_part_to_fail_ends_the_others_and_its_error_is_told() -> None:
    cancelled: list[str] = []
    other = asyncio.create_task(obedient(cancelled))
    await asyncio.sleep(0)
    with pytest.raises(NotLeader, match="another took the Lease"):
        await run_until_one_ends([other, asyncio.create_task(losing())], asyncio.Event())
    assert cancelled == ["obedient"]


async def test_a_part_that_does_not_hear_its_cancellation_is_left_behind() -> None:
    cancelled: list[str] = []
    stubborn = asyncio.create_task(deaf_once(cancelled))
    await asyncio.sleep(0)
    with pytest.raises(NotLeader):
        await asyncio.wait_for(run_until_one_ends([stubborn, asyncio.create_task(losing())], asyncio.Event(), stop_seconds=0.05), 5)
    assert cancelled == ["deaf"]
    assert not stubborn.done()


async def test_a_part_that_ends_without_an_error_ends_the_process_with_one() -> None:
    ended = asyncio.create_task(asyncio.sleep(0), name="watch")
    with pytest.raises(RuntimeError, match="watch ended without an error"):
        await run_until_one_ends([ended], asyncio.Event())


async def test_a_stop_signal_ends_every_part_in_peace() -> None:
    cancelled: list[str] = []
    other, stop = asyncio.create_task(obedient(cancelled)), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    await run_until_one_ends([other], stop)
    assert cancelled == ["obedient"]


PROGRAM = """
import asyncio
import json
import llama_operator.__main__ as program
from llama_operator.ports import NotLeader

async def deaf():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def run(settings):
    json.loads("[" * 9990 + "]" * 9990)  # as deep as what the API server may send
    program.kept = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    raise {error}

program.run = run
program.main()
"""


ERRORS = [("NotLeader('another leads')", "another leads"), ("ZeroDivisionError('a fault')", "a fault of its own")]


@pytest.mark.parametrize(("error", "said"), ERRORS if DEEP else ERRORS[:1])
def test_the_process_ends_with_status_one_although_a_task_does_not_hear_its_cancellation(error: str, said: str) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM.format(error=error)], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
