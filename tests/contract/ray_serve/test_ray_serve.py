"""Ray Serve's REST API in the shapes of Ray 2.60.0, those included that lose fields while something stops."""

from __future__ import annotations

import asyncio
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from tests.harness.http import dripping, local_client

from llama_operator.adapters import ray_serve
from llama_operator.adapters.bounded import SMALL_BYTES
from llama_operator.adapters.ray_serve import RayServe
from llama_operator.lifecycle.causes import WORDS_LIMIT
from llama_operator.lifecycle.observed import Serve, ServeReplica, Unknown
from llama_operator.ports import ServeError

DEPLOYMENT = "LLMServer:demo"


def with_api(handler: Callable[[httpx.Request], Any], call: Callable[[RayServe], Any]) -> Any:
    async def run() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            return await call(RayServe(client))

    return asyncio.run(run())


def view(body: Any, status: int = 200) -> Serve | Unknown:
    content = body if isinstance(body, str) else json.dumps(body)
    found: Serve | Unknown = with_api(
        lambda _: httpx.Response(status, content=content), lambda api: api.view("10.0.0.1", "t0k", DEPLOYMENT)
    )
    return found


def instance(**deployment: Any) -> dict[str, Any]:
    """ServeInstanceDetails, cut to what says something."""
    router = {"name": "LLMRouter", "status": "HEALTHY", "target_num_replicas": 2, "replicas": [{"state": "RUNNING", "node_ip": "10.0.0.9"}]}
    app = {
        "name": "llama",
        "route_prefix": "/",
        "status": "RUNNING",
        "message": "",
        "deployments": {DEPLOYMENT: {"name": DEPLOYMENT, **deployment}, "LLMRouter": router},
    }
    return {
        "controller_info": {"node_ip": "10.0.0.1"},
        "proxies": {"n1": {"status": "HEALTHY"}},
        "applications": {"llama": app},
        "target_capacity": None,
    }


RUNNING = {"state": "RUNNING", "replica_id": "abc", "node_ip": "10.0.1.1", "pid": 7, "log_file_path": "/x"}


def test_the_scaled_deployment_is_read_and_the_router_is_not() -> None:
    found = view(
        instance(status="HEALTHY", message="", target_num_replicas=2, replicas=[RUNNING, {**RUNNING, "state": "STARTING", "node_ip": None}])
    )
    assert found == Serve(
        deployed=True,
        app_status="RUNNING",
        deployment_status="HEALTHY",
        message="",
        target=2,
        replicas=[ServeReplica(state="RUNNING", node_ip="10.0.1.1"), ServeReplica(state="STARTING", node_ip=None)],
    )


def test_a_replica_that_stops_may_have_lost_its_address() -> None:
    found = view(instance(status="DOWNSCALING", target_num_replicas=1, replicas=[RUNNING, {"state": "STOPPING", "replica_id": "x"}]))
    assert isinstance(found, Serve)
    assert list(found.replicas) == [ServeReplica(state="RUNNING", node_ip="10.0.1.1"), ServeReplica(state="STOPPING", node_ip=None)]


@pytest.mark.parametrize(
    "body",
    [
        {"controller_info": {}, "proxies": {}, "applications": {}, "target_capacity": None},
        {},
        {"applications": None},
        {"applications": {"other": {}}},
    ],
    ids=["Serve is not started", "empty", "null", "another application"],
)
def test_without_our_application_nothing_is_deployed(body: dict[str, Any]) -> None:
    assert view(body) == Serve(deployed=False)


def test_an_application_whose_deployments_are_not_there_yet_has_no_target() -> None:
    body = instance()
    body["applications"]["llama"].update(status="DEPLOYING", deployments={})
    assert view(body) == Serve(deployed=True, app_status="DEPLOYING", target=None, replicas=[])


