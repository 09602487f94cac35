"""Prometheus' instant queries for `kubectl llama`, over HTTP or through the API server. Whatever goes wrong is a `Missing` with its reason.

    over HTTP                 --prometheus http://…: as kubectl port-forward or an ingress offers it
    through the API server    kubectl get --raw /api/v1/namespaces/N/services/http:S:P/proxy/…: with the login and the rights of the user's
                              kubeconfig, from anywhere that kubectl works. https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/

Both stop reading after MAX_BYTES and waiting after ANSWER_SECONDS.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import httpx

from llama_operator.adapters.kubectl import service_of
from llama_operator.scaling.signals import Missing

MAX_BYTES = 16 * 1024 * 1024
"""An answer larger than this is not read to its end: 100,000 series have more, and what is asked here has a few."""
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
"""To reach it, and for one answer. Prometheus' own limit is two minutes, too long for somebody at a terminal."""
MOST_SERIES = 1000
"""Of one answer. An API price table has at most 80; all else is summed to one."""

Labels = Mapping[str, str]
Post = Callable[[str, Mapping[str, str]], Awaitable[tuple[int, bytes] | Missing]]
"""Asks one path with a form; answers HTTP status and body. Through the API server a status that is not 200 is only known as an error."""


class PrometheusInstant:
    """Asks for the present."""

    def __init__(self, post: Post, where: str) -> None:
        """`where` is what messages call it."""
        self._post, self._where = post, where

    async def vector(self, query: str, now: float) -> Sequence[tuple[Labels, float]] | Missing:
        """The series of an instant vector at `now`, seconds since 1970; those that are no number are left out."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._post("/api/v1/query", {"query": query, "time": f"{now:.3f}"})
        except TimeoutError:
            return self._missing(f"no answer within {ANSWER_SECONDS:g} s")
        if isinstance(answer, Missing):
            return answer
        status, raw = answer
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        if status >= 400 or not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error") if isinstance(body, dict) else raw[:80].decode("utf-8", "replace")
            return self._missing(f"answers {status}, not a query result: {_short(str(said))}")
        return self._series(body)

    async def one(self, query: str, now: float) -> float | Missing | None:
        """The value of a query that has one series at most; None where it has none."""
        found = await self.vector(query, now)
        if isinstance(found, Missing):
            return found
        if len(found) > 1:
            return self._missing(f"the answer has {len(found)} series where one was asked for")
        return found[0][1] if found else None

    def _series(self, body: Mapping[str, Any]) -> Sequence[tuple[Labels, float]] | Missing:
        try:
            result = body["data"]["result"]
            if len(result) > MOST_SERIES:
                return self._missing(f"the answer has {len(result)} series, allowed are {MOST_SERIES}")
            read = [({str(key): str(label) for key, label in item["metric"].items()}, float(item["value"][1])) for item in result]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            return self._missing(f"the answer has not the shape of an instant query's: {type(error).__name__} {error}")
        return [(labels, value) for labels, value in read if abs(value) < float("inf")]

    def _missing(self, why: str) -> Missing:
        return unreachable(self._where, why)


def unreachable(where: str, why: str) -> Missing:
    """What could not be asked, and why."""
    return Missing(reason="PrometheusUnreachable", message=f"Prometheus at {where}: {why}")


def over_http(client: httpx.AsyncClient, url: str) -> PrometheusInstant:
    """A Prometheus at its root URL."""
    root = url.rstrip("/")

    async def post(path: str, form: Mapping[str, str]) -> tuple[int, bytes] | Missing:
        raw = bytearray()
        try:
            async with client.stream("POST", f"{root}{path}", data=dict(form)) as answer:
                async for chunk in answer.aiter_bytes():
                    raw += chunk
                    if len(raw) > MAX_BYTES:
                        return unreachable(root, f"the answer is larger than {MAX_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return unreachable(root, f"{type(error).__name__} {error}".rstrip())
        return answer.status_code, bytes(raw)

    return PrometheusInstant(post, root)


def service_path(url: str) -> str | None:
    """The API server's path to a Service of the cluster, for the URL that the operator was given; None where that is no Service's."""
    found = service_of(url)
    if found is None:
        return None
    return f"/api/v1/namespaces/{found.namespace}/services/{found.scheme}:{found.name}:{found.port}/proxy{found.prefix}"


def through_kubectl(kubectl: Sequence[str], path: str) -> PrometheusInstant:
    """A Service of the cluster, reached by the user's own kubectl; `path` as `service_path` has it."""

    async def post(endpoint: str, form: Mapping[str, str]) -> tuple[int, bytes] | Missing:
        status, out, said = await run([*kubectl, "get", "--raw", f"{path}{endpoint}?{urlencode(form)}"])
        if status != 0:
            return unreachable(path, _short(said) or f"kubectl ends with status {status}")
        return 200, out

    return PrometheusInstant(post, path)


async def run(command: Sequence[str]) -> tuple[int, bytes, str]:
    """Exit status, standard output and error of a program, which may write MAX_BYTES; more ends it. It is ended with its caller.

    It gets no standard input: it would ask for a password where nobody sees the question.
    """
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=pipe)
    except OSError as error:
        return 127, b"", f"{command[0]}: {error.strerror}"
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("pipes were asked for and not made")
    errors = asyncio.create_task(process.stderr.read(4096))
    try:
        out = bytearray()
        while chunk := await process.stdout.read(65_536):
            out += chunk
            if len(out) > MAX_BYTES:
                return 1, b"", f"the answer is larger than {MAX_BYTES} bytes"
        said = (await errors).decode("utf-8", "replace")
        return await process.wait(), bytes(out), said
    finally:
        errors.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"
