"""The agents of the serving pods, over HTTP inside the cluster."""

from __future__ import annotations

import httpx

from llama_operator.lifecycle.observed import Agent, Unknown
from llama_operator.ports import AgentError
from llama_serving.config import AGENT_PORT


class HttpAgents:
    """Implements Agents."""

    def __init__(self, client: httpx.AsyncClient, port: int = AGENT_PORT) -> None:
        """`client` brings the time limits: an agent that does not answer must not hold a pass up."""
        self._client = client
        self._port = port

    async def status(self, ip: str) -> Agent | Unknown:
        """What the agent says, or why it says nothing."""
        try:
            answer = await self._client.get(f"http://{_host(ip)}:{self._port}/status")
            answer.raise_for_status()
            return Agent.of(answer.json())
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            return Unknown(f"{type(error).__name__}: {error}")

    async def drain(self, ip: str, token: str, deadline_seconds: int) -> None:
        """Ask the agent to drain. Raises AgentError."""
        try:
            answer = await self._client.post(
                f"http://{_host(ip)}:{self._port}/drain",
                json={"deadlineSeconds": deadline_seconds},
                headers={"Authorization": f"Bearer {token}"},
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise AgentError(f"agent at {ip}: {type(error).__name__}: {error}") from error


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
