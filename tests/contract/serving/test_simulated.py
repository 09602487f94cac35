"""The simulated engine behind real agents, real Ray Serve and HAProxy: lifecycle, streams, scaling, drain, faults."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.endpoint.barehost import PROXIES, BareHost, Pod, bare_host, call, wait_for
from tests.contract.serving.collector import PARENT, PARENT_SPAN, SOON, TRACE, Collector, attributes, collector, logged, post
from tests.contract.serving.conftest import Make, config
from tests.contract.serving.exposition import assert_catalogued

from llama_operator.telemetry.catalogue import look_up
from llama_operator.telemetry.engine_metrics import SERVE, SERVER, SIMULATED

pytestmark = [pytest.mark.serving, pytest.mark.timeout(400)]
MODEL = "llama-3.1-test"


def ask(pod: Pod, tokens: int = 5, timeout: float = 60) -> tuple[int, Any]:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": tokens}
    code, text = call("POST", pod.url("http", "/v1/chat/completions"), body, timeout=timeout)
    return code, json.loads(text) if code == 200 else text


class Stream(threading.Thread):
    """One stream in the background: how many tokens came, and whether it came to its end."""

    def __init__(self, pod: Pod, tokens: int) -> None:
        super().__init__(daemon=True)
        self.url, self.wanted, self.tokens, self.done = pod.url("http", "/v1/completions"), tokens, 0, False
        self.start()

    def run(self) -> None:
        body = {"model": MODEL, "prompt": "x", "max_tokens": self.wanted, "stream": True}
        request = urllib.request.Request(
            self.url, method="POST", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(PROXIES).open(request, timeout=120) as answer:
            for line in answer:
                self.tokens += b'"text"' in line
                self.done = self.done or line.startswith(b"data: [DONE]")


def series(pod: Pod, name: str) -> dict[str, float]:
    """The samples of one family on the pod's metrics port that belong to the scaled deployment: labels to value."""
    text = call("GET", pod.url("metrics", "/metrics"))[1]
    return {
        match[1]: float(match[2]) for match in re.finditer(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE) if "LLMRouter" not in match[1]
    }


def in_flight(pod: Pod) -> float | None:
    found = series(pod, "ray_llama_requests_in_flight")
    return sum(found.values()) if found else None


