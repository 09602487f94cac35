"""`kubectl llama bench`: what is asked, what is made and deleted in the cluster, and every way in which it can fail."""

from __future__ import annotations

import json
import re
import stat
import zlib
from argparse import Namespace
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.harness.bench import ASKED, REAL, Cluster, real_runs, rich_pod
from tests.harness.builders import NEW
from tests.harness.cluster import FakeKubectl, connect, deployment, loading_cluster, pod_manifest
from tests.harness.command import assert_refused, compare, run

from llama_operator.adapters.kubectl import Finished
from llama_operator.cli import bench, bench_driver, bench_pod
from llama_operator.cli.bench_question import Load, ask


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    fake = Cluster(objects=loading_cluster().objects)
    fake.objects[0]["spec"]["objectives"] = {"timeToFirstTokenSeconds": 0.2}
    for item in fake.objects:
        for container in item["spec"].get("containers") or []:
            container["image"] = "registry/llm:1"
    fake.made, fake.deleted, fake.pod_status = [], [], {"phase": "Running"}
    monkeypatch.setattr(bench_pod, "pause", lambda _: None)
    monkeypatch.setattr(bench.secrets, "token_hex", lambda _: "1234abcd")
    monkeypatch.setattr(bench.time, "time", lambda: 1_790_000_000.0)
    connect(monkeypatch, fake)
    return fake


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `kubectl logs --follow` writes."""
    place, program = tmp_path / "log", tmp_path / "kubectl"
    place.write_text(REAL.read_text(encoding="utf-8"))
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {place}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return place


TWO_LOADS = ("--requests", "12", "--input-tokens", "64", "--output-tokens", "16", "--seed", "7")


def one_report(log: Path, folder: str = "out") -> dict[str, Any]:
    """Of the first load of the real log."""
    answer = run("bench", "demo", "--concurrency", "4", *TWO_LOADS, "--output", folder, "-o", "json")
    assert (answer.status, answer.err) == (0, f"Written: {folder}/report.json, {folder}/report.html\n")
    document: dict[str, Any] = json.loads(answer.out)
    return document


def test_a_test_is_run_reported_and_leaves_nothing_behind(cluster: Cluster, log: Path) -> None:
    answer = run("bench", "demo", "--concurrency", "4", *TWO_LOADS)
    assert answer.status == 0, answer.err
    compare("bench.txt", answer.out)
    assert answer.err == "Written: llama-bench-demo-20260921T141320Z/report.json, llama-bench-demo-20260921T141320Z/report.html\n"
    assert [made["metadata"]["name"] for made in cluster.made] == cluster.deleted == ["demo-bench-1234abcd"]
    plan = json.loads(cluster.made[0]["spec"]["template"]["spec"]["containers"][0]["env"][-1]["value"])
    assert plan == {
        "url": "http://demo.llm.svc",
        "model": "demo",
        "seed": 7,
        "inputTokens": 64,
        "outputTokens": 16,
        "runs": [{"requests": 12, "rate": None, "concurrency": 4}],
    }
    asked = (log.parent / "asked").read_text().strip()
    assert asked == "logs --namespace llm --container bench --follow pod/bench-pod"


def test_the_report_says_what_was_measured_and_how(cluster: Cluster, log: Path) -> None:
    document = one_report(log)
    assert json.loads((log.parent / "out" / "report.json").read_text()) == document
    assert (document["kind"], document["schemaVersion"]) == ("LlamaBenchReport", 1)
    subject = document["deployment"]
    assert (subject["namespace"], subject["name"], subject["revision"], subject["model"]) == ("llm", "demo", NEW, "demo")
    assert (subject["replicasBefore"], subject["replicasAfter"], subject["tensorParallel"]) == (1, 1, 8)
    assert document["versions"]["tool"] == "0.29.0"
    assert document["arguments"]["concurrencies"] == [4]
    (only,) = document["runs"]
    assert only["goodput"]["timeToFirstTokenSeconds"] == 0.2
    assert 0 < only["goodput"]["share"] < 1
    assert only["timeToFirstToken"]["p50"]["low"] < only["timeToFirstToken"]["p50"]["value"] < only["timeToFirstToken"]["p50"]["high"]
    assert only["timeToFirstToken"]["p99"]["high"] is None


def test_the_page_needs_nothing_but_itself_and_runs_nothing(cluster: Cluster, log: Path) -> None:
    document = one_report(log)
    text = (log.parent / "out" / "report.html").read_text()
    page = ET.fromstring(text.partition("\n")[2])  # noqa: S314 -- the test's own page, made a moment ago
    assert (
        re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|\bhref=|style=", text.replace(json.dumps(document), "").replace("file:///m", ""))
        is None
    )
    assert [script.get("type") for script in page.iter("script")] == ["application/json"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = b64encode(sha256(style[1].encode()).digest()).decode()  # of the bytes between the tags, as a browser takes it
    policy = next(meta.get("content") or "" for meta in page.iter("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert {svg.get("id") for svg in page.iter("svg")} == {"spread-time_to_first_token", "spread-end_to_end", "gaps", "course-0"}
    assert json.loads(page.findtext(".//script[@id='report']") or "") == document


def test_several_loads_are_set_against_each_other() -> None:
    from llama_operator.cli.bench_page import page
    from llama_operator.cli.bench_subject import report_of

    both = (deployment(status={"replicas": []}), deployment(status={"replicas": [{"phase": "Ready"}]}))
    report = report_of(ASKED, real_runs(), both, rich_pod(), ("2026-09-21T14:13:20Z", "2026-09-21T14:14:20Z"), {"tool": None})
    text = page(report)
    assert 'id="against-first"' in text
    assert "4 at once" in text
    assert "4 a second" in text
    assert "Ready replicas went from 0 to 1 meanwhile" in text


def test_a_deployment_that_is_not_there_or_not_ready_is_refused(cluster: Cluster) -> None:
    assert_refused(("bench",), ["NAME: nothing is given"])
    assert_refused(("bench", "nobody"), ['NAME: "nobody" in namespace llm is given; allowed is one of demo'])
    cluster.objects = [deployment(status={"phase": "Idle"}), pod_manifest(None), pod_manifest(0, ready=False)]
    assert_refused(("bench", "demo"), ['"demo", which is Idle and has no replica that is ready', "Ask kubectl llama why demo."])
    assert cluster.made == []


def test_more_than_the_context_is_refused_before_anything_is_made(cluster: Cluster) -> None:
    cluster.objects[0]["spec"]["context"] = {"maxTokens": 300}
    assert_refused(("bench", "demo"), ["--input-tokens: 256 with 128 to answer is given; allowed is at most 300 together"])
    assert cluster.made == []


@pytest.mark.parametrize("place", ["there", "no/such/folder", "a\0b", "file"])
def test_a_folder_that_cannot_take_the_report_is_refused_before_the_test(place: str, cluster: Cluster, log: Path) -> None:
    (log.parent / "there").mkdir()
    (log.parent / "there" / "report.json").write_text("mine")
    (log.parent / "file").write_text("")
    assert_refused(("bench", "demo", "--output", place), ["--output: "])
    assert cluster.made == []
    assert (log.parent / "there" / "report.json").read_text() == "mine"


def test_who_may_not_make_a_job_is_told_which_right_is_missing(cluster: Cluster, log: Path) -> None:
    cluster.refuses = 'Error from server (Forbidden): jobs.batch is forbidden: User "bob" cannot create resource "jobs"'
    assert_refused(
        ("bench", "demo", "--output", "out"), ["jobs.batch is forbidden", "Ask for the right to create jobs (batch) in this namespace;"]
    )


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({}, "no pod for job demo-bench-1234abcd: exceeded quota"),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "denied"}}}]},
            "a pod that cannot start (ErrImagePull: denied)",
        ),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]},
            "a pod that did not start within 900 s (0/2 nodes are available)",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]},
            "ended (OOMKilled, status 137) before the test did",
        ),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, "ended (DeadlineExceeded) before the test did"),
    ],
)
def test_a_pod_that_comes_to_nothing_is_told_and_deleted(
    status: dict[str, Any], says: str, cluster: Cluster, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text("INFO something else\n")
    cluster.logs["bench-pod"] = ""
    cluster.pod_status = status
    event = {"kind": "Event", "metadata": {"name": "e", "namespace": "llm"}, "type": "Warning", "message": "exceeded quota"}
    cluster.put(event)
    ticks = iter(range(0, 100_000, 300))
    monkeypatch.setattr(bench_pod.time, "monotonic", lambda: next(ticks))
    assert_refused(("bench", "demo", "--output", "out"), [says])
    assert cluster.deleted == ["demo-bench-1234abcd"]


def test_a_lost_connection_is_made_anew_and_the_whole_log_counts(cluster: Cluster, log: Path) -> None:
    """The follower sees half; the pod has ended by then, and its log has all."""
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3]))
    cluster.logs["bench-pod"] = "".join(lines)
    cluster.pod_status = {"phase": "Succeeded"}
    assert one_report(log)["runs"][0]["completed"] == 12


def test_a_test_without_an_answer_is_reported_and_fails(cluster: Cluster, log: Path) -> None:
    samples = [[0.0, None, None, 64, None]] * 12
    nothing = {"numbers": {"duration": 1.0, "completed": 0}, "requests": samples, "gaps": {}, "errors": {"Bad Gateway": 12}}
    data = b64encode(zlib.compress(json.dumps(nothing).encode())).decode()
    events = [{"event": "result", "index": 0, "part": 0, "of": 1, "data": data}, {"event": "end"}]
    log.write_text("".join(f"{bench_driver.MARK}{json.dumps(event)}\n" for event in events))
    answer = run("bench", "demo", "--concurrency", "4", *TWO_LOADS, "--output", "out")
    assert answer.status == 1
    assert answer.err.endswith("kubectl llama: no request was answered.\n")
    assert "4 at once: 12 x Bad Gateway" in answer.out
    assert json.loads((log.parent / "out" / "report.json").read_text())["runs"][0]["timeToFirstToken"] is None


def test_an_api_server_that_restarts_does_not_end_a_test(cluster: Cluster, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(bench_pod, "pause", pauses.append)
    away = Finished(
        status=1, out="", err="The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?"
    )
    real, looks = FakeKubectl._get, iter([away, away])

    def get(self: FakeKubectl, url: str) -> Finished:
        return next(looks, None) or real(self, url) if "job-name" in url else real(self, url)

    monkeypatch.setattr(FakeKubectl, "_get", get)
    assert one_report(log)["runs"][0]["completed"] == 12
    assert pauses == [bench_pod.OUTAGE_SECONDS] * 2


def test_what_the_program_in_the_pod_says_is_told(cluster: Cluster, log: Path) -> None:
    log.write_text(f"{bench_driver.MARK}{json.dumps({'event': 'failed', 'why': 'the serving image has no vLLM'})}\n")
    answer = run("bench", "demo", "--output", "out")
    assert (answer.status, answer.out) == (1, "")
    assert "a test that failed (the serving image has no vLLM) is given" in answer.err
    assert cluster.deleted == ["demo-bench-1234abcd"]


def test_a_result_that_did_not_come_whole_is_no_report(cluster: Cluster, log: Path) -> None:
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if "result" not in line))
    answer = run("bench", "demo", "--output", "out")
    assert (answer.status, answer.out) == (1, "")
    assert "it did not come whole through the pod's log" in answer.err
    assert not (log.parent / "out" / "report.json").exists()


@pytest.mark.parametrize("where", ["_started", "_followed"])
def test_an_interrupted_test_is_deleted_from_the_cluster(where: str, cluster: Cluster, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_pod, where, interrupt)
    answer = run("bench", "demo", "--output", "out")
    assert answer.status == 130
    assert cluster.deleted == ["demo-bench-1234abcd"]


def arguments(**given: str) -> Namespace:
    options = ("requests", "seconds", "rate", "concurrency", "input_tokens", "output_tokens", "seed", "longest")
    return Namespace(**{option: given.get(option) for option in options})


def test_loads_are_what_the_options_say() -> None:
    assert ask(arguments(), 5).loads == (Load(requests=100, concurrency=8),)
    assert ask(arguments(), 5).seed == 5
    assert ask(arguments(rate="0.5,4", seconds="30"), 5).loads == (Load(requests=15, rate=0.5), Load(requests=120, rate=4.0))
    assert [load.words for load in ask(arguments(concurrency="1,16", requests="20"), 5).loads] == ["1 at once", "16 at once"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--rate", "1", "--concurrency", "1"), "--rate: it and --concurrency is given"),
        (("--seconds", "30"), "--seconds: it without --rate is given"),
        (("--seconds", "30", "--rate", "1", "--requests", "3"), "--seconds: it and --requests is given"),
        (("--seconds", "3600", "--rate", "100"), "which is 360,000 requests is given; allowed is at most 10,000 requests"),
        (("--rate", "0"), '--rate: "0" is given; allowed is requests a second, from 0.01 to 1000'),
        (("--rate", "nan"), '--rate: "nan" is given'),
        (("--rate", "1,1"), '--rate: "1,1" is given; allowed is at most 8 numbers, each once'),
        (("--concurrency", "1,2,3,4,5,6,7,8,9"), "allowed is at most 8 numbers, each once"),
        (("--concurrency", "0"), '--concurrency: "0" is given; allowed is a whole number from 1 to 2000'),
        (("--requests", "-5"), '--requests: "-5" is given'),
        (("--requests", "1000000"), '--requests: "1000000" is given; allowed is a whole number from 1 to 10000'),
        (("--input-tokens", "1000000"), "which is 100,000,000 tokens is given; allowed is at most 20,000,000 in one load"),
        (("--output-tokens", "100000"), "which is 10,000,000 tokens is given"),
        (("--longest", "2d"), '--longest: "2d" is given'),
        (("--seed", "x"), '--seed: "x" is given'),
        (("-o", "yaml"), '-o: "yaml" is given; allowed is table or json'),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(argv: tuple[str, ...], says: str, cluster: Cluster) -> None:
    assert_refused(("bench", "demo", *argv), [says])
    assert cluster.made == []
