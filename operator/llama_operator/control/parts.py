"""The parts of a process that live and die together: when one ends, all end, and none can keep the process from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")

STOP_SECONDS = 5.0
"""Longer than a write may take (`kube.WRITE_TIMEOUT_SECONDS`), so that none is under way when the Lease is given up."""


async def run_until_one_ends(parts: Sequence[asyncio.Task[None]], stop: asyncio.Event, stop_seconds: float = STOP_SECONDS) -> None:
    """Return when `stop` is set; raise what ended the first part otherwise, RuntimeError where it ended without an error.

    The others are cancelled and waited for at most `stop_seconds`. A task can lose its cancellation (a request whose time runs out in the
    same moment reports a timeout instead) and go on for ever; an operator that waited for it would neither lead nor be started again.
    """
    halt = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait([*parts, halt], return_when=asyncio.FIRST_COMPLETED)
    ended = next((part for part in parts if part in done), None)
    if ended is not None and halt not in done:
        # Said before the others are waited for: whatever happens then, the reason is in the log.
        log.error("a part ended, and with it the operator", part=ended.get_name(), error=str(_error(ended) or "none"))
    await _end([*parts, halt], stop_seconds)
    if ended is not None and halt not in done:
        raise _error(ended) or RuntimeError(f"{ended.get_name()} ended without an error")


async def unless_ended(work: Coroutine[Any, Any, T], part: asyncio.Task[None], stop: asyncio.Event) -> T | None:
    """What `work` gives, with `part` going on; None when `stop` was set before. Raises what ended `part` or `work`.

    In all cases but the first `part` has ended too, so that a Lease that is then given up is not renewed once more.
    """
    halt, task = asyncio.create_task(stop.wait(), name="stop"), asyncio.create_task(work, name="begin")
    done, _ = await asyncio.wait([task, part, halt], return_when=asyncio.FIRST_COMPLETED)
    if part not in done and halt not in done and _error(task) is None:
        await _end([halt], STOP_SECONDS)
        return task.result()
    await _end([task, part, halt], STOP_SECONDS)
    if halt in done:
        return None
    ended = part if part in done else task
    raise _error(ended) or RuntimeError(f"{ended.get_name()} ended without an error")


async def _end(tasks: Sequence[asyncio.Task[Any]], seconds: float) -> None:
    for task in tasks:
        task.cancel()
    _, left = await asyncio.wait(tasks, timeout=seconds)
    if left:
        log.warning("parts do not end; the process ends without them", parts=sorted(task.get_name() for task in left))


def _error(task: asyncio.Task[Any]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
