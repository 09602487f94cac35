"""A user's history out of a Prometheus: its range queries over HTTP, and what `kubectl llama simulate --from-prometheus` makes of them.

The server below speaks `query_range` as https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries has it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from tests.harness.command import Answer, run
from tests.harness.http import dripping, local_client

from llama_operator.adapters.prometheus_history import MOST_POINTS, PrometheusHistory
from llama_operator.scaling.signals import Missing
from llama_operator.telemetry import names as metric

Value = Callable[[str, float], float | None]
"""What a family rose by in the step that ends at a time; None: nothing is known."""
PER_STEP = {metric.VLLM_FINISHED: 60.0, metric.VLLM_PROMPT_TOKENS: 60 * 800.0, metric.VLLM_OUTPUT_TOKENS: 60 * 100.0}


def steady(family: str, time: float) -> float | None:
    del time
    return PER_STEP[family]


@dataclass(kw_only=True)
class Asked:
    """What the server was asked."""

    queries: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def prometheus(value: Value = steady, raw: Callable[[], tuple[int, bytes]] | None = None) -> Iterator[tuple[str, Asked]]:
    """A Prometheus on this machine; with `raw` one that answers that and nothing else."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = {key: values[0] for key, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()}
            asked.queries.append({"path": self.path, **form})
            status, body = (200, json.dumps(matrix(form, value)).encode()) if raw is None else raw()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def matrix(form: Mapping[str, str], value: Value) -> dict[str, Any]:
    start, end, step = (float(form[name]) for name in ("start", "end", "step"))
    count = math.floor((end - start) / step + 1e-9) + 1
    if count > 11_000:
        return {"status": "error", "errorType": "bad_data", "error": "exceeded maximum resolution of 11,000 points per timeseries."}
    family = re.fullmatch(r'sum\(increase\((\w+)\{namespace="(.*)",llama_operator_dev_deployment="(.*)"\}\[\d+s\]\)\)', form["query"])
    assert family is not None, form["query"]
    found = [(start + index * step, value(family[1], start + index * step)) for index in range(count)]
    values = [[time, f"{seen:g}"] for time, seen in found if seen is not None]
    result = [{"metric": {}, "values": values}] if values and family[3] == "chat" else []
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def simulated(url: str, *more: str) -> Answer:
    argv = ("simulate", "--from-prometheus", url, "--deployment", "chat", "--window", "20m", "--load-seconds", "30", "--policy", "static:2")
    return run(*argv, *more)


def test_a_history_is_replayed_as_the_requests_that_made_it() -> None:
    with prometheus() as (url, asked):
        answer = simulated(url, "-o", "json", "--namespace", "llm")
        again = simulated(url, "-o", "json", "--namespace", "llm")
        other = simulated(url, "-o", "json", "--seed", "1")
    assert (answer.status, answer.err) == (0, "")
    (told,) = json.loads(answer.out)["runs"]
    assert (told["requests"], told["unserved"]) == (20 * 60, 0)
    assert answer.out == again.out != other.out
    assert {query["path"] for query in asked.queries} == {"/api/v1/query_range"}
    assert [query["query"].split("{")[0].rpartition("(")[2] for query in asked.queries[:3]] == list(metric.TRAFFIC_FAMILIES)
    assert all('namespace="llm"' in query["query"] for query in asked.queries[:3])
    assert all(float(query["end"]) % 60 == 0 for query in asked.queries)


def test_the_table_says_what_the_traffic_is_made_of() -> None:
    with prometheus() as (url, _):
        answer = simulated(f"{url}/")
    said = " ".join(answer.out.split())
    assert "Simulated scaling: the last 20m of default/chat" in said
    assert "1,200 requests in 20 min: 1 a second, on average 800 prompt and 100 output tokens" in said
    assert "requests are rebuilt from counters" in said


def test_a_history_that_begins_late_or_has_gaps_is_replayed_and_said() -> None:
    begun: list[float] = []

    def late(family: str, time: float) -> float | None:
        begun.append(time)
        index = round((time - min(begun)) / 60)
        return None if index < 8 or index in {12, 13} else steady(family, time)

    with prometheus(late) as (url, _):
        answer = simulated(url)
    said = " ".join(answer.out.split())
    assert answer.status == 0
    assert "Prometheus has 12 min of the 20 min that were asked for" in said
    assert "nothing is known of 2 min in between (16.7%): nothing arrives in it here" in said
    assert "600 requests" in said


