"""`kubectl llama cost` against a Prometheus: what it says of good answers, and that bad ones are said in words, in bounded time and memory.

The server speaks `query` as https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries has it; kubectl is a script in
its place, which reaches that server as the API server's proxy would.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.harness.command import assert_refused, run
from tests.harness.prometheus_union import labelled, parts

from llama_operator.adapters.prometheus_instant import MAX_BYTES, MOST_SERIES, WHICH, service_path
from llama_operator.cli import cost_question
from llama_operator.cli.cost_question import read_table
from llama_operator.telemetry import cost_queries
from llama_operator.telemetry.cost import API_PRICES

WINDOW = 86_400
STEPS = WINDOW / cost_queries.step_seconds(WINDOW)
VALUES = {
    "accelerator_steps": 8 * STEPS,
    "held_steps": STEPS,
    "known_steps": STEPS,
    "cost_steps": 8 * 2.5 * STEPS,
    "idle_accelerator_steps": 2 * STEPS,
    "idle_cost_steps": 2 * 2.5 * STEPS,
    "prompt_tokens": 60e6,
    "generated_tokens": 12e6,
    "prefill_seconds": 10_000.0,
    "decode_seconds": 30_000.0,
}
"""A day of eight GPUs at 2.50, of which two stand idle."""

Raw = Callable[[], tuple[int, bytes]]


def table(api: str = 'An "API", ünï') -> list[dict[str, Any]]:
    rows = {("prompt", "least"): 1, ("prompt", "most"): 2, ("generated", "least"): 3, ("generated", "most"): 4}
    return [
        {"metric": {"api": api, "as_of": "2026-11", "kind": kind, "bound": bound}, "value": [0, str(value)]}
        for (kind, bound), value in rows.items()
    ]


@contextmanager
def prometheus(values: Mapping[str, float | None], prices: list[dict[str, Any]] | None = None, raw: Raw | None = None) -> Iterator[str]:
    queries = {text: name for name, text in cost_queries.bill_queries("llm", "demo", WINDOW).items()}

    class Handler(BaseHTTPRequestHandler):
        def answer(self, form: dict[str, list[str]]) -> None:
            result = []
            for query, labels in parts(form["query"][0]):
                if query == cost_queries.API_PRICES_QUERY:
                    result += labelled(prices or [], labels)
                elif (value := values.get(queries[query])) is not None:
                    result += labelled([{"metric": {}, "value": [0, str(value)]}], labels)
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
            status, body = (200, body) if raw is None else raw()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + (999 if status == 206 else 0)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.answer(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

        def do_GET(self) -> None:
            self.answer(parse_qs(urlsplit(self.path).query))

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that does not wait any longer is what some tests are about: no word on the standard error that others look at."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(url: str, *more: str, output: str = "json") -> Any:
    answer = run("cost", "demo", "-n", "llm", "--prometheus", url, "-o", output, *more)
    assert answer.err == ""
    assert answer.status == 0
    return json.loads(answer.out) if output == "json" else answer.out


def test_a_day_is_billed_as_it_is_by_hand() -> None:
    with prometheus(VALUES, table()) as url:
        found = ask(url)
    assert found["costDollars"] == pytest.approx(480)
    assert found["costPerHourDollars"] == pytest.approx(20)
    assert found["idleCostDollars"] == pytest.approx(120)
    assert found["acceleratorHours"] == pytest.approx(192)
    assert found["perMillionPromptTokensDollars"] == pytest.approx(2)
    assert found["perMillionGeneratedTokensDollars"] == pytest.approx(30)
    assert [(api["name"], api["asOf"], api["costDollars"]) for api in found["apis"]] == [('An "API", ünï', "2026-11", [96.0, 168.0])]
    assert found["notes"] == []


def test_the_table_says_the_same_in_words() -> None:
    with prometheus(VALUES, table()) as url:
        shown = ask(url, output="table")
    for words in (
        "llm/demo, the last 24 h, in dollars",
        "480.00",
        "25% of it: held without a request in hand",
        'An "API", ünï',
        "96.00 to 168.00",
    ):
        assert words in shown


def test_a_price_that_is_given_stands_for_the_installations() -> None:
    with prometheus({**VALUES, "cost_steps": None, "idle_cost_steps": None, "known_steps": None}) as url:
        found, unknown = ask(url, "--gpu-hour-price", "10"), ask(url)
    assert (found["costDollars"], found["idleCostDollars"]) == (pytest.approx(1920), pytest.approx(480))
    assert unknown["costDollars"] is None
    assert any("no price of an accelerator is known" in note for note in unknown["notes"])


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        ("accelerator_steps", "must scrape the operator"),
        ("idle_cost_steps", "idle cost is not known"),
        ("prefill_seconds", "the cost is not split"),
    ],
)
def test_what_prometheus_does_not_know_is_null_and_said(missing: str, note: str) -> None:
    gone = {missing: None, **({"cost_steps": None} if missing == "accelerator_steps" else {})}
    with prometheus({**VALUES, **gone}, table()) as url:
        found = ask(url)
    assert any(note in said for said in found["notes"])
    assert None in found.values()


def test_the_part_of_the_window_that_is_known_is_said_and_nothing_is_added_for_the_rest() -> None:
    with prometheus({**VALUES, "known_steps": STEPS / 2, "cost_steps": 8 * 2.5 * STEPS / 2}, table()) as url:
        found = ask(url)
    assert found["costDollars"] == pytest.approx(240)
    assert found["costPerHourDollars"] == pytest.approx(20)
    assert any("known for 50% of the window" in note for note in found["notes"])


def test_without_a_table_of_the_operators_the_commands_own_is_used_and_said() -> None:
    with prometheus(VALUES) as url:
        found = ask(url)
    assert [api["name"] for api in found["apis"]] == [price.name for price in API_PRICES]
    assert any("defaults of this command" in note for note in found["notes"])


def many(count: int, which: str = "") -> bytes:
    row = {"metric": {"pod": "p" * 60, WHICH: which}, "value": [0, "1"]}
    return json.dumps({"status": "success", "data": {"result": [row] * count}}).encode()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (lambda: (401, b"Unauthorized"), "answers 401"),
        (lambda: (503, b'{"status":"error","error":"query queue is full"}'), "answers 503, not a query result: query queue is full"),
        (lambda: (200, b"<html><title>Login</title></html>"), "not a query result: <html>"),
        (lambda: (206, b'{"status":"success","data":{"resu'), "RemoteProtocolError"),
        (lambda: (200, b'{"status":"success","data":{"resu'), "not a query result"),
        (lambda: (200, b'{"status":"success","data":{"result":[{"metric":{}}]}}'), "has not the shape"),
        (lambda: (200, b'{"status":"success","data":{"result":[{"metric":[],"value":[0,"1"]}]}}'), "has not the shape"),
        (lambda: (200, many(MOST_SERIES + 1)), f"{MOST_SERIES + 1} series, allowed are {MOST_SERIES}"),
        (lambda: (200, many(100_000)), "larger than"),
        (lambda: (200, b" " * (MAX_BYTES + 1)), "larger than"),
        (lambda: (200, many(1)), "answers another query"),
        (lambda: (200, many(2, "0")), "2 series where one was asked for"),
        (lambda: (200, b"[" * 100_000), "not a query result"),
    ],
    ids=[
        "401",
        "503",
        "html",
        "half a body",
        "cut json",
        "no value",
        "odd labels",
        "1e4 series",
        "1e5 series",
        "too large",
        "another query",
        "two series",
        "deep",
    ],
)
def test_an_answer_that_is_none_is_refused_in_words(raw: Raw, says: str) -> None:
    with prometheus(VALUES, raw=raw) as url:
        assert_refused(("cost", "demo", "-n", "llm", "--prometheus", url), [says, "--prometheus"])


def test_a_prometheus_that_is_not_there_is_told_at_once() -> None:
    assert_refused(("cost", "demo", "-n", "llm", "--prometheus", "http://127.0.0.1:1"), ["ConnectError", "NAMESPACE/SERVICE:PORT"])


def test_one_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_question, "ANSWER_SECONDS", 0.05)
    gate = threading.Event()

    def raw() -> tuple[int, bytes]:
        gate.wait(5)
        return 200, b""

    with prometheus(VALUES, raw=raw) as url:
        try:
            assert_refused(("cost", "demo", "-n", "llm", "--prometheus", url), ["no answer within 0.05 s"])
        finally:
            gate.set()


def test_a_deployment_that_nobody_has_seen_is_no_free_one() -> None:
    with prometheus({}) as url:
        assert_refused(("cost", "demo", "-n", "llm", "--prometheus", url), ["of which Prometheus knows nothing"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("cost", "Demo"), 'NAME: "Demo" is given'),
        (("cost", 'x"}) or vector(1)'), "NAME"),
        (("cost", "demo", "-n", "A_B"), "--namespace"),
        (("cost", "demo", "--window", "soon"), "--window"),
        (("cost", "demo", "--window", "1s"), "--window"),
        (("cost", "demo", "--window", "9999d"), "--window"),
        (("cost", "demo", "--gpu-hour-price", "-1"), "--gpu-hour-price"),
        (("cost", "demo", "--gpu-hour-price", "nan"), "--gpu-hour-price"),
        (("cost", "demo", "--prometheus", "prometheus"), "NAMESPACE/SERVICE:PORT"),
        (("cost", "demo", "--prometheus", "http://"), "--prometheus"),
        (("cost", "demo", "--prometheus", "ftp://x"), "--prometheus"),
        (("cost", "demo", "-o", "yaml"), "allowed is table or json"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(argv: tuple[str, ...], says: str) -> None:
    assert_refused(argv, [says])


@contextmanager
def kubectl(folder: Path, url: str, deployments: str) -> Iterator[None]:
    """A program of that name that lists those Deployments, and reaches a Service's proxy at `url`."""
    path = folder / "kubectl"
    path.write_text(
        f"#!{sys.executable} -I\n"
        "import sys, urllib.request\n"
        "assert sys.stdin.read() == ''\n"
        "if 'config' in sys.argv:\n"
        "    sys.exit(print('llm'))\n"
        "path = sys.argv[sys.argv.index('--raw') + 1]\n"
        "if path.startswith('/apis/apps/v1/'):\n"
        f"    print({deployments!r}) if {bool(deployments)} else sys.exit('error: You must be logged in to the server (Unauthorized)')\n"
        "    sys.exit(0)\n"
        f"open({str(folder / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))\n"
        "head = '/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy/api/v1/query?'\n"
        "if not path.startswith(head):\n"
        "    sys.exit(f'Error from server (NotFound): {path}')\n"
        f"sys.stdout.buffer.write(urllib.request.urlopen({url!r} + '/api/v1/query?' + path[len(head):]).read())\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    with patch.dict(os.environ, {"PATH": f"{folder}:{os.environ['PATH']}"}):
        yield


def listed(*urls: str) -> str:
    def item(namespace: str, url: str) -> dict[str, Any]:
        entry = {"name": "LLAMA_OPERATOR_PROMETHEUS_URL", "value": url}
        spec = {"containers": [{"env": [{"name": "X", "valueFrom": {}}, entry]}, {}]}
        return {"metadata": {"namespace": namespace}, "spec": {"template": {"spec": spec}}}

    return json.dumps({"items": [item(f"n{index}", url) for index, url in enumerate(urls)]})


@pytest.mark.parametrize("given", [(), ("--prometheus", "monitoring/prometheus:9090")], ids=["the operator's", "a service"])
def test_prometheus_is_found_where_the_operator_finds_it_and_reached_through_the_api_server(tmp_path: Path, given: tuple[str, ...]) -> None:
    with prometheus(VALUES, table()) as url, kubectl(tmp_path, url, listed("http://prometheus.monitoring:9090")):
        answer = run("cost", "demo", "-n", "llm", "-o", "json", *given)
    assert answer.err == ""
    assert json.loads(answer.out)["costDollars"] == pytest.approx(480)


@pytest.mark.parametrize(
    ("deployments", "says"),
    [
        (listed(), "no operator of this cluster names one"),
        (listed(""), "no operator of this cluster names one"),
        (listed("http://a.b:1", "http://c.d:1"), "in n0, n1, do not name one Prometheus but 2"),
        (listed("", "http://prometheus.monitoring:9090"), "in n0, n1, do not name one Prometheus but 2"),
        ("no json", "the answer is no JSON object"),
        ("", "You must be logged in"),
        (listed("http://other.monitoring:9090"), "NotFound"),
    ],
)
def test_one_that_cannot_be_found_is_asked_for(tmp_path: Path, deployments: str, says: str) -> None:
    with kubectl(tmp_path, "", deployments):
        assert_refused(("cost", "demo", "-n", "llm"), [says, "--prometheus"])


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://prometheus.monitoring:9090", "/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy"),
        ("http://p-operated.m-1.svc.cluster.local:9090/prom/", "/api/v1/namespaces/m-1/services/http:p-operated:9090/proxy/prom"),
        ("https://thanos.obs.svc", "/api/v1/namespaces/obs/services/https:thanos:443/proxy"),
        ("http://prometheus.example.com", None),
        ("http://10.0.0.1:9090", None),
        ("http://a.b:99999", None),
        ("http://a.b/../../../secrets", None),
        ("http://a.b/%2e%2e/x", None),
    ],
)
def test_a_url_inside_the_cluster_is_told_from_one_outside(url: str, path: str | None) -> None:
    assert service_path(url) == path


def test_rows_of_the_table_that_lack_a_number_are_left_out() -> None:
    rows = [(item["metric"], float(item["value"][1])) for item in table()]
    assert [price.name for price in read_table(rows)] == ['An "API", ünï']
    assert read_table(rows[:3]) == []


def test_the_cluster_is_chosen_as_in_every_other_command(tmp_path: Path) -> None:
    """The context's namespace where none is given; kubectl gets the flags, and no standard input to wait for."""
    with prometheus(VALUES, table()) as url, kubectl(tmp_path, url, listed("http://prometheus.monitoring:9090")):
        answer = run("cost", "demo", "-o", "json", "--kubeconfig", "/k", "--context", "c", "--operator-namespace", "llama-system")
    assert answer.err == ""
    assert json.loads(answer.out)["namespace"] == "llm"
    assert (tmp_path / "asked").read_text().startswith("--kubeconfig=/k --context=c --request-timeout=30s get --raw ")
    assert_refused(("cost", "demo", "--operator-namespace", "a/b"), ["--operator-namespace: "])
