"""What the agent says of a pod, from what it knows: phase, readiness, status, metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llama_serving.agent.snapshot import Snapshot, metrics, phase_of, readiness, status
from llama_serving.status import EngineState, Progress, RootCause

NOW = 1_790_000_100.0
ENGINE = EngineState(phase="Ready", since=NOW - 10, pid=7, started_at=NOW - 60, kv_cache_tokens=46592, in_flight=3)
CAUSE = RootCause(reason="OutOfMemory", message="too big", retryable=False)
SERVING = Snapshot(
    role="replica",
    rank=0,
    pod="d-r-g0-0",
    versions={"ray": "2.60.0"},
    now=NOW,
    agent_since=NOW - 99,
    message="Ray has joined",
    engine=ENGINE,
    engine_alive=True,
    ray_joined=True,
    node_id="ab12",
    proxy_ok=True,
    load=Progress(done=269, total=269),
    weight_bytes=269,
)
HEAD = replace(SERVING, role="head", engine=None, engine_alive=False, load=None, gcs_ok=True, dashboard_ok=True)
FOLLOWER = replace(SERVING, rank=1, engine=None, engine_alive=False, load=None, proxy_ok=False)

PHASES: list[tuple[str, Snapshot, str]] = [
    ("a replica whose engine gave a token is Ready", SERVING, "Ready"),
    ("an engine that loads is loading", replace(SERVING, engine=replace(ENGINE, phase="LoadingWeights")), "LoadingWeights"),
    ("an engine that waits for its first token warms up", replace(SERVING, engine=replace(ENGINE, phase="WarmingUp")), "WarmingUp"),
    ("no engine yet: starting", replace(SERVING, engine=None, engine_alive=False), "Starting"),
    ("an engine whose process is gone is not Ready any more", replace(SERVING, engine_alive=False), "Starting"),
    ("a download comes first", replace(SERVING, engine=None, agent_phase="Downloading"), "Downloading"),
    ("a drain outranks the engine", replace(SERVING, agent_phase="Draining"), "Draining"),
    (
        "a failed engine is a failed pod, even though its process is gone",
        replace(SERVING, engine=replace(ENGINE, phase="Failed"), engine_alive=False),
        "Failed",
    ),
    ("the agent's own failure outranks a drain", replace(SERVING, root_cause=CAUSE, agent_phase="Draining"), "Failed"),
    ("a head whose three parts answer is Ready", HEAD, "Ready"),
    ("a head without its proxy is starting", replace(HEAD, proxy_ok=False), "Starting"),
    ("a follower is Ready when Ray has joined", FOLLOWER, "Ready"),
    ("a follower without Ray is starting", replace(FOLLOWER, ray_joined=False), "Starting"),
    ("a follower whose rank reads weights is loading", replace(FOLLOWER, load=Progress(done=1, total=9)), "LoadingWeights"),
    ("a follower whose weights are in is Ready", replace(FOLLOWER, load=Progress(done=9, total=9)), "Ready"),
]


@pytest.mark.parametrize(("snap", "phase"), [case[1:] for case in PHASES], ids=[case[0] for case in PHASES])
def test_the_phase_is_what_the_pod_is_doing(snap: Snapshot, phase: str) -> None:
    assert phase_of(snap)[0] == phase


READY: list[tuple[str, Snapshot, bool, str]] = [
    ("all well", SERVING, True, "ready"),
    ("no traffic before the pod's own proxy answers", replace(SERVING, proxy_ok=False), False, "proxy"),
    ("no traffic before a token came out", replace(SERVING, engine=replace(ENGINE, phase="WarmingUp")), False, "first token"),
    ("no traffic while it drains", replace(SERVING, agent_phase="Draining"), False, "draining"),
    ("no traffic after a failure, and the cause is named", replace(SERVING, root_cause=CAUSE), False, "OutOfMemory: too big"),
    ("no traffic before Ray has joined", replace(SERVING, ray_joined=False), False, "Ray has joined"),
    ("a head names what is missing", replace(HEAD, gcs_ok=False, proxy_ok=False), False, "GCS, proxy"),
    ("a head with all parts", HEAD, True, "ready"),
    ("a follower needs no proxy and no engine", FOLLOWER, True, "ready"),
]


@pytest.mark.parametrize(("snap", "ready", "reason"), [case[1:] for case in READY], ids=[case[0] for case in READY])
def test_readiness_says_why(snap: Snapshot, ready: bool, reason: str) -> None:
    got, why = readiness(snap)
    assert got is ready
    assert reason in why


def test_the_status_has_the_contract_s_keys() -> None:
    body = status(SERVING)
    assert list(body) == [
        "schemaVersion",
        "role",
        "pod",
        "phase",
        "since",
        "progress",
        "message",
        "rootCause",
        "ray",
        "engine",
        "weightBytesPerRank",
        "memoryBytesPerRank",
        "versions",
    ]
    assert body["engine"] == {"pid": 7, "startedAt": NOW - 60, "kvCacheTokens": 46592, "inFlight": 3}
    assert body["ray"] == {"joined": True, "nodeId": "ab12"}
    assert body["progress"] is None


def test_a_load_shows_its_percent_and_says_it_in_words() -> None:
    body = status(replace(SERVING, engine=replace(ENGINE, phase="LoadingWeights"), load=Progress(done=114_000_000, total=269_000_000)))
    assert body["progress"] == {"percent": 42.4, "done": 114_000_000, "total": 269_000_000, "unit": "bytes"}
    assert body["message"] == "loading weights: 42 % of 269 MB"


def test_a_failure_carries_its_root_cause() -> None:
    body = status(replace(SERVING, root_cause=CAUSE))
    assert body["rootCause"] == {"reason": "OutOfMemory", "message": "too big", "retryable": False}
    assert body["message"] == "too big"


def test_the_metrics_name_exactly_one_phase() -> None:
    lines = [line for line in metrics(SERVING).splitlines() if line.startswith("llama_agent_phase{")]
    assert [line for line in lines if line.endswith(" 1")] == ['llama_agent_phase{phase="Ready"} 1']
    assert "llama_agent_requests_in_flight 3" in metrics(SERVING)
    assert "llama_agent_phase_seconds 10.0" in metrics(SERVING)