def commands_of(host: BareHost) -> list[str]:
    """The command lines of all its processes, told by the directory that its agents give them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if str(host.sockets).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture(scope="module")
def traces() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, traces: Collector) -> Iterator[BareHost]:
    """One replica, traced, for the tests that leave it as they found it: a start takes half a minute."""
    with bare_host(config(tracing_endpoint=traces.endpoint), tmp_path_factory.mktemp("shared"), environment=SOON) as host:
        host.wait_ready()
        yield host


@pytest.fixture
def one(pods: Make) -> BareHost:
    host = pods(config())
    host.wait_ready()
    return host


def test_a_request_finds_the_engine_through_both_proxies_and_the_metrics_count_it(shared: BareHost) -> None:
    head, replica = shared.pods
    for pod in (head, replica):
        code, body = ask(pod)
        assert code == 200
        assert body["usage"]["completion_tokens"] == 5
    assert json.loads(call("GET", replica.url("http", "/v1/models"))[1])["data"][0]["id"] == MODEL
    # A series is there, and stays there, before and between requests: Ray drops a gauge that is not set again.
    for _ in range(5):
        assert in_flight(replica) == 0
        time.sleep(1)  # noqa: TID251 -- longer than Ray's report interval in all: the point is that time goes by
    stream = Stream(replica, 70 * 8)
    wait_for(lambda: in_flight(replica) == 1, 6, "our gauge counts the stream")
    wait_for(lambda: 1.0 in series(replica, "ray_serve_replica_processing_queries").values(), 6, "Serve's gauge counts the direct stream")
    wait_for(lambda: 1.0 in series(replica, "ray_vllm_num_requests_running").values(), 6, "the engine's gauge counts the stream")
    wait_for(lambda: replica.status()["engine"]["inFlight"] == 1, 6, "the agent's status counts the stream")
    stream.join(30)
    assert (stream.tokens, stream.done) == (560, True)


def test_the_head_starts_what_a_deployment_needs_and_its_port_takes_no_jobs(shared: BareHost) -> None:
    """Whoever can submit a job, or reach a Ray Client server, runs what he likes beside the weights; with the right token, too."""

    def code(method: str, path: str, body: Any = None) -> int:
        return call(method, shared.head.url("dashboard", path), body, shared.token)[0]

    assert code("GET", "/api/serve/applications/") == 200
    assert code("GET", "/api/v0/actors") == 200, "what `ray list` asks"
    assert code("POST", "/api/jobs/", {"entrypoint": "id"}) in (404, 405)
    commands = commands_of(shared)
    assert any("gcs_server" in command for command in commands)
    for idle in ("log_monitor.py", "autoscaler/_private/monitor.py", "ray.util.client.server"):
        assert not [command for command in commands if idle in command], idle


@pytest.mark.parametrize("way", [0, 1], ids=["through the head", "through the replica's pod"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["client-123"], True),
        ([], False),
        ([""], False),
        (["one", "two"], False),
        (["abc -- POST /v1/completions 200 forged"], False),
        (["a\u2028INFO forged".encode().decode("latin-1")], False),
        (["forged" * 1000], False),
        (["forged\xff"], False),
    ],
)
def test_a_client_s_id_is_answered_and_logged_and_one_that_could_forge_a_line_is_replaced(
    shared: BareHost, given: list[str], way: int, *, kept: bool
) -> None:
    body = {"model": MODEL, "prompt": "x", "max_tokens": 1}
    status, ids, _ = post(shared.pods[way], "/v1/completions", body, [("x-request-id", value) for value in given])
    assert (status, len(ids)) == (200, 1)
    assert (ids == given) == kept
    assert kept or re.fullmatch("[0-9a-f-]{36}", ids[0])

    def lines() -> list[str]:
        said = logged(shared.sockets)
        assert not [name for name, text in said.items() if "forged" in text]
        return [line for name, text in said.items() if "LLMServer" in name for line in text.splitlines() if ids[0] in line]

    assert [line for line in wait_for(lines, 10, "Serve logs the request") if f"{ids[0]} -- POST /v1/completions 200" in line]


def test_it_exports_the_families_that_rules_and_dashboards_ask_for(shared: BareHost) -> None:
    assert ask(shared.pods[1], 20)[0] == 200
    assert_catalogued([pod.url("metrics", "/metrics") for pod in shared.pods], (*SERVER, *SERVE, *map(look_up, SIMULATED)))


def test_at_zero_replicas_requests_are_held_counted_and_answered_later(shared: BareHost, traces: Collector) -> None:
    head = shared.head
    shared.scale(0)
    wait_for(lambda: not shared.application()["deployments"][shared.config.serve_deployment]["replicas"], 60, "no replica is left")
    answers: list[int] = []
    traced: list[tuple[int, list[str], str]] = []
    body, headers = {"model": MODEL, "prompt": "x", "max_tokens": 1}, [("traceparent", PARENT), ("x-request-id", "held-1")]
    threads = [threading.Thread(target=lambda: answers.append(ask(head)[0]), daemon=True) for _ in range(2)]
    threads.append(threading.Thread(target=lambda: traced.append(post(head, "/v1/completions", body, headers)), daemon=True))
    for thread in threads:
        thread.start()

    def held() -> float:
        return sum(sum(series(pod, "ray_serve_deployment_queued_queries").values()) for pod in shared.pods)

    wait_for(lambda: held() == 3, 15, "the three requests are counted as queued")
    assert answers == []
    shared.scale(1)
    for thread in threads:
        thread.join(60)
    assert answers == [200, 200]
    assert traced[0][:2] == (200, ["held-1"])
    # One trace: what the client began, the wait on the head, the request in the replica.
    spans = wait_for(lambda: len(found := traces.of_trace(TRACE)) == 2 and found, 20, "the spans of the head and of the replica")
    proxy, ingress = spans["proxy /v1/completions"], spans["ingress /v1/completions"]
    assert proxy.parent_span_id.hex() == PARENT_SPAN
    assert ingress.parent_span_id == proxy.span_id
    assert {attributes(span)["llama.request_id"] for span in (proxy, ingress)} == {"held-1"}


def test_a_drained_pod_finishes_its_stream_then_ray_leaves(one: BareHost) -> None:
    replica = one.pods[1]
    stream = Stream(replica, 70 * 6)
    wait_for(lambda: stream.tokens > 0, 20, "the stream has begun")
    url = replica.url("agent", "/drain")
    assert call("POST", url, {"deadlineSeconds": 30})[0] == 401
    assert call("POST", url, {"deadlineSeconds": 30}, one.token)[0] == 202
    assert call("POST", url, {"deadlineSeconds": 30}, one.token)[0] == 202
    assert not replica.ready()
    assert replica.status()["phase"] == "Draining"
    one.scale(0)
    stream.join(60)
    assert (stream.tokens, stream.done) == (420, True)
    assert replica.status()["phase"] == "Draining"


def test_sigterm_waits_for_the_stream_and_ends_within_the_grace(one: BareHost) -> None:
    replica = one.pods[1]
    stream = Stream(replica, 70 * 5)
    wait_for(lambda: stream.tokens > 0, 20, "the stream has begun")
    began = time.monotonic()
    assert replica.terminate() == 0
    stream.join(10)
    assert (stream.tokens, stream.done) == (350, True)
    assert time.monotonic() - began < one.config.drain_seconds
    assert call("GET", replica.url("agent", "/livez"))[0] == 0


def test_the_phases_are_told_in_their_order_with_a_percent_and_ready_only_after_a_token(pods: Make) -> None:
    host = pods(config(engine_args={"loadSeconds": 6, "prefillTokensPerSecond": 0.5}))
    replica = host.pods[1]
    seen: list[str] = []
    percents: list[float] = []
    deadline = time.monotonic() + 120
    while not seen or seen[-1] != "Ready":
        assert time.monotonic() < deadline
        status = replica.status()
        if status and status["phase"] not in seen[-1:]:
            seen.append(status["phase"])
        if status.get("progress"):
            percents.append(status["progress"]["percent"])
        if seen[-1:] != ["Ready"]:
            assert not replica.ready()
        assert call("GET", replica.url("agent", "/livez"))[0] in (0, 200)
        time.sleep(0.1)  # noqa: TID251 -- the pace of the poll
    assert seen == ["Starting", "LoadingWeights", "WarmingUp", "Ready"]
    assert percents == sorted(percents)
    assert any(0 < percent < 100 for percent in percents)


@pytest.mark.parametrize(("fault", "reason"), [("load-crash", "EngineFailed"), ("out-of-memory", "OutOfMemory")])
def test_a_load_that_fails_is_told_and_the_pod_stays_for_the_operator_to_read(pods: Make, fault: str, reason: str) -> None:
    host = pods(config(engine_args={"loadSeconds": 1, "fault": fault}))
    replica = host.pods[1]
    status = wait_for(lambda: (found := replica.status()).get("phase") == "Failed" and found, 120, "the pod has failed")
    assert status["rootCause"]["reason"] == reason
    assert not replica.ready()
    # Parked: Serve neither retries nor gives up, so the operator may replace the gang.
    assert host.application()["status"] == "DEPLOYING"
    assert replica.status()["engine"]["pid"] == status["engine"]["pid"]


def test_a_crashed_engine_is_not_ready_and_is_started_again_by_serve(pods: Make) -> None:
    host = pods(config(engine_args={"loadSeconds": 1, "fault": "crash", "faultAfterSeconds": 8}))
    host.wait_ready()
    replica = host.pods[1]
    first = replica.status()["engine"]["pid"]
    wait_for(lambda: not replica.ready(), 60, "the crash is seen")
    wait_for(lambda: (replica.status().get("engine") or {}).get("pid") not in (None, first), 90, "Serve has started another engine")


def test_a_replica_that_comes_gets_the_next_requests_until_it_has_as_many(pods: Make) -> None:
    """With turns it would get every other one, and the first would keep what it has too many for as long as its streams last."""
    host = pods(config(), 2)
    host.wait_ready()
    host.scale(1)
    wait_for(lambda: [pod.ready() for pod in host.pods[1:]].count(True) == 1, 60, "one is left")
    old, new = sorted(host.pods[1:], key=lambda pod: not pod.ready())
    early = [Stream(host.head, 70 * 45) for _ in range(8)]
    wait_for(lambda: in_flight(old) == 8, 20, "the first has them all")
    host.scale(2)
    wait_for(new.ready, 60, "the second is ready")
    since = time.time()
    came = "ray_llama_last_request_timestamp_seconds"
    wait_for(lambda: ask(host.head)[0] == 200 and max(series(new, came).values(), default=0) > since, 30, "requests go to it")
    late = [Stream(host.head, 70 * 15) for _ in range(8)]
    wait_for(lambda: (in_flight(old) or 0) + (in_flight(new) or 0) == 16, 20, "all have come")
    assert (in_flight(new) or 0) >= 7, "one of the eight may count a request that has just ended"
    for stream in [*early, *late]:
        stream.join(60)
        assert stream.done


def test_without_haproxy_the_ordinary_path_answers_and_the_log_says_so(pods: Make) -> None:
    host = pods(config(), RAY_SERVE_HAPROXY_BINARY_PATH="/nonexistent")
    host.wait_ready()
    replica = host.pods[1]
    assert ask(replica)[0] == 200
    assert "no HAProxy in this image" in replica.log()
    assert set(host.application()["deployments"]) == {host.config.serve_deployment}
    stream = Stream(replica, 70)
    stream.join(30)
    assert (stream.tokens, stream.done) == (70, True)
