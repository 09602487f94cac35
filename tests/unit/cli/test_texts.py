"""What a cluster or an endpoint says can move no terminal, whichever command repeats it, and is read in bounded depth."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from tests.harness.builders import NEW
from tests.harness.cluster import FakeKubectl, condition, connect, deployment, loading_cluster, replica
from tests.harness.command import run
from tests.harness.kubectl import refused
from tests.harness.openai import endpoint
from tests.unit.cli.test_doctor import an_operator, healthy_cluster

from llama_operator.api.depth import DEEPEST, TooDeep, is_shallow, read_json
from llama_operator.cli.output import open_console
from llama_operator.cli.texts import CONTROL, json_text, plain

EVIL = "a\x1b]0;title\x07b\x1b[2Jc\x9b2Jd\x9d52;c;x\x9ce\x7f"


def test_a_text_cannot_move_the_terminals_cursor_or_title() -> None:
    assert plain("a\x1b[2J\x1b]0;title\x07b\rc\td\x9b1m") == "abc\td1m"


def evil_cluster() -> FakeKubectl:
    status: dict[str, Any] = {
        "phase": f"Failed{EVIL}",
        "reason": EVIL,
        "ready": "0/1",
        "endpoint": EVIL,
        "revision": NEW,
        "replicas": [replica(0, "LoadingWeights", percent=4.0, message=f"loading {EVIL}")],
        "conditions": [condition("Degraded", "True", "Broken", f"broken {EVIL}")],
        "autoscaling": {"reason": "Steady", "message": EVIL, "cappedBy": [{"by": "window", "message": EVIL}]},
    }
    fake = healthy_cluster()
    fake.objects.clear()
    fake.put(deployment(status=status, spec={"model": {"source": "file:///m", "servedName": EVIL}, "autoscaling": {"maxReplicas": 2}}))
    fake.raw["/apis/apps/v1/deployments"] = {"items": [an_operator(PROMETHEUS_URL="http://p.m:1")]}
    return fake


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
@pytest.mark.parametrize("argv", [("status",), ("status", "demo"), ("why", "demo"), ("top",), ("doctor",)], ids=" ".join)
def test_no_command_repeats_a_control_character(argv: tuple[str, ...], output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, evil_cluster())
    answer = run(*argv, "-o", output)
    assert answer.out
    assert CONTROL.search(answer.out + answer.err) is None
    if output == "json":
        json.loads(answer.out)


def test_what_kubectl_or_an_endpoint_says_is_repeated_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = connect(monkeypatch, loading_cluster())
    with endpoint([json.dumps({"error": {"message": EVIL}}).encode()], 400) as server:
        answers = [run("chat", "demo", "-p", "x", "--url", server.url)]
    answers.append(run("logs", "demo", "--head"))
    fake.raw["/apis/llama-operator.dev/v1alpha1/namespaces/llm/llamadeployments/demo"] = refused(f"Error from server: {EVIL}")
    answers += [run("status", "demo"), run("logs", "demo"), run("chat", "demo", "-p", "x")]
    for answer in answers:
        assert answer.status == 1
        assert answer.err
        assert CONTROL.search(answer.err) is None


def test_a_terminal_gets_the_consoles_own_sequences_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich's colours and its cursor stay; those in a text go, also where it is cut over two pieces."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    from rich.text import Text

    for name, value in (("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    open_console(terminal).print(Text.assemble((f"red{EVIL}", "red"), "\x1b", "[2J"))
    written = terminal.getvalue()
    assert written.startswith("\x1b[31mred")
    assert "\x1b[2J" not in written
    assert "\x1b]" not in written
    assert not {"\x9b", "\x9d", "\x07"} & set(written)


def test_json_is_read_as_deep_as_a_stack_can_walk_through_it() -> None:
    def deep(levels: int) -> str:
        return "[" * levels + "]" * levels

    assert is_shallow(read_json(deep(DEEPEST)))
    for levels in (DEEPEST + 2, 900, 50_000):
        with pytest.raises(TooDeep):
            read_json(deep(levels))
    with pytest.raises(ValueError, match="Expecting"):
        read_json("[" * 5)
    assert json.loads(json_text({"a": EVIL})) == {"a": EVIL}
