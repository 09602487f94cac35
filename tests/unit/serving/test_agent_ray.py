"""The agent and a `ray start` that gives up: it is tried again, with nothing left of the last try, and not for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.unit.serving.test_agent_process import CONFIG, free_port, get

from localcluster.waiting import wait_for

RAY = """
import os, pathlib, subprocess, sys, time
STATE = pathlib.Path(os.environ["FAKE_RAY_STATE"])

def main():
    tries = len(list(STATE.glob("try-*"))) + 1
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    (STATE / f"try-{tries}").write_text(str(child.pid))
    if tries > int(os.environ["FAKE_RAY_FAILURES"]):
        time.sleep(1000)
    raise Exception("The current node timed out during startup.")
"""

AGENT = """
import runpy
from llama_serving.agent import agent

agent.LOOK_SECONDS = agent.RETRY_SECONDS = 0.1
runpy.run_module("llama_serving.agent", run_name="__main__", alter_sys=True)
"""
"""The agent, without its patience: five tries of a real one take a minute of pauses and looks."""

pytestmark = pytest.mark.skipif(find_spec("ray") is not None, reason="the real Ray is installed here; the fake one cannot take its place")
Start = Callable[[int], tuple[subprocess.Popen[bytes], int]]


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Start]:
    """Starts the agent of a head whose `ray start` fails so often."""
    package = tmp_path / "site" / "ray" / "scripts"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "scripts.py").write_text(RAY)
    private = package.parent / "_private"
    private.mkdir()
    (private / "__init__.py").touch()
    (private / "services.py").write_text("def start_ray_process(): ...\n")
    (private / "ray_constants.py").write_text("PROCESS_TYPE_DASHBOARD = 'dashboard'\n")
    made = tmp_path / "site" / "ray-2.60.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 2.60.0\n")
    started: list[subprocess.Popen[bytes]] = []

    def start(failures: int) -> tuple[subprocess.Popen[bytes], int]:
        port = free_port()
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("LLAMA_", "RAY_"))} | {
            "PYTHONPATH": f"serving:{tmp_path / 'site'}",
            "LLAMA_ROLE": "head",
            "LLAMA_CONFIG": CONFIG.to_json(),
            "LLAMA_POD_NAME": "p",
            "LLAMA_RUN_DIR": str(tmp_path / "run"),
            "LLAMA_AGENT_PORT": str(port),
            "FAKE_RAY_STATE": str(tmp_path),
            "FAKE_RAY_FAILURES": str(failures),
        }
        with (tmp_path / "log").open("wb") as log:
            started.append(subprocess.Popen([sys.executable, "-c", AGENT], env=environment, stdout=log, stderr=log))
        return started[-1], port

    yield start
    for process in started:
        # In peace: an agent that is killed leaves what it started to nobody.
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def runs(pid: str) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_head_whose_ray_gives_up_is_started_again_with_nothing_left_of_the_last_try(head: Start, tmp_path: Path) -> None:
    process, port = head(2)
    wait_for("a third start", (tmp_path / "try-3").is_file, seconds=120)
    assert get(port, "/status")["phase"] == "Starting"
    children = [(tmp_path / f"try-{number}").read_text() for number in (1, 2, 3)]
    assert [runs(pid) for pid in children] == [False, False, True]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not runs(children[2])


def test_a_head_whose_ray_never_starts_says_so_in_the_end(head: Start, tmp_path: Path) -> None:
    _, port = head(99)
    status = wait_for("the end of the tries", lambda: ((said := get(port, "/status"))["phase"] == "Failed" and said) or None, seconds=120)
    message = "Ray ended with status 1: Exception: The current node timed out during startup."
    assert status["rootCause"] == {"reason": "RayFailed", "message": message, "retryable": True}
    assert len(list(tmp_path.glob("try-*"))) == 5
    log = [json.loads(line)["message"] for line in (tmp_path / "log").read_text().splitlines()]
    assert f"ray start ended with status 1 before it joined; trying again: {message.partition(': ')[2]}" in log
