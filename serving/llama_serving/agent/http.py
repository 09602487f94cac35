"""The agent's HTTP port. Every answer comes from a snapshot in memory: a probe never waits for Ray, the engine or a disk."""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from llama_serving.agent import snapshot
from llama_serving.agent.snapshot import Snapshot

logger = logging.getLogger(__name__)

Drain = Callable[[float], Awaitable[None]]
MAX_DRAIN_SECONDS = 24 * 3600


def build_app(look: Callable[[], Snapshot], drain: Drain, token: str, default_drain_seconds: float) -> web.Application:
    """The HTTP application; `look` gives the present snapshot, `drain` starts a drain with a deadline in seconds and returns at once."""

    async def livez(_: web.Request) -> web.Response:
        return _json({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        ready, reason = snapshot.readiness(look())
        return _json({"ready": ready, "reason": reason}, 200 if ready else 503)

    async def status(_: web.Request) -> web.Response:
        return _json(snapshot.status(look()))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=snapshot.metrics(look()), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def start_drain(request: web.Request) -> web.Response:
        if problem := _forbidden(request, token):
            return problem
        try:
            seconds = _deadline(await request.text(), default_drain_seconds)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        await drain(seconds)
        return _json({"draining": True, "deadlineSeconds": seconds, "at": time.time()}, 202)

    app = web.Application(client_max_size=4096)
    app.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/status", status),
            web.get("/metrics", metrics),
            web.post("/drain", start_drain),
        ]
    )
    return app


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _forbidden(request: web.Request, token: str) -> web.Response | None:
    if not token:
        return _json({"error": "this pod has no Ray token (RAY_AUTH_TOKEN), so nobody may drain it over HTTP"}, 403)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not given:
        return _json({"error": "Authorization: Bearer <the Ray token of this deployment> is needed"}, 401)
    # Compared as bytes: compare_digest takes no non-ASCII text.
    return None if hmac.compare_digest(given.encode(), token.encode()) else _json({"error": "the token is not this deployment's"}, 403)


def _deadline(text: str, default: float) -> float:
    """`deadlineSeconds` of the body. Raises ValueError in words."""
    if not text.strip():
        return default
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 -- one error for every bad body
    value = body.get("deadlineSeconds", default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_DRAIN_SECONDS:
        raise ValueError(f"deadlineSeconds: {value!r} is not a number from 0 to {MAX_DRAIN_SECONDS}")
    return float(value)
