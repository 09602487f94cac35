"""Ray Serve's REST API on a head pod. Field names as in Ray 2.60.0; read defensively, since entries that stop lose fields."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from llama_operator.adapters.bounded import ask, parsed
from llama_operator.lifecycle.causes import words
from llama_operator.lifecycle.observed import Serve, ServeReplica, Unknown
from llama_operator.ports import ServeError
from llama_serving.config import APP_NAME, DASHBOARD_PORT

SEND_SECONDS = 30.0
"""The first PUT to a fresh head starts Serve's controller; on a busy machine that takes longer than a read may."""
MOST_BYTES = 1 << 20
"""Of an answer; a replica takes some hundred, and the application's own configuration some thousand. Parsed, JSON may take sixty times as
much memory, and it holds the event loop up meanwhile.
"""
LARGE_AT_ONCE = 16
"""Answers of more than `bounded.SMALL_BYTES` that are read at the same time, whosever they are."""
MOST_REPLICAS = 2000
MOST_TEXT = 2048
"""Characters of a status or a message that are kept."""


class RayServe:
    """Implements ServeApi."""

    def __init__(self, client: httpx.AsyncClient, port: int = DASHBOARD_PORT) -> None:
        """The time that `client` has for a read is that of a whole answer."""
        self._client = client
        self._port = port
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def view(self, ip: str, token: str, deployment: str) -> Serve | Unknown:
        """The state of our application and of `deployment`, or why it cannot be told."""
        try:
            url = self._url(ip, "/api/serve/applications/")
            answer = await ask(self._client, "GET", url, most_bytes=MOST_BYTES, large=self._large, headers=_auth(token))
            answer.raise_for_status()
            return read_view(parsed(answer), deployment)
        except httpx.HTTPStatusError as error:
            return Unknown(f"the head answers {error.response.status_code}: {_text(error.response, 200)}")
        except (httpx.HTTPError, ValueError, TypeError, AttributeError) as error:
            return Unknown(f"{type(error).__name__}: {error}")

    async def put(self, ip: str, token: str, body: Mapping[str, Any]) -> None:
        """Send the applications. Raises ServeError."""
        await self._send("PUT", self._url(ip, "/api/serve/applications/"), token, body)

    async def scale(self, ip: str, token: str, deployment: str, target: int) -> None:
        """Set the replica count of `deployment`. Raises ServeError."""
        path = f"/api/v1/applications/{APP_NAME}/deployments/{quote(deployment, safe='')}/scale"
        await self._send("POST", self._url(ip, path), token, {"target_num_replicas": target})

    async def _send(self, method: str, url: str, token: str, body: Mapping[str, Any]) -> None:
        try:
            answer = await ask(
                self._client,
                method,
                url,
                most_bytes=MOST_BYTES,
                large=self._large,
                body=body,
                headers=_auth(token),
                seconds=SEND_SECONDS,
            )
        except httpx.HTTPError as error:
            raise ServeError(f"{method} {url}: {type(error).__name__}: {error}") from error
        if answer.is_error:
            raise ServeError(f"{method} {url}: {answer.status_code}: {_text(answer, 500)}")

    def _url(self, ip: str, path: str) -> str:
        host = f"[{ip}]" if ":" in ip else ip
        return f"http://{host}:{self._port}{path}"


def _text(answer: httpx.Response, most: int) -> str:
    """As UTF-8, whatever charset the answer names: Python has some that are none, and raise what they like (hex, idna)."""
    return answer.content[: 4 * most].decode(errors="replace")[:most]


def _auth(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def read_view(body: Mapping[str, Any], deployment: str) -> Serve:
    """Read `GET /api/serve/applications/`. Raises ValueError where there are more replicas than anybody runs: of some, nothing follows."""
    app = (body.get("applications") or {}).get(APP_NAME)
    if not app:
        return Serve(deployed=False)
    found = (app.get("deployments") or {}).get(deployment) or {}
    listed = found.get("replicas") or []
    if len(listed) > MOST_REPLICAS:
        raise ValueError(f"{len(listed)} replicas, of which at most {MOST_REPLICAS} are read")
    return Serve(
        deployed=True,
        app_status=_short(app.get("status")),
        deployment_status=_short(found.get("status")),
        message=words(str(found.get("message") or app.get("message") or "")),
        target=_count(found.get("target_num_replicas")),
        replicas=[ServeReplica(state=_short(item.get("state")), node_ip=_short(item.get("node_ip")) or None) for item in listed],
    )


def _short(value: Any) -> str:
    return str(value or "")[:MOST_TEXT]


def _count(value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise TypeError(f"a number of replicas is expected, not {type(value).__name__}")
    return value
