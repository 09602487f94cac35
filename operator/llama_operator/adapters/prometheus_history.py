"""Prometheus' range queries: one number for each step of a long time. Whatever goes wrong is a `Missing` with its reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import httpx

from llama_operator.adapters.prometheus_answer import in_time
from llama_operator.scaling.signals import Missing

MOST_POINTS = 10_000
"""Steps of one query. Prometheus refuses more than 11,000 (`maxPointsPerTimeSeries` in
https://github.com/prometheus/prometheus/blob/main/web/api/v1/api.go)."""
MAX_BYTES = 16 * 1024 * 1024
"""An answer larger than this is not read to its end: one series of MOST_POINTS has a hundredth."""


class PrometheusHistory:
    """Reads the past."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        """`url` is Prometheus' root; `client` brings the time limit, here of a whole answer to one query."""
        self._client = client
        self._url = url.rstrip("/")

    async def values(self, query: str, start: float, end: float, step: int) -> Mapping[float, float] | Missing:
        """The value of `query` at each step from `start` to `end`, seconds since 1970. The query has one series, or none: then it is empty.

        A long time is asked for in parts.
        """
        found: dict[float, float] = {}
        for part in range(math.floor((end - start) / step) // MOST_POINTS + 1):
            begin = start + part * MOST_POINTS * step
            last = min(end, begin + (MOST_POINTS - 1) * step)
            form = {"query": query, "start": f"{begin:.3f}", "end": f"{last:.3f}", "step": str(step)}
            body = await in_time(self._client, self._url, self._read(form))
            read = body if isinstance(body, Missing) else self._series(body)
            if isinstance(read, Missing):
                return read
            found |= read
        return found

    async def _read(self, form: Mapping[str, str]) -> Any:
        raw = bytearray()
        async with self._client.stream("POST", f"{self._url}/api/v1/query_range", data=form) as answer:
            async for chunk in answer.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_BYTES:
                    return self._missing(f"the answer is larger than {MAX_BYTES} bytes")
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        if answer.is_error or not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error") if isinstance(body, dict) else raw[:80].decode("utf-8", "replace")
            return self._missing(f"answers {answer.status_code}, not a query result: {said}")
        return body

    def _series(self, body: Mapping[str, Any]) -> Mapping[float, float] | Missing:
        try:
            series = body["data"]["result"]
            if len(series) > 1:
                return self._missing(f"the answer has {len(series)} series where one was asked for")
            return {float(time): float(value) for item in series for time, value in item["values"]}
        except (KeyError, IndexError, TypeError, ValueError) as error:
            return self._missing(f"the answer has not the shape of a range query's: {type(error).__name__} {error}")

    def _missing(self, why: str) -> Missing:
        return Missing(reason="PrometheusUnreachable", message=f"Prometheus at {self._url}: {why}")
