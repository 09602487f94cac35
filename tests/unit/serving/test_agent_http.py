"""The agent's HTTP port, as the kubelet and the operator see it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from llama_serving.agent.http import build_app
from llama_serving.agent.snapshot import Snapshot

TOKEN = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Pod:
    """A pod whose snapshot the test sets, and which remembers how it was drained."""

    def __init__(self) -> None:
        self.snap = Snapshot(role="replica", rank=0, pod="p", versions={}, now=0.0, message="waiting for the Ray head")
        self.drains: list[float] = []

    async def drain(self, seconds: float) -> None:
        self.drains.append(seconds)


@pytest.fixture
def pod() -> Pod:
    return Pod()


@pytest.fixture
async def client(pod: Pod) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(build_app(lambda: pod.snap, pod.drain, TOKEN, 120))) as made:
        yield made


async def test_livez_is_200_whatever_the_pod_does(client: TestClient) -> None:
    assert (await client.get("/livez")).status == 200


async def test_readyz_is_503_with_the_reason_until_the_pod_serves(client: TestClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert await answer.json() == {"ready": False, "reason": "waiting for the Ray head"}


async def test_status_and_metrics_answer_in_every_phase(client: TestClient) -> None:
    assert (await (await client.get("/status")).json())["phase"] == "Starting"
    assert "llama_agent_ready 0" in await (await client.get("/metrics")).text()


async def test_a_drain_is_taken_with_its_deadline(client: TestClient, pod: Pod) -> None:
    answer = await client.post("/drain", json={"deadlineSeconds": 30}, headers=BEARER)
    assert answer.status == 202
    assert pod.drains == [30]


async def test_a_drain_without_a_body_takes_the_configured_time(client: TestClient, pod: Pod) -> None:
    assert (await client.post("/drain", headers=BEARER)).status == 202
    assert pod.drains == [120]


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"Authorization": "Bearer wrong"}, 403), ({"Authorization": "Bearer schl\u00fcssel"}, 403)]
)
async def test_nobody_drains_without_the_token(client: TestClient, pod: Pod, headers: dict[str, str], status: int) -> None:
    assert (await client.post("/drain", headers=headers)).status == status
    assert pod.drains == []


@pytest.mark.parametrize("body", ['{"deadlineSeconds": -1}', '{"deadlineSeconds": "soon"}', '{"deadlineSeconds": true}', "[]", "{"])
async def test_a_bad_deadline_is_refused_in_words(client: TestClient, pod: Pod, body: str) -> None:
    answer = await client.post("/drain", data=body, headers=BEARER)
    assert answer.status == 400
    assert (await answer.json())["error"]
    assert pod.drains == []


async def test_a_pod_without_a_token_cannot_be_drained_over_http(pod: Pod) -> None:
    async with TestClient(TestServer(build_app(lambda: pod.snap, pod.drain, "", 120))) as client:
        assert (await client.post("/drain", headers={"Authorization": "Bearer "})).status == 403