@pytest.mark.parametrize(
    ("app", "deployment", "want"),
    [
        ("app says", "deployment says", "deployment says"),
        ("app says", "", "app says"),
        ("app says", None, "app says"),
        (None, None, ""),
    ],
)
def test_the_message_is_the_deployments_else_the_applications(app: str | None, deployment: str | None, want: str) -> None:
    body = instance(status="DEPLOY_FAILED", message=deployment)
    body["applications"]["llama"].update(status="DEPLOY_FAILED", message=app)
    found = view(body)
    assert isinstance(found, Serve)
    assert (found.message, found.app_status) == (want, "DEPLOY_FAILED")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("Serve controller is down", 503, "the head answers 503: Serve controller is down"),
        ("Unauthorized: Missing authentication token", 401, "the head answers 401: Unauthorized: Missing authentication token"),
        ("x" * 5000, 500, "the head answers 500: " + "x" * 200),
        ("<html>", 200, "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("[]", 200, "AttributeError: 'list' object has no attribute 'get'"),
        ('{"applications": {"llama": "x"}}', 200, "AttributeError: 'str' object has no attribute 'get'"),
        (
            '{"applications": {"llama": {"deployments": {"LLMServer:demo": {"replicas": [3]}}}}}',
            200,
            "AttributeError: 'int' object has no attribute 'get'",
        ),
    ],
)
def test_what_cannot_be_told_is_unknown_with_its_reason(body: str, status: int, said: str) -> None:
    assert view(body, status) == Unknown(said)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ReadTimeout("timed out"), httpx.RemoteProtocolError("cut")], ids=str
)
def test_a_head_that_does_not_answer_is_unknown_and_a_call_fails(error: httpx.HTTPError) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    assert with_api(handler, lambda api: api.view("10.0.0.1", "t", DEPLOYMENT)) == Unknown(f"{type(error).__name__}: {error}")
    with pytest.raises(ServeError, match=type(error).__name__):
        with_api(handler, lambda api: api.put("10.0.0.1", "t", {}))


def test_the_calls_are_those_of_the_rest_api_with_the_token() -> None:
    seen: list[tuple[str, str, Any, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        seen.append((request.method, str(request.url), body, request.headers["Authorization"]))
        return httpx.Response(200)

    with_api(handler, lambda api: api.put("10.0.0.1", "t0k", {"applications": []}))
    with_api(handler, lambda api: api.scale("fd00::1", "t0k", "LLMServer:meta/x", 0))
    assert seen == [
        ("PUT", "http://10.0.0.1:8265/api/serve/applications/", {"applications": []}, "Bearer t0k"),
        (
            "POST",
            "http://[fd00::1]:8265/api/v1/applications/llama/deployments/LLMServer%3Ameta%2Fx/scale",
            {"target_num_replicas": 0},
            "Bearer t0k",
        ),
    ]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "1 validation error for ServeDeploySchema"),
        (404, "no such deployment"),
        (412, "external_scaler_enabled is false"),
        (503, "down"),
    ],
)
def test_a_refusal_is_raised_with_serves_words(status: int, text: str) -> None:
    with pytest.raises(ServeError, match=f"{status}: {text}"):
        with_api(lambda _: httpx.Response(status, text=text), lambda api: api.scale("10.0.0.1", "t", DEPLOYMENT, 1))


@pytest.mark.parametrize("charset", ["hex", "idna", "undefined", "no-such"])
def test_an_error_is_read_whatever_charset_it_names(charset: str) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500, content=b"it \xff broke" + b"." * 999, headers={"Content-Type": f"text/plain; charset={charset}"})

    said = with_api(handler, lambda api: api.view("10.0.0.1", "t0k", DEPLOYMENT))
    assert isinstance(said, Unknown)
    assert said.reason.startswith("the head answers 500: it \ufffd broke..")
    with pytest.raises(ServeError, match="500: it \ufffd broke"):
        with_api(handler, lambda api: api.put("10.0.0.1", "t0k", {}))


