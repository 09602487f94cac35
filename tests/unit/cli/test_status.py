"""`kubectl llama status`: what is said of deployments, and what is not known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.builders import KEY, NOW
from tests.harness.cluster import FakeKubectl, connect, deployment, loading_cluster
from tests.harness.command import Answer, assert_refused, compare, run
from tests.harness.kubectl import refused

from llama_operator.cli import status as command
from llama_operator.cli.status_tree import bar, duration
from llama_operator.cli.status_view import status_document
from llama_operator.rendering import names


@pytest.fixture(autouse=True)
def _at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_operator.cli.status.time.time", lambda: NOW)


@pytest.mark.parametrize("argv", [("status",), ("status", "demo")], ids=["all", "one"])
def test_a_status_is_shown_as_agreed(argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, loading_cluster())
    answer = run(*argv)
    assert (answer.status, answer.err) == (0, "")
    compare(f"{'-'.join(argv)}.txt", answer.out)
    assert "\x1b" not in answer.out


def test_where_the_terminal_knows_ascii_alone_the_picture_is_of_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, loading_cluster())
    for argv in (("status",), ("status", "demo")):
        assert run(*argv, encoding="ascii").out.isascii()


def document(*argv: str) -> dict[str, Any]:
    answer = run("status", *argv, "-o", "json")
    assert (answer.status, answer.err) == (0, "")
    parsed: dict[str, Any] = json.loads(answer.out)
    return parsed


def test_the_document_has_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, loading_cluster())
    (view,) = document("demo")["deployments"]
    assert [(item["revision"], item["current"], [gang["gang"] for gang in item["gangs"]]) for item in view["revisions"]] == [
        ("aaaaaaaaaa", True, [0, 1, 3]),
        ("bbbbbbbbbb", False, [2]),
    ]
    assert view["gpus"] == 40
    loading = view["revisions"][0]["gangs"][1]
    assert (loading["phase"], loading["percent"], loading["sinceSeconds"]) == ("LoadingWeights", 42.0, 120)
    waiting = view["revisions"][0]["gangs"][2]["pods"][0]
    assert waiting["node"] is None
    assert "Insufficient nvidia.com/gpu" in waiting["trouble"]
    assert [(node["node"], node["heldByThis"], node["free"]) for node in view["nodes"]][-1] == ("node-e", 8, 0)
    assert "cpu-only" not in {node["node"] for node in view["nodes"]}


def test_pods_and_nodes_that_may_not_be_listed_are_not_known_rather_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = connect(monkeypatch, loading_cluster())
    fake.forbidden = {"Pod", "Node"}
    (view,) = document("demo")["deployments"]
    assert (view["gpus"], view["nodes"]) == (None, None)
    pods = [pod for revision in view["revisions"] for gang in revision["gangs"] for pod in gang["pods"]]
    assert len(pods) == 5
    assert {(pod["node"], pod["ready"]) for pod in pods} == {(None, None)}
    assert [item["revision"] for item in view["revisions"]] == ["aaaaaaaaaa", "bbbbbbbbbb"]
    assert "not ready" not in run("status", "demo").out


def test_deployments_of_one_name_in_two_namespaces_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = connect(monkeypatch, loading_cluster())
    fake.put(deployment(status={"phase": "Idle"}, key=names.Key("other", "demo")))
    views = {view["namespace"]: view for view in document("-A")["deployments"]}
    assert views["other"]["gpus"] == 0
    assert views["other"]["revisions"] == []
    assert views["llm"]["gpus"] == 40
    assert len(document()["deployments"]) == 1


@pytest.mark.parametrize(
    "status", [None, {}, {"replicas": [{}]}, {"revision": "x", "replicas": [{"gang": 0, "pods": ["odd"], "since": "soon"}]}]
)
def test_a_status_of_another_version_is_shown_as_far_as_it_goes(status: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, FakeKubectl().put(deployment(status=status)))
    for argv in (("status",), ("status", "demo"), ("status", "demo", "-o", "yaml")):
        assert run(*argv).status == 0


def test_nothing_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, FakeKubectl())
    assert "-A looks in all namespaces" in run("status").out
    assert document()["deployments"] == []
    assert_refused(("status", "demo"), ['NAME: "demo" in namespace llm is given'])
    assert_refused(("status", "-o", "csv"), ['--output: "csv" is given'])


def test_a_watch_says_every_change_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = connect(monkeypatch, loading_cluster())
    gang = fake.objects[0]["status"]["replicas"][1]

    def pauses() -> Iterator[None]:
        yield  # nothing changes but the clock
        monkeypatch.setattr("llama_operator.cli.status.time.time", lambda: NOW + 7)
        yield
        gang["percent"] = 43.0
        yield
        raise KeyboardInterrupt

    going = pauses()
    monkeypatch.setattr(command, "pause", lambda _: next(going))
    answer: Answer = run("status", "-w", "-o", "json")
    assert answer.status == 130
    percents = [json.loads(line)["deployments"][0]["revisions"][0]["gangs"][1]["percent"] for line in answer.out.splitlines()]
    assert percents == [42.0, 43.0]


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_watch_outlasts_an_outage_and_ends_with_its_deployment(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = connect(monkeypatch, loading_cluster())
    path = "/apis/llama-operator.dev/v1alpha1/namespaces/llm/llamadeployments/demo"

    def pauses() -> Iterator[None]:
        for said in ("Unable to connect to the server: EOF", "Error from server: etcdserver: request timed out"):
            fake.raw[path] = refused(said)
            yield
        del fake.raw[path]
        fake.objects = [item for item in fake.objects if item["kind"] != "LlamaDeployment"]
        yield

    going = pauses()
    monkeypatch.setattr(command, "pause", lambda _: next(going))
    answer = run("status", "demo", "-w", "-o", output)
    assert (answer.status, len(answer.err.splitlines())) == (1, 1)
    assert answer.err.startswith('kubectl llama: NAME: "demo" in namespace llm is given; allowed is none')
    assert "demo" in answer.out


@pytest.mark.parametrize(
    ("percent", "shown"), [(0, "....................   0 %"), (99.9, "###################.  99 %"), (100, "#" * 20 + " 100 %")]
)
def test_a_bar_is_full_only_when_all_is_done(percent: float, shown: str) -> None:
    assert bar(percent, ascii_only=True, width=20) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(None, "-"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")])
def test_ages_are_short(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_the_order_is_by_namespace_and_name() -> None:
    keys = [names.Key("b", "a"), names.Key("a", "z"), names.Key("a", "c")]
    shown = status_document([deployment(key=key) for key in keys], None, NOW)["deployments"]
    assert [(view["namespace"], view["name"]) for view in shown] == [("a", "c"), ("a", "z"), ("b", "a")]
    assert KEY.name == "demo"


def test_an_annotation_that_somebody_spoilt_hides_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = loading_cluster()
    pod = next(item for item in cluster.objects if item["kind"] == "Pod")
    pod["metadata"].setdefault("annotations", {})[names.ANNOTATION_DRAIN_SINCE] = "x"
    connect(monkeypatch, cluster)
    (view,) = document("demo")["deployments"]
    assert view["gpus"] == 40
