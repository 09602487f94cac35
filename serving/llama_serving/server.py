"""What a Serve replica does around its engine: says where it stands, warms up, counts requests, and parks when it cannot start.

No Ray here: the two server classes (`engines/vllm_server.py`, `engines/simulated_server.py`) bring theirs. The state goes to `engine.json`,
which the agent of the same pod reads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from llama_serving import rundir, tracing
from llama_serving.asgi import Receive, Scope, Send
from llama_serving.rootcause import diagnose
from llama_serving.status import EngineState, RootCause

logger = logging.getLogger(__name__)

# How often engine.json follows the count of requests. The agent polls at the same pace; the count steers a drain, not the scaling.
REPORT_SECONDS = 1.0
# The last part of a log that is looked at for a root cause: vLLM's start-up writes tens of kilobytes in all.
LOG_TAIL_BYTES = 262_144


class Gauge(Protocol):
    """The one method of Ray's gauge that is used."""

    def set(self, value: float) -> None:
        """Set the gauge."""


class Lifecycle:
    """The life of one engine in this replica, and its requests in flight."""

    def __init__(self, directory: Path, gauge: Gauge, last: Gauge) -> None:
        now = time.time()
        self._directory = directory
        self._gauge, self._last = gauge, last
        self._last_request = now
        self._in_flight = 0
        self._unwritten = False
        self._lock = threading.RLock()  # the state is written by the event loop and by the thread that reports
        self.state = EngineState(phase="Starting", since=now, pid=os.getpid(), started_at=now)
        rundir.clear(directory)
        self.report()
        # A thread, not a task: vLLM's constructor holds the event loop for minutes. From the first moment on: a series that is missing says
        # nothing, a series that says 0 says that nothing waits here.
        threading.Thread(target=self._follow, name="llama-lifecycle", daemon=True).start()

    def report(self) -> None:
        """Write engine.json; what cannot be written, on a disk that is full, is written once it can be. Serving goes on either way."""
        with self._lock:
            self.state = replace(self.state, in_flight=self._in_flight)
            try:
                rundir.write_engine(self.state, self._directory)
            except OSError as error:
                if not self._unwritten:
                    logger.warning("the state of the engine could not be written: %s; it is tried again each second", error)
                self._unwritten = True
            else:
                self._unwritten = False

    def enter(self, phase: Any, root_cause: RootCause | None = None) -> None:
        """Go to `phase` and say so."""
        with self._lock:
            self.state = self.state.enter(phase, time.time(), root_cause)
            self.report()
        logger.info("engine phase %s%s", phase, f": {root_cause.reason}: {root_cause.message}" if root_cause else "")

    async def bring_up(
        self, start: Callable[[], Awaitable[None]], kv_cache_tokens: Callable[[], int | None], warm_up: Callable[[], Awaitable[None]]
    ) -> None:
        """Start the engine, let one token out of it, and be Ready. Where that fails: say why, and never return."""
        self.enter("LoadingWeights")
        try:
            await start()
            with self._lock:
                self.state = replace(self.state, kv_cache_tokens=kv_cache_tokens())
            self.enter("WarmingUp")
            await warm_up()
        except Exception as error:  # whatever stops an engine from starting must reach the operator as a root cause
            logger.exception("the engine did not start")
            self.enter("Failed", diagnose(own_log() + "\n" + describe(error)))
            await self._park()
        self.enter("Ready")

    async def _park(self) -> None:
        """Stay in the constructor until killed.

        Raising would be worse: Serve tries a failing replica three times and then leaves the whole application in DEPLOY_FAILED, from
        which no repeated PUT of the same configuration leads out, and which stops the healthy replicas' rollout too. Parked, this
        replica takes no request and holds its gang, the agent shows the root cause, and the operator replaces the gang with back-off.
        """
        await asyncio.Event().wait()

    def _follow(self) -> None:
        while True:
            # Ray drops a gauge from its exposition that was not set again within a report interval (2 s here): a value that does not change
            # must be said again and again. Seen on Ray 2.60; vLLM's own gauges vanish that way while it is idle.
            self._gauge.set(self._in_flight)
            self._last.set(time.time() if self._in_flight else self._last_request)
            if self._unwritten or self.state.in_flight != self._in_flight:
                self.report()
            time.sleep(REPORT_SECONDS)  # noqa: TID251 -- the pace of the report, in a thread of its own; not a wait for something

    def count(self, app: Any) -> Any:
        """An ASGI middleware class's instance around `app`: POST requests are counted from their first byte to their last."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] != "POST":
                await app(scope, receive, send)
                return
            self._step(+1)
            try:
                await app(scope, receive, send)
            finally:
                self._step(-1)

        return counted

    def _step(self, by: int) -> None:
        self._in_flight += by
        self._last_request = time.time()
        self._gauge.set(self._in_flight)


def add_middleware(app: Any, lifecycle: Lifecycle) -> Any:
    """Count `app`'s requests, and trace them where that is wanted; `app` is a Starlette or FastAPI application, which stays one: Serve
    reads its routes.
    """
    # vLLM's builder has built its middleware stack already; without it Starlette builds it anew with the first request.
    app.middleware_stack = None
    app.add_middleware(lifecycle.count)
    if config := tracing.configured(os.environ):
        app.add_middleware(tracing.Spans, part="ingress", start=partial(tracing.start, config))
    return app


def describe(error: BaseException) -> str:
    """An error and its causes, one a line, innermost last: the text that `diagnose` reads."""
    lines = []
    current: BaseException | None = error
    while current is not None:
        lines.append(f"{type(current).__name__}: {current}")
        current = current.__cause__ or current.__context__
    return "\n".join(lines)


def own_log() -> str:
    """The tail of what this process and its children wrote to their standard error and output; Ray points both at files."""
    parts = []
    for descriptor in (1, 2):
        try:
            with Path(f"/proc/self/fd/{descriptor}").readlink().open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                parts.append(file.read().decode(errors="replace"))
        except OSError:
            continue  # a pipe or a terminal: nothing to read back
    return "\n".join(parts)
