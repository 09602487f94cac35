"""Prometheus' HTTP API: newest samples of a range query, and for whatever else comes a Missing that says what came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from tests.harness.http import dripping, local_client

from llama_operator.adapters import prometheus
from llama_operator.adapters.prometheus import Prometheus
from llama_operator.scaling.signals import Missing, Series

URL = "http://prometheus.monitoring:9090"
LABELS = {"__name__": "ray_llama_requests_in_flight", "pod": "demo-g0-0", "llama_operator_dev_revision": "r1"}


def ask(handler: Callable[[httpx.Request], Any], url: str = URL) -> Sequence[Series] | Missing:
    async def run() -> Sequence[Series] | Missing:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            return await Prometheus(client, url).newest('{__name__="x"}[60s]')

    return asyncio.run(run())


def matrix(*values: Any, **labels: str) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {**LABELS, **labels}, "values": list(values)}]}}


def answer(body: Any, status: int = 200) -> Sequence[Series] | Missing:
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return ask(lambda _: httpx.Response(status, content=content))


def test_the_newest_sample_of_each_series_is_taken_and_for_rates_the_one_before_it() -> None:
    found = answer(matrix([1789999995.5, "9"], [1790000000.5, "3"], [1790000005.5, "4"]))
    newest = Series(name="ray_llama_requests_in_flight", pod="demo-g0-0", revision="r1", time=1790000005.5, value=4.0)
    assert found == [replace(newest, before=(1790000000.5, 3.0), oldest=(1789999995.5, 9.0))]
    assert answer(matrix([1790000005.5, "4"])) == [newest]


def test_the_query_travels_in_the_body_since_it_may_be_long() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=matrix())

    ask(handler, f"{URL}/prefix/")
    assert (seen[0].method, str(seen[0].url)) == ("POST", f"{URL}/prefix/api/v1/query")
    assert parse_qs(seen[0].content.decode()) == {"query": ['{__name__="x"}[60s]']}


@pytest.mark.parametrize(("text", "want"), [("+Inf", "inf"), ("-Inf", "-inf"), ("NaN", "nan"), ("1e3", "1000.0")])
def test_numbers_are_read_as_prometheus_writes_them_and_judged_later(text: str, want: str) -> None:
    found = answer(matrix([1790000000, text]))
    assert not isinstance(found, Missing)
    assert str(found[0].value) == want


def test_no_series_is_an_empty_answer_and_no_error() -> None:
    assert answer({"status": "success", "data": {"resultType": "matrix", "result": []}}) == []


def test_a_series_without_our_labels_is_nobodys() -> None:
    body = {"status": "success", "data": {"result": [{"metric": {"__name__": "x"}, "values": [[1, "1"]]}]}}
    assert answer(body) == [Series(name="x", pod="", revision="", time=1.0, value=1.0)]


def two(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """An answer of two series: their labels beside `LABELS`, and `values`."""
    series = [
        {"metric": {**LABELS, **{k: v for k, v in each.items() if k != "values"}}, "values": each["values"]} for each in (first, second)
    ]
    return {"status": "success", "data": {"resultType": "matrix", "result": series}}


def test_a_pod_that_two_jobs_scrape_is_a_contradiction_and_both_are_named() -> None:
    # As the annotations' job of docs/install.md and the chart's PodMonitor label them: the former copies all of the pod's labels of ours.
    pods = {"job": "pods", "llama_operator_dev_traffic": "open", "values": [[10, "4"], [20, "4"]]}
    found = answer(two(pods, {"job": "monitor", "endpoint": "metrics", "values": [[12, "4"]]}))
    assert isinstance(found, Missing)
    assert (found.reason, found.message) == (
        "MetricsContradictory",
        (
            "Prometheus has ray_llama_requests_in_flight of pod demo-g0-0 twice, by endpoint=metrics, job=monitor and job=pods: "
            "each request would count double; scrape serving pods in one way only"
        ),
    )


@pytest.mark.parametrize(
    "second",
    [
        {"job": "renamed", "values": [[21, "4"], [26, "4"]]},
        {"job": "pods", "replica": "another", "values": [[10, "4"]]},
        {"job": "pods", "pod": "demo-g1-0", "values": [[10, "4"]]},
    ],
    ids=["a job that was renamed ended where the other began", "another exporter in the pod", "another pod"],
)
def test_what_differs_in_more_than_the_job_or_came_after_it_is_none(second: dict[str, Any]) -> None:
    found = answer(two({"job": "pods", "values": [[10, "4"], [20, "4"]]}, second))
    assert not isinstance(found, Missing)
    assert len(found) == 2


BAD: dict[str, tuple[Any, int, str]] = {
    "401": ("Unauthorized", 401, f"{URL} answers 401, not a query result: Unauthorized"),
    "503 while it replays its log": ("Service Unavailable", 503, f"{URL} answers 503, not a query result: Service Unavailable"),
    "a page of a login proxy": ("<html>log in</html>", 200, f"{URL} answers 200, not a query result: <html>log in</html>"),
    "half a body": (
        '{"status": "success", "data": {"resu',
        200,
        f'{URL} answers 200, not a query result: {{"status": "success", "data": {{"resu',
    ),
    "nothing": ("", 200, f"{URL} answers 200, not a query result: "),
    "bytes that are no text": (b"\xff\xfe{", 200, f"{URL} answers 200, not a query result: \ufffd\ufffd{{"),
    "a list": ([], 200, f"{URL} answers 200, not a query result: []"),
    "an error of its own": (
        {"status": "error", "error": "too many samples"},
        422,
        f"{URL} answers 422, not a query result: too many samples",
    ),
    "an error with status 200": ({"status": "error", "error": "timeout"}, 200, f"{URL} answers 200, not a query result: timeout"),
    "success with status 500": ({"status": "success", "data": {"result": []}}, 500, f"{URL} answers 500, not a query result: None"),
    "an instant vector": (
        {"status": "success", "data": {"result": [{"metric": LABELS, "value": [1, "1"]}]}},
        200,
        "the answer has not the shape of a range vector: KeyError 'values'",
    ),
    "a series without samples": (matrix(), 200, "the answer has not the shape of a range vector: IndexError list index out of range"),
    "a scalar": (
        {"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}},
        200,
        "the answer has not the shape of a range vector: TypeError 'int' object is not subscriptable",
    ),
    "a text for a number": (
        matrix([1, "many"]),
        200,
        "the answer has not the shape of a range vector: ValueError could not convert string to float: 'many'",
    ),
    "no data": (
        {"status": "success", "data": None},
        200,
        "the answer has not the shape of a range vector: TypeError 'NoneType' object is not subscriptable",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_missing(what: str) -> None:
    body, status, message = BAD[what]
    found = answer(body, status)
    assert isinstance(found, Missing)
    assert (found.reason, found.message) == ("PrometheusUnreachable", message)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("connection refused"),
        httpx.ConnectTimeout("timed out"),
        httpx.ReadTimeout("timed out"),
        httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
        httpx.DecodingError("bad gzip"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_that_does_not_come_is_missing(error: httpx.HTTPError) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    found = ask(handler)
    assert isinstance(found, Missing)
    assert found.message == f"Prometheus at {URL}: {type(error).__name__} {error}"


@pytest.mark.parametrize("url", ["http://[", "prometheus:9090", "http://bad host", "http://prometheus:port"])
def test_an_address_that_is_none_is_missing_too(url: str) -> None:
    """Not a MockTransport's business: the client refuses the URL before it connects."""

    async def run() -> Sequence[Series] | Missing:
        async with local_client() as client:
            return await Prometheus(client, url).newest("x")

    found = asyncio.run(run())
    assert isinstance(found, Missing)
    assert found.reason == "PrometheusUnreachable"


def test_without_an_address_nobody_is_asked() -> None:
    assert ask(lambda _: pytest.fail("asked"), "") == Missing(
        reason="NotConfigured", message="the operator was given no Prometheus address"
    )


def test_an_answer_that_does_not_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MAX_BYTES", 1000)
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b"x" * 100

    found = ask(lambda _: httpx.Response(200, content=endless()))
    assert isinstance(found, Missing)
    assert found.message == f"the answer of {URL} is larger than 1000 bytes"
    assert len(sent) <= 12


def test_an_answer_that_drips_is_given_up_after_the_time_for_the_whole() -> None:
    """No part of it comes late, so that httpx alone would wait for as long as it goes on."""

    async def run() -> tuple[Sequence[Series] | Missing, str, float]:
        async with dripping() as url, local_client(timeout=0.3) as client:
            begun = time.monotonic()
            return await Prometheus(client, url).newest("x"), url, time.monotonic() - begun

    found, url, seconds = asyncio.run(run())
    assert found == Missing(reason="PrometheusUnreachable", message=f"Prometheus at {url}: no whole answer within 0.3 s")
    assert 0.25 < seconds < 5