def test_a_head_that_drips_is_given_up_after_the_time_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head pod's image is its tenant's. No part of the answer comes late, so that httpx alone would wait for as long as it goes on."""
    monkeypatch.setattr(ray_serve, "SEND_SECONDS", 0.3)

    async def run(call: Callable[[RayServe], Any]) -> Any:
        async with dripping() as url, local_client(timeout=0.3) as client:
            return await call(RayServe(client, port=int(url.rsplit(":", 1)[1])))

    assert asyncio.run(run(lambda api: api.view("127.0.0.1", "t", DEPLOYMENT))) == Unknown("ReadTimeout: no whole answer within 0.3 s")
    for call in (lambda api: api.put("127.0.0.1", "t", {}), lambda api: api.scale("127.0.0.1", "t", DEPLOYMENT, 2)):
        with pytest.raises(ServeError, match=r"no whole answer within 0\.3 s"):
            asyncio.run(run(call))


def test_an_answer_without_end_or_depth_is_unknown() -> None:
    assert view(" " * (ray_serve.MOST_BYTES + 1)) == Unknown("RemoteProtocolError: the answer has more than 1048576 bytes")
    assert view("[" * 100_000) == Unknown("ValueError: JSON that is nested too deeply")


@pytest.mark.parametrize("item", ["{}", "[]", '{"":0}', '"x"', '{"state":{},"node_ip":[]}'])
def test_the_worst_answer_within_the_bound_takes_little_of_the_operators_memory(item: str) -> None:
    """The operator's pod has 512 MiB for everybody's answers."""
    head, tail = '{"applications":{"llama":{"deployments":{"' + DEPLOYMENT + '":{"replicas":[', "]}}}}}"
    body = head + ",".join([item] * ((ray_serve.MOST_BYTES - 200) // (len(item) + 1))) + tail
    tracemalloc.start()
    try:
        said = view(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(said, Unknown)
    assert re.search(r"\d+ replicas, of which at most 2000 are read", said.reason)
    assert peak < 100 << 20


def test_texts_are_cut_and_what_is_no_count_is_unknown() -> None:
    body = instance(status="S" * 9999, message="m" * 9999, replicas=[{"state": "r" * 9999, "node_ip": "1" * 9999}])
    assert view(body) == Serve(
        deployed=True,
        app_status="RUNNING",
        deployment_status="S" * ray_serve.MOST_TEXT,
        message="m" * (WORDS_LIMIT - 1) + "…",
        replicas=[ServeReplica(state="r" * ray_serve.MOST_TEXT, node_ip="1" * ray_serve.MOST_TEXT)],
    )
    assert view(instance(target_num_replicas=["1"])) == Unknown("TypeError: a number of replicas is expected, not list")


def test_only_so_many_large_answers_are_read_at_once_and_small_ones_wait_for_none() -> None:
    """Heads that send all but the end of a large answer are read a few at a time; the others hold what is small."""
    sent = {"most": 0, "now": 0}

    class Long(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b" " * SMALL_BYTES
            yield b" "
            sent["now"] += 1
            sent["most"] = max(sent["most"], sent["now"])
            await asyncio.sleep(0.05)
            sent["now"] -= 1
            yield b"{}"

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Long()) if request.url.host == "10.0.0.1" else httpx.Response(200, content=b"{}")

    async def run(api: RayServe) -> list[Serve | Unknown]:
        many = [asyncio.create_task(api.view("10.0.0.1", "t", DEPLOYMENT)) for _ in range(3 * ray_serve.LARGE_AT_ONCE)]
        await asyncio.sleep(0.01)
        small = await api.view("10.0.0.2", "t", DEPLOYMENT)
        assert not any(task.done() for task in many)
        return [small, *await asyncio.gather(*many)]

    assert set(map(repr, with_api(handler, run))) == {repr(Serve(deployed=False))}
    assert sent["most"] == ray_serve.LARGE_AT_ONCE
