"""Prometheus as a command reaches it: the operator's, through the API server's proxy to its Service, or one that the user names.

What goes wrong is a PrometheusError in words: no such Service, no right, no JSON, a query that was refused. Queries are sums by deployment
or pod, so that an answer is small however many series there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from llama_operator.adapters.kubectl import Kubectl, KubectlError, service_of
from llama_operator.cli.texts import read_json

URL_SECONDS = 10.0
"""For an answer of a Prometheus that the user names."""
MOST_BYTES = 16 * 1024 * 1024
"""Of such an answer."""


class PrometheusError(Exception):
    """It was not asked, or gave no result; the text says why."""


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
    secure = "https:" if found.scheme == "https" else ""
    return f"/api/v1/namespaces/{found.namespace}/services/{secure}{found.name}:{found.port}/proxy{found.prefix}"


class Queries:
    """Asks one Prometheus."""

    def __init__(self, kubectl: Kubectl, url: str, *, direct: bool = False) -> None:
        """`url` is Prometheus' root; `direct`: as this machine reaches it, else as the cluster's pods do."""
        self._kubectl, self._url, self._direct = kubectl, url.rstrip("/"), direct

    def instant(self, query: str) -> list[Sample]:
        """The result of a query at this moment. Raises PrometheusError."""
        text = self._over_http(query) if self._direct else self._through_the_api_server(query)
        try:
            body = read_json(text)
        except ValueError:
            raise PrometheusError(f"{self._url} answers no JSON: {text[:60]!r}") from None
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error") if isinstance(body, dict) else type(body).__name__
            raise PrometheusError(f"{self._url} refuses the query: {said}")
        return read_vector(body)

    def _through_the_api_server(self, query: str) -> str:
        path = service_path(self._url)
        if path is None:
            raise PrometheusError(f"{self._url} is no Service of this cluster")
        try:
            return self._kubectl.raw(f"{path}/api/v1/query?{urlencode({'query': query})}")
        except KubectlError as error:
            raise PrometheusError(f"{self._url}: {error.message}") from None

    def _over_http(self, query: str) -> str:
        import httpx  # only where a URL is given

        try:
            with httpx.stream("POST", f"{self._url}/api/v1/query", data={"query": query}, timeout=URL_SECONDS) as answer:
                raw = bytearray()
                for chunk in answer.iter_bytes():
                    raw += chunk
                    if len(raw) > MOST_BYTES:
                        raise PrometheusError(f"{self._url}: the answer is larger than {MOST_BYTES} bytes")
                if answer.status_code in (401, 403):
                    raise PrometheusError(f"{self._url} answers {answer.status_code}: it asks for a login, which this command has not")
                return raw.decode("utf-8", "replace")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PrometheusError(f"{self._url}: {type(error).__name__} {error}".rstrip()) from None


def read_vector(body: Mapping[str, Any]) -> list[Sample]:
    """The series of an instant vector. A value that is no finite number is left out: it was not measured. Raises PrometheusError."""
    found = []
    try:
        result: Sequence[Any] = body["data"]["result"]
        for item in result:
            value = float(item["value"][1])
            if value - value == 0:  # neither NaN nor infinite
                found.append(Sample(labels={str(key): str(text) for key, text in item["metric"].items()}, value=value))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise PrometheusError(f"the answer has not the shape of a vector: {type(error).__name__} {error}") from None
    return found
