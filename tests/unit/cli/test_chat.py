"""`kubectl llama chat`: the answer as it comes, its times, and every way in which it can fail."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.harness.builders import NEW
from tests.harness.cluster import FakeKubectl, connect, deployment, loading_cluster, pod_manifest
from tests.harness.command import run
from tests.harness.openai import Endpoint, endpoint, events

from llama_operator.cli.chat import figures
from llama_operator.cli.forwarding import choose_pod
from llama_operator.cli.openai_stream import Answer, EndpointError, ask, read
from llama_operator.cli.refusals import BadInput


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    return connect(monkeypatch, loading_cluster())


@pytest.fixture
def served() -> Iterator[Endpoint]:
    with endpoint(events()) as server:
        yield server


def test_an_answer_is_streamed_with_its_figures(cluster: FakeKubectl, served: Endpoint) -> None:
    answer = run(
        "chat",
        "demo",
        "-p",
        "What is the capital of France?",
        "--url",
        served.url,
        "--system",
        "Be brief.",
        "--temperature",
        "0",
        "--max-tokens",
        "9",
    )
    assert (answer.status, answer.out) == (0, "The capital is Paris.\n")
    assert answer.err.startswith("(first token ")
    assert "4 tokens" in answer.err
    (asked,) = served.asked
    assert asked == {
        "model": "demo",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the capital of France?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.0,
    }


def test_as_json_the_figures_are_fields(cluster: FakeKubectl, served: Endpoint) -> None:
    answer = run("chat", "demo", "-p", "x", "--url", served.url, "-o", "json")
    document = json.loads(answer.out)
    assert (document["text"], document["promptTokens"], document["outputTokens"], document["complete"]) == (
        "The capital is Paris.",
        7,
        4,
        True,
    )
    assert 0 < document["firstTokenSeconds"] <= document["seconds"]
    assert answer.err == ""


def test_a_conversation_remembers_what_was_said(cluster: FakeKubectl, served: Endpoint) -> None:
    answer = run("chat", "demo", "--url", served.url, stdin=b"first\nsecond\n\nnever asked\n")
    assert answer.status == 0
    assert [message["content"] for message in served.asked[1]["messages"]] == ["first", "The capital is Paris.", "second"]
    assert len(served.asked) == 2


def test_the_key_comes_from_a_variable_and_is_never_shown(cluster: FakeKubectl, served: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "canary-key")
    answer = run("chat", "demo", "-p", "x", "--url", served.url, "--api-key-env", "MY_KEY")
    assert served.headers[0]["Authorization"] == "Bearer canary-key"
    assert "canary" not in answer.out + answer.err


def test_a_stream_that_breaks_off_is_a_failure(cluster: FakeKubectl) -> None:
    with endpoint(events(done=False, usage=False)[:3]) as server:
        answer = run("chat", "demo", "-p", "x", "--url", server.url)
    assert (answer.status, answer.out) == (1, "The capital \n")
    assert "2 pieces" in answer.err
    assert "the stream broke off" in answer.err


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (
            404,
            b'{"error": {"message": "The model `demo` does not exist"}}',
            "(404: The model `demo` does not exist) is given; allowed is an answer.",
        ),
        (503, b"no replica", "no replica takes requests"),
        (401, b"{}", "--api-key-env NAME"),
        (400, b"<html>", "(400: <html>)"),
    ],
)
def test_a_refusal_is_said_with_its_remedy(status: int, said: bytes, words: str, cluster: FakeKubectl) -> None:
    with endpoint([said], status) as server:
        answer = run("chat", "demo", "-p", "x", "--url", server.url)
    assert (answer.status, answer.out) == (1, "")
    assert words in answer.err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--url", "ftp://x"), '--url: "ftp://x" is given'),
        (("--url", "http://h:abc/v1"), '--url: "http://h:abc/v1" is given'),
        (("--url", "http://[::1"), '--url: "http://[::1" is given'),
        (("--url", "http://:80/v1"), '--url: "http://:80/v1" is given'),
        (("--url", "http://h/ü/v1"), '--url: "http://h/ü/v1" is given'),
        (("--url", "http://127.0.0.1:9/v1"), "endpoint: http://127.0.0.1:9/v1 (ConnectionRefusedError"),
        (("--url", "http://h/v1", "--temperature", "hot"), '--temperature: "hot" is given'),
        (("--url", "http://h/v1", "--max-tokens", "-1"), '--max-tokens: "-1" is given'),
        (("--url", "http://h/v1", "--api-key-env", "NOT_SET_HERE"), "which is not set"),
    ],
)
def test_what_cannot_be_meant_is_said(argv: tuple[str, ...], says: str, cluster: FakeKubectl) -> None:
    answer = run("chat", "demo", "-p", "x", *argv)
    assert answer.status == 1
    assert says in answer.err


@pytest.mark.parametrize("key", ["canary\nkey", "canary-\u20ac", "canary\r\nX: y", " canary", "canary\x7f"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    key: str, cluster: FakeKubectl, served: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    answer = run("chat", "demo", "-p", "x", "--url", served.url, "--api-key-env", "MY_KEY")
    assert (answer.status, answer.out, served.asked) == (1, "", [])
    assert answer.err.startswith('kubectl llama: --api-key-env: "MY_KEY", whose value no HTTP header can hold is given')
    assert "canary" not in answer.err


@pytest.mark.parametrize(("url", "key"), [("http://h/v1", "canary\nkey"), ("http://h/ü", "canary-\u20ac"), ("http://h:abc/canary", None)])
def test_what_http_cannot_send_is_an_error_without_its_text(url: str, key: str | None) -> None:
    with pytest.raises(EndpointError) as raised:
        list(ask(url.replace("//h/", "//127.0.0.1:9/"), {}, key, lambda: 0.0))
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("argv", [("-p", "-"), ()])
def test_a_question_that_is_no_text_is_refused(argv: tuple[str, ...], cluster: FakeKubectl, served: Endpoint) -> None:
    answer = run("chat", "demo", *argv, "--url", served.url, stdin=b"\xff\xfe")
    assert (answer.status, answer.out, served.asked) == (1, "", [])
    assert "--prompt: the standard input, with bytes that are no utf-8 is given" in answer.err


def kubectl(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_way_to_a_ready_replica_is_made_by_itself(
    cluster: FakeKubectl, served: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(
        tmp_path,
        f"echo \"$@\" > {tmp_path}/asked; echo 'Forwarding from 127.0.0.1:{served.server_port} -> 8000'; exec sleep 60",
        monkeypatch,
    )
    answer = run("chat", "demo", "-p", "x")
    assert (answer.status, answer.out) == (0, "The capital is Paris.\n")
    assert (tmp_path / "asked").read_text().strip() == f"port-forward --namespace llm --address=127.0.0.1 pod/demo-{NEW}-g0-0 :8000"


def test_a_port_forward_that_is_refused_is_said(cluster: FakeKubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(
        tmp_path,
        'echo \'Error from server (Forbidden): pods "x" is forbidden: cannot create resource "pods/portforward"\' >&2; exit 1',
        monkeypatch,
    )
    answer = run("chat", "demo", "-p", "x")
    assert (answer.status, answer.out) == (1, "")
    assert "pods/portforward" in answer.err
    assert "Ask for the right that the message names" in answer.err


def test_where_nothing_takes_requests_why_is_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, FakeKubectl().put(deployment(status={"phase": "Failed"})))
    answer = run("chat", "demo", "-p", "x")
    assert (answer.status, "Ask kubectl llama why demo." in answer.err) == (1, True)


def test_the_head_is_asked_only_where_no_replica_is_ready() -> None:
    head = pod_manifest(None)
    head["metadata"]["labels"]["llama-operator.dev/traffic"] = "true"
    assert choose_pod([head, pod_manifest(0)], "demo", "Ready") == f"demo-{NEW}-g0-0"
    assert choose_pod([head, pod_manifest(0, ready=False)], "demo", "Idle") == f"demo-{NEW}-head"
    assert choose_pod([pod_manifest(0, 1), pod_manifest(1, 0)], "demo", "Ready") == f"demo-{NEW}-g1-0"
    with pytest.raises(BadInput):
        choose_pod([pod_manifest(0, 1)], "demo", None)


def answered(stream: list[bytes]) -> Answer:
    ticks = count(1)
    *_, (_, answer) = read([line + b"\n" for part in stream for line in part.split(b"\n")], lambda: float(next(ticks)))
    return answer


def test_the_first_token_and_the_rate_are_told_apart() -> None:
    answer = answered(events())
    assert answer.first_seconds == 1.0
    assert answer.tokens_per_second == pytest.approx(3 / (answer.seconds - 1.0))
    assert figures(answer).startswith("first token 1.00 s, 4 tokens, ")


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        ([b": a comment\n\n", b"event: x\n", *events(["a"])], "a"),
        ([b"data: not json\n\n", b"data: [1]\n\n", b'data: {"choices": [null]}\n\n', *events(["a"])], "a"),
        ([b"data: " + b"[" * 50_000, *events(["a"])], "a"),
        ([b"data: [DONE]\n\n", *events(["late"])], ""),
        ([], ""),
    ],
)
def test_what_is_no_event_is_passed_over(stream: list[bytes], text: str) -> None:
    assert answered(stream).text == text


def test_what_was_not_measured_is_left_out() -> None:
    assert figures(Answer(complete=True)) == "no token came"
    assert (
        figures(Answer(complete=True, finish="length", pieces=1, first_seconds=1.0, seconds=1.0))
        == "first token 1.00 s, 1 pieces, cut at the longest answer"
    )
    assert Answer(pieces=5, first_seconds=None).tokens_per_second is None


def test_an_error_in_the_stream_is_raised() -> None:
    bad: dict[str, Any] = {"error": {"message": "EngineDeadError", "code": 500}}
    with pytest.raises(EndpointError, match="EngineDeadError"):
        answered([*events()[:2], b"data: " + json.dumps(bad).encode() + b"\n\n"])