def test_a_long_window_is_asked_for_in_parts_that_prometheus_allows() -> None:
    def seldom(family: str, time: float) -> float | None:
        return PER_STEP[family] / 60 if time % 43_200 == 0 else 0.0

    with prometheus(seldom) as (url, asked):
        answer = simulated(url, "--window", "10d", "--scrape", "3600", "-o", "json")
    assert (answer.status, answer.err) == (0, "")
    assert json.loads(answer.out)["runs"][0]["requests"] == 20
    assert len(asked.queries) == 3 * math.ceil(10 * 1440 / MOST_POINTS)
    parts = [(float(query["start"]), float(query["end"])) for query in asked.queries[: len(asked.queries) // 3]]
    assert all(after[0] - before[1] == 60 for before, after in itertools.pairwise(parts))


def nothing(family: str, time: float) -> float | None:
    del family, time
    return None


def only_requests(family: str, time: float) -> float | None:
    return steady(family, time) if family == metric.VLLM_FINISHED else None


def idle(family: str, time: float) -> float | None:
    del family, time
    return 0.0


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (nothing, f"no value of {', '.join(metric.TRAFFIC_FAMILIES)} of default/chat within 20 min is given"),
        (only_requests, f"no value of {metric.VLLM_PROMPT_TOKENS}, {metric.VLLM_OUTPUT_TOKENS} of default/chat"),
        (
            idle,
            "a history of default/chat in which no request was answered is given; allowed is one with requests. Ask for a longer --window.",
        ),
        (lambda family, time: math.nan, "in which no request was answered"),
        (lambda family, time: 1e9, "--window: a history of"),
    ],
)
def test_a_history_that_cannot_be_replayed_is_refused_in_words(value: Value, says: str) -> None:
    with prometheus(value) as (url, _):
        answer = simulated(url)
    assert (answer.status, answer.out) == (1, "")
    assert says in answer.err
    assert answer.err.count("\n") == 1


def result(*series: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(series)}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>", "answers 200, not a query result: <html>"),
        (503, b"", "answers 503, not a query result"),
        (400, json.dumps({"status": "error", "error": "bad step"}).encode(), "answers 400, not a query result: bad step"),
        (200, b"[" * 100_000, "answers 200, not a query result"),
        (200, json.dumps({"status": "success", "data": {"result": 3}}).encode(), "has not the shape of a range query's"),
        (200, result({"values": [[1]]}), "has not the shape of a range query's"),
        (200, result({"values": [[1, "x"]]}), "has not the shape of a range query's"),
        (200, result({"values": []}, {"values": []}), "the answer has 2 series where one was asked for"),
        (200, b" " * (17 * 1024 * 1024), "the answer is larger than"),
    ],
)
def test_an_answer_that_is_none_is_said(status: int, body: bytes, says: str) -> None:
    with prometheus(raw=lambda: (status, body)) as (url, _):
        answer = simulated(url)
    assert (answer.status, answer.out) == (1, "")
    assert says in answer.err
    assert answer.err.startswith("kubectl llama: --from-prometheus: no answer (Prometheus at http://127.0.0.1:")


def test_a_prometheus_that_is_not_there_is_said() -> None:
    with prometheus() as (url, _):
        pass
    answer = simulated(url)
    assert (answer.status, answer.out) == (1, "")
    assert "ConnectError" in answer.err
    assert "kubectl port-forward" in answer.err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--from-prometheus", "prometheus:9090", "--deployment", "chat"), '--from-prometheus: "prometheus:9090" is given'),
        (("--from-prometheus", "ftp://x", "--deployment", "chat"), '--from-prometheus: "ftp://x" is given'),
        (("--from-prometheus", "http://\udcff", "--deployment", "chat"), "--from-prometheus: "),
        (("--from-prometheus", "http://x:99999999", "--deployment", "chat"), '--from-prometheus: "http://x:99999999" is given'),
        (("--from-prometheus", "http://x"), "--deployment: nothing is given; allowed is a name of Kubernetes"),
        (("--from-prometheus", "http://x", "--deployment", 'a"}'), '--deployment: "a"}" is given'),
        (("--from-prometheus", "http://x", "--deployment", "a", "--namespace", "A"), '--namespace: "A" is given'),
        (("--from-prometheus", "http://x", "--deployment", "a", "--window", "7"), '--window: "7" is given; allowed is a time from 120s'),
        (("--from-prometheus", "http://x", "--deployment", "a", "--window", "1m"), '--window: "1m" is given'),
        (("--from-prometheus", "http://x", "--deployment", "a", "--window", "600d"), "to 366d, as in 12h or 7d"),
        (("--from-prometheus", "http://x", "--deployment", "a", "--step", "1"), '--step: "1" is given'),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_anything_is_asked(argv: tuple[str, ...], says: str) -> None:
    answer = run("simulate", *argv, "--load-seconds", "1")
    assert (answer.status, answer.out) == (1, "")
    assert says in answer.err


def test_values_that_are_no_numbers_of_a_clock_are_read_as_prometheus_writes_them() -> None:
    body = result({"values": [[60, "NaN"], [120.0, "+Inf"], [180, "2.5"]]})

    async def read() -> Mapping[float, float] | Missing:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body))) as client:
            return await PrometheusHistory(client, "http://x").values("q", 60, 180, 60)

    found = asyncio.run(read())
    assert not isinstance(found, Missing)
    assert (math.isnan(found[60.0]), found[120.0], found[180.0]) == (True, math.inf, 2.5)


def test_an_answer_that_drips_is_given_up_after_the_time_for_the_whole() -> None:
    async def read() -> tuple[Mapping[float, float] | Missing, str]:
        async with dripping() as url, local_client(timeout=0.3) as client:
            return await PrometheusHistory(client, url).values("q", 60, 180, 60), url

    found, url = asyncio.run(read())
    assert found == Missing(reason="PrometheusUnreachable", message=f"Prometheus at {url}: no whole answer within 0.3 s")
