"""The operator's own port: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

Check = Callable[[], Mapping[str, Any] | None]
"""None when all is well, else what is not."""


class HttpServer:
    """Serves two checks and the metrics."""

    def __init__(self, healthy: Check, ready: Check, expose: Callable[[], bytes]) -> None:
        """The checks and `expose`, which gives the metrics in the text format, must be quick: they run in the event loop."""
        self._healthy, self._ready, self._expose = healthy, ready, expose
        self._runners: list[web.AppRunner] = []

    async def start(self, health_port: int, metrics_port: int) -> None:
        """Listen on both ports (one, where they are equal). Raises OSError when a port is taken."""
        health = web.Application()
        health.router.add_get("/healthz", self._answer(self._healthy))
        health.router.add_get("/readyz", self._answer(self._ready))
        metrics = health if metrics_port == health_port else web.Application()
        metrics.router.add_get("/metrics", self._metrics)
        for app, port in {id(health): (health, health_port), id(metrics): (metrics, metrics_port)}.values():
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, None, port).start()
            self._runners.append(runner)

    async def stop(self) -> None:
        """Close the ports."""
        for runner in self._runners:
            await runner.cleanup()

    def _answer(self, check: Check) -> Callable[[web.Request], Any]:
        async def handler(_: web.Request) -> web.Response:
            wrong = check()
            return web.json_response(dict(wrong) if wrong else {"status": "ok"}, status=503 if wrong else 200)

        return handler

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._expose(), headers={"Content-Type": CONTENT_TYPE_LATEST})
