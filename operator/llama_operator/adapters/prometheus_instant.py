"""Prometheus' instant queries for `kubectl llama`. Whatever goes wrong is a PrometheusError in words.

    through the API server    kubectl get --raw /api/v1/namespaces/N/services/http:S:P/proxy/…: with the login and the rights of the user's
                              kubeconfig, from anywhere that kubectl works. https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
    over HTTP                 as kubectl port-forward or an ingress offers it to this machine

Both stop reading after MAX_BYTES, and wait a bounded time. Several queries go as one, so that the way there is paid for once: a kubectl for
each would keep a small machine busy for longer than Prometheus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from llama_operator.adapters.kubectl import REQUEST_SECONDS, Kubectl, KubectlError, service_of

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 4 * 1024 * 1024
"""An answer larger than this is not read to its end: MOST_SERIES have less, and what is asked here has a few."""
CONNECT_SECONDS = 5.0
"""To reach one over HTTP."""
MOST_SERIES = 10_000
"""Of one answer: as many as there are deployments, or pods of theirs; most are summed to one."""
WHICH = "llama_operator_query"
"""The label that says which of several queries a series answers."""


class PrometheusError(Exception):
    """It was not asked, or gave no result; the text says which one, and why."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One series of an instant vector."""

    labels: Mapping[str, str]
    value: float


def service_path(url: str) -> str | None:
    """The API server's path to the Service that a URL inside the cluster names; None where it names none."""
    found = service_of(url)
    if found is None:
        return None
    return f"/api/v1/namespaces/{found.namespace}/services/{found.scheme}:{found.name}:{found.port}/proxy{found.prefix}"


class PrometheusInstant:
    """Asks one Prometheus for the present."""

    def __init__(self, kubectl: Kubectl, url: str, *, direct: bool = False, seconds: int = REQUEST_SECONDS) -> None:
        """`url` is its root; `direct`: as this machine reaches it, else as the cluster's pods do. `seconds`: for one answer."""
        self._kubectl, self._url, self._direct, self._seconds = kubectl, url.rstrip("/"), direct, seconds

    def vector(self, query: str) -> list[Sample]:
        """The result of one query, as `vectors`."""
        return self.vectors([query])[0]

    def vectors(self, queries: Sequence[str], at: float | None = None) -> list[list[Sample]]:
        """The result of each, in their order, at a time in seconds since 1970 or at this moment. Raises PrometheusError."""
        form = {"query": union(queries), **({} if at is None else {"time": f"{at:.3f}"})}
        samples = self._over_http(form) if self._direct else self._through_the_api_server(form)
        if len(queries) == 1:
            return [samples]
        found: list[list[Sample]] = [[] for _ in queries]
        for sample in samples:
            labels = dict(sample.labels)
            which = labels.pop(WHICH, "")
            if not which.isdecimal() or int(which) >= len(queries):
                raise self._error(f"answers another query: a series has {WHICH}={which[:20]!r}")
            found[int(which)].append(Sample(labels=labels, value=sample.value))
        return found

    def _through_the_api_server(self, form: Mapping[str, str]) -> list[Sample]:
        path = service_path(self._url)
        if path is None:
            raise self._error("it is no Service of this cluster")
        try:
            text = self._kubectl.raw(f"{path}/api/v1/query?{urlencode(form)}", self._seconds)
        except KubectlError as error:
            raise self._error(_short(error.message)) from None
        raw = text.encode()
        if len(raw) > MAX_BYTES:
            raise self._error(f"the answer is larger than {MAX_BYTES} bytes")
        return self._read(200, raw)

    def _over_http(self, form: Mapping[str, str]) -> list[Sample]:
        import asyncio  # with httpx only where a URL is given: they take longer to be imported than kubectl to answer

        import httpx

        async def ask() -> tuple[int, bytes]:
            timeout = httpx.Timeout(self._seconds, connect=CONNECT_SECONDS)
            async with asyncio.timeout(self._seconds), httpx.AsyncClient(timeout=timeout) as client:
                return await self._post(client, form)

        try:
            status, raw = asyncio.run(ask())
        except TimeoutError:
            raise self._error(f"no answer within {self._seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._error(f"{type(error).__name__} {error}".rstrip()) from None
        return self._read(status, raw)

    async def _post(self, client: httpx.AsyncClient, form: Mapping[str, str]) -> tuple[int, bytes]:
        raw = bytearray()
        async with client.stream("POST", f"{self._url}/api/v1/query", data=dict(form)) as answer:
            async for chunk in answer.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_BYTES:
                    raise self._error(f"the answer is larger than {MAX_BYTES} bytes")
        return answer.status_code, bytes(raw)

    def _read(self, status: int, raw: bytes) -> list[Sample]:
        if status in (401, 403):
            raise self._error(f"answers {status}: it asks for a login, which this command has not")
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        if status >= 400 or not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error") if isinstance(body, dict) else raw[:80].decode("utf-8", "replace")
            raise self._error(f"answers {status}, not a query result: {_short(str(said))}")
        try:
            return read_vector(body)
        except PrometheusError as error:
            raise self._error(str(error)) from None

    def _error(self, why: str) -> PrometheusError:
        return PrometheusError(f"Prometheus at {self._url}: {why}")


def union(queries: Sequence[str]) -> str:
    """One query whose series say by WHICH the query that they answer.

    https://prometheus.io/docs/prometheus/latest/querying/functions/#label_replace: an empty source label is matched by an empty pattern.
    """
    if len(queries) == 1:
        return queries[0]
    return " or ".join(f'label_replace({query}, "{WHICH}", "{number}", "", "")' for number, query in enumerate(queries))


def read_vector(body: Mapping[str, Any]) -> list[Sample]:
    """The series of an instant vector. A value that is no finite number is left out: it was not measured. Raises PrometheusError."""
    found = []
    try:
        result: Sequence[Any] = body["data"]["result"]
        if len(result) > MOST_SERIES:
            raise PrometheusError(f"the answer has {len(result)} series, allowed are {MOST_SERIES}")
        for item in result:
            value = float(item["value"][1])
            if abs(value) < float("inf"):
                found.append(Sample(labels={str(key): str(label) for key, label in item["metric"].items()}, value=value))
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise PrometheusError(f"the answer has not the shape of a vector: {type(error).__name__} {error}") from None
    return found


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"
