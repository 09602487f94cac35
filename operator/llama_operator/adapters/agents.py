"""The agents of the serving pods, over HTTP inside the cluster. A pod's image is its tenant's, and so may be what answers."""

from __future__ import annotations

import httpx

from llama_operator.adapters.bounded import ask, parsed
from llama_operator.lifecycle.observed import Agent, Unknown
from llama_operator.ports import AgentError
from llama_serving.config import AGENT_PORT

MOST_BYTES = 64 << 10
"""Of an answer; a status takes some hundred, and with a root cause some thousand."""


class HttpAgents:
    """Implements Agents."""

    def __init__(self, client: httpx.AsyncClient, port: int = AGENT_PORT) -> None:
        """The time that `client` has for a read is that of a whole answer: an agent must not hold a pass up."""
        self._client = client
        self._port = port

    async def status(self, ip: str) -> Agent | Unknown:
        """What the agent says, or why it says nothing."""
        try:
            answer = await ask(self._client, "GET", f"http://{_host(ip)}:{self._port}/status", most_bytes=MOST_BYTES)
            answer.raise_for_status()
            return Agent.of(parsed(answer))
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            return Unknown(f"{type(error).__name__}: {error}")

    async def drain(self, ip: str, token: str, deadline_seconds: int) -> None:
        """Ask the agent to drain. Raises AgentError."""
        try:
            answer = await ask(
                self._client,
                "POST",
                f"http://{_host(ip)}:{self._port}/drain",
                most_bytes=MOST_BYTES,
                body={"deadlineSeconds": deadline_seconds},
                headers={"Authorization": f"Bearer {token}"},
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise AgentError(f"agent at {ip}: {type(error).__name__}: {error}") from error


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
