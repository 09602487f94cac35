"""The Serve deployment of the simulated engine. It imports no vLLM: a replica is up in seconds and takes little memory."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from llama_serving import metrics, rundir
from llama_serving.config import ServingConfig
from llama_serving.engines.openai_surface import build_surface
from llama_serving.engines.simulated import SimulatedArgs, SimulatedEngine
from llama_serving.progress import tell
from llama_serving.server import Lifecycle, add_middleware
from llama_serving.status import Progress

DEFAULT_CONTEXT_TOKENS = 131_072  # Llama 3.1's


class SimulatedServer:
    """One replica: the engine, its surface, its metrics."""

    async def __init__(self, config_json: str) -> None:  # type: ignore[misc]  # Serve awaits a constructor that is async
        config = ServingConfig.from_json(config_json)
        self._model = config.served_name
        self._lifecycle = Lifecycle(rundir.run_dir(), metrics.in_flight_gauge(), metrics.last_request_gauge())
        self._engine = SimulatedEngine(
            SimulatedArgs.parse(config.engine_args), context_tokens=config.max_model_len or DEFAULT_CONTEXT_TOKENS
        )
        await self._lifecycle.bring_up(self._load, lambda: self._engine.kv_cache_tokens, self._warm_up)
        exporter = metrics.SimulatedMetrics(self._engine, config.served_name)
        # Kept: the loop holds its tasks only weakly.
        self._tasks = [asyncio.create_task(exporter.run()), asyncio.create_task(self._crash_when_due())]

    async def _load(self) -> None:
        began = time.time()

        def said(progress: Progress) -> None:
            tell(0, progress, began)

        await self._engine.load(said)

    async def _warm_up(self) -> None:
        words = [word async for word in self._engine.generate(prompt_tokens=1, max_tokens=1)]
        if not words:
            raise RuntimeError("the engine started and no token came out of it")

    async def _crash_when_due(self) -> None:
        while self._engine.fault_due() != "crash":  # noqa: ASYNC110 -- due by the clock alone: there is no event to wait for
            await asyncio.sleep(0.2)
        os._exit(1)  # the ordered fault: the process is gone at once, as after a segmentation fault

    async def check_health(self) -> None:
        """Healthy while the process answers: what vLLM's own check says of an engine that hangs, too."""

    async def __serve_build_asgi_app__(self) -> Any:
        """The hook of Serve's late-bound ingress: the app that is served on the replica's own port."""
        return add_middleware(build_surface(self._engine, self._model), self._lifecycle)
