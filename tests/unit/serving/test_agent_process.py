"""The agent as a process: what it says when it cannot start anything, and that it ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llama_serving.config import ServingConfig

CONFIG = ServingConfig(deployment="d", namespace="n", revision="r", source="file:///nowhere", served_name="m")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LLAMA_", "RAY_"))} | {
        "PYTHONPATH": "serving",
        "LLAMA_ROLE": "replica",
        "LLAMA_CONFIG": CONFIG.to_json(),
        "LLAMA_HEAD": "127.0.0.1:1",
        "LLAMA_POD_NAME": "p",
        "LLAMA_RUN_DIR": str(tmp_path / "run"),
        "LLAMA_AGENT_PORT": str(port),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "llama_serving.agent"], env=environment, stdout=log, stderr=log)
    yield process, port
    process.kill()
    process.wait()
    for line in (tmp_path / "log").read_text().splitlines():
        assert json.loads(line)["message"]  # every line of the log is JSON


def get(port: int, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            return dict(json.loads(error.read()))
        except OSError:
            assert time.monotonic() < deadline, "the agent does not answer"
            time.sleep(0.05)  # noqa: TID251 -- the pace of the poll; bounded by the deadline


def test_a_pod_that_cannot_start_says_why_stays_up_and_ends_at_once_on_sigterm(agent: tuple[subprocess.Popen[bytes], int]) -> None:
    process, port = agent
    deadline = time.monotonic() + 20
    while (status := get(port, "/status"))["phase"] != "Failed":
        assert time.monotonic() < deadline
    expected = "ModelNotFound" if find_spec("ray") else "VersionUnsupported"
    assert status["rootCause"]["reason"] == expected
    assert expected in get(port, "/readyz")["reason"]
    assert get(port, "/livez") == {"alive": True}
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_an_environment_that_makes_no_sense_ends_the_agent_with_a_sentence() -> None:
    environment = {"PYTHONPATH": "serving", "LLAMA_ROLE": "king"}
    result = subprocess.run(
        [sys.executable, "-m", "llama_serving.agent"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 64
    assert "LLAMA_ROLE: 'king' is neither head nor replica" in result.stderr
