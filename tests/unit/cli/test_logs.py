"""`kubectl llama logs`: whose lines, and how they are shown."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.harness.builders import NEW
from tests.harness.cluster import FakeKubectl, connect, loading_cluster
from tests.harness.command import assert_refused, compare, run

from llama_operator.adapters.kubectl import Finished
from llama_operator.cli.logs_choice import ENGINE_FILES, READER, Line

AGENT = (
    '{"time": "2026-09-21T14:13:20.125Z", "level": "info", "logger": "llama_serving.agent", "message": "loading weights: 42 % of 812 GB"}\n'
    '{"time": "2026-09-21T14:13:21.000Z", "level": "error", "logger": "a", "message": "it failed", "error": "Traceback\\nKeyError: 1"}\n'
    "a line of something else\n"
)
OPERATOR = '{"deployment": "llm/demo", "reconcile": "0a1b2c3d", "event": "did", "level": "info", "timestamp": "2026-09-21T14:13:22.5Z"}\n'


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = loading_cluster()
    for pod in fake.objects:
        if pod["kind"] == "Pod":
            fake.logs[pod["metadata"]["name"]] = AGENT
    fake.logs[f"demo-{NEW}-head"] = OPERATOR
    return connect(monkeypatch, fake)


def test_every_pod_is_shown_with_its_replica_before_each_line(cluster: FakeKubectl) -> None:
    answer = run("logs", "demo")
    assert (answer.status, answer.err) == (0, "")
    compare("logs-demo.txt", answer.out)
    asked = [command for command in cluster.asked if "logs" in command]
    assert len(asked) == 7
    assert all({"--tail=200", "--container=llama"} <= set(command) for command in asked)


@pytest.mark.parametrize(
    ("argv", "sources"),
    [
        (("--replica", "1"), {"g1-0", "g1-1"}),
        (("--replica", "1", "--rank", "1"), {"g1-1"}),
        (("--rank", "0"), {"g0-0", "g1-0", "g3-0", "g2-0"}),
        (("--head",), {"head"}),
    ],
)
def test_a_replica_a_rank_or_the_head_alone(argv: tuple[str, ...], sources: set[str], cluster: FakeKubectl) -> None:
    answer = run("logs", "demo", *argv, "-o", "json")
    assert {json.loads(line)["source"].rpartition(f"{NEW}-")[2].removeprefix("bbbbbbbbbb-") for line in answer.out.splitlines()} == sources


def test_as_json_the_fields_of_a_line_stay_fields(cluster: FakeKubectl) -> None:
    (line,) = run("logs", "demo", "--head", "-o", "json").out.splitlines()
    assert json.loads(line) | {"reconcile": "0a1b2c3d", "deployment": "llm/demo", "pod": f"demo-{NEW}-head"} == json.loads(line)
    assert Line(source="g0-0", pod="p", text="no json").to_json() == {"source": "g0-0", "pod": "p", "message": "no json"}


def test_a_pod_that_does_not_answer_is_said_and_the_others_are_shown(cluster: FakeKubectl) -> None:
    del cluster.logs[f"demo-{NEW}-g1-0"]
    answer = run("logs", "demo", "--replica", "1")
    assert answer.status == 1
    assert answer.err.startswith(f"kubectl llama: pod demo-{NEW}-g1-0: ")
    assert "g1-1" in answer.out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--replica", "7"), "--replica: 7 is given; allowed is one of 0, 1, 2, 3."),
        (("--replica", "one"), '--replica: "one" is given; allowed is a whole number'),
        (("--replica", "0", "--rank", "5"), "--rank: 5 is given; allowed is one of 0, 1."),
        (("--since", "soon"), '--since: "soon" is given; allowed is a time as in 90s'),
        (("--tail", "0"), '--tail: "0" is given'),
        (("--engine", "-f"), "--follow: it, with --engine is given"),
        (("-o", "yaml"), '--output: "yaml" is given; allowed is table or json.'),
    ],
)
def test_what_cannot_be_meant_is_said(argv: tuple[str, ...], says: str, cluster: FakeKubectl) -> None:
    assert_refused(("logs", "demo", *argv), [says])


def test_the_engines_files_are_read_by_the_pods_own_python(cluster: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def execute(command: list[str]) -> Finished:
        seen.append(command)
        return Finished(status=0, out="worker-1.out: (EngineCore pid=9) INFO loading\n", err="")

    original = FakeKubectl.__call__
    monkeypatch.setattr(
        FakeKubectl, "__call__", lambda self, command: execute(list(command)) if "exec" in command else original(self, command)
    )
    answer = run("logs", "demo", "--engine", "--replica", "0", "--tail", "50")
    assert answer.out.splitlines()[0].endswith("worker-1.out: (EngineCore pid=9) INFO loading")
    assert len(seen) == 2
    assert seen[0][-4:] == [READER, "50", *ENGINE_FILES]


def test_the_reader_prints_the_end_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "a.log").write_text("one\ntwo\n\nthree")
    (tmp_path / "worker-1.out").write_bytes(b"bad \xff byte\n")
    done = subprocess.run(
        [sys.executable, "-c", READER, "2", str(tmp_path), "serve/*.log worker-*.out"], capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.splitlines()) == ["a.log: three", "worker-1.out: bad \N{REPLACEMENT CHARACTER} byte"]


def test_lines_are_followed_as_they_come(cluster: FakeKubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a kubectl that is a program, since lines come while it runs."""
    program = tmp_path / "kubectl"
    program.write_text(
        "#!/bin/sh\nfor last; do :; done\necho \"from $last\"\ncase $last in *g1-1) echo 'Error from server (NotFound): gone' >&2; exit 1;; esac\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    answer = run("logs", "demo", "--replica", "1", "-f")
    assert sorted(line.split(maxsplit=1)[1] for line in answer.out.splitlines()) == [f"from pod/demo-{NEW}-g1-{rank}" for rank in (0, 1)]
    assert answer.status == 1
    assert "g1-1: cluster: no answer (Error from server (NotFound): gone) is given" in answer.err


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_line_that_is_deep_is_shown_as_it_is(output: str, cluster: FakeKubectl) -> None:
    deep = '{"a":' * 50_000
    almost = f'{{"a": {"[" * 900}{"]" * 900}}}'
    cluster.logs[f"demo-{NEW}-head"] = f"{deep}\n{almost}\n"
    answer = run("logs", "demo", "--head", "-o", output)
    assert (answer.status, answer.err) == (0, "")
    assert len(answer.out.splitlines()) == 2
