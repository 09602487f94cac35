"""The parts of a process that live and die together: when one ends, all end, and none can keep the process from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

log = structlog.get_logger(__name__)

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
    for task in (*parts, halt):
        task.cancel()
    _, left = await asyncio.wait([*parts, halt], timeout=stop_seconds)
    if left:
        log.warning("parts do not end; the process ends without them", parts=sorted(task.get_name() for task in left))
    if ended is not None and halt not in done:
        raise _error(ended) or RuntimeError(f"{ended.get_name()} ended without an error")


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
