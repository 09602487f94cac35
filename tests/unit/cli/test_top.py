"""`kubectl llama top`: what Prometheus has is shown, and what it has not is blank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.harness import promtool
from tests.harness.cluster import FakeKubectl, connect, deployment, loading_cluster
from tests.harness.command import assert_refused, compare, run
from tests.harness.kubectl import refused
from tests.harness.prometheus_union import labelled, parts
from tests.unit.cli.test_doctor import an_operator

from llama_operator.adapters.kubectl import Finished
from llama_operator.adapters.prometheus_instant import WHICH, PrometheusError, read_vector, service_path, union
from llama_operator.rendering import names
from llama_operator.telemetry.top import queries

VALUES = {
    "requests_in_flight": "12",
    "queued_queries": "3",
    "prompt_tokens": "1234.5",
    "generation_tokens": "456.7",
    "0.95": "1.234",
    "0.5": "0.41",
}


outage = refused("The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?")


class WithPrometheus(FakeKubectl):
    """Answers each query for llm/demo by the first word of VALUES in it, and for other/demo with 999; the KV cache is not measured."""

    def __call__(self, command: Any) -> Finished:
        if "/query?" in command[-1]:
            self.asked.append(list(command))
            result = []
            for query, labels in parts(parse_qs(urlsplit(command[-1]).query)["query"][0]):
                value = next((value for word, value in VALUES.items() if word in query), None)
                owners = [] if value is None else [("llm", value), ("other", "999")]
                for owner, number in owners:
                    metric = {"namespace": owner, "llama_operator_dev_deployment": "demo"}
                    result += labelled([{"metric": metric, "value": [0, number]}], labels)
            return Finished(status=0, out=json.dumps({"status": "success", "data": {"result": result}}), err="")
        return super().__call__(command)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = WithPrometheus(objects=loading_cluster().objects)
    fake.put(deployment(status={"phase": "Idle"}, key=names.Key("llm", "idle")))
    fake.raw["/apis/apps/v1/deployments"] = {"items": [an_operator()]}
    return connect(monkeypatch, fake)


def test_what_is_measured_is_shown_and_the_rest_is_blank(cluster: FakeKubectl) -> None:
    answer = run("top")
    assert (answer.status, answer.err) == (0, "")
    compare("top.txt", answer.out)
    rows = json.loads(run("top", "-o", "json").out)["deployments"]
    assert [(row["name"], row["inFlight"], row["kvCacheUse"]) for row in rows] == [("demo", 12.0, None), ("idle", None, None)]


def test_without_prometheus_the_cluster_is_shown_and_why_is_said(cluster: FakeKubectl) -> None:
    cluster.raw["/apis/apps/v1/deployments"] = {"items": [an_operator(PROMETHEUS_URL="")]}
    answer = run("top")
    assert answer.status == 0
    assert "40" in answer.out
    assert answer.err == "kubectl llama: Prometheus was not asked: the operator was given no Prometheus.\n"
    document = json.loads(run("top", "demo", "-o", "json").out)
    assert document["unmeasured"] == "the operator was given no Prometheus"
    assert document["deployments"][0]["inFlight"] is None


def test_whoever_labels_a_deployment_does_not_choose_prometheus(cluster: FakeKubectl) -> None:
    """Where namespaces differ nobody is believed, until one is chosen; where they agree there is no question."""
    stranger = an_operator(PROMETHEUS_URL="http://evil.team-a:9090")
    stranger["metadata"]["namespace"] = "team-a"
    path = "/apis/apps/v1/deployments"
    for url in ("http://prometheus.monitoring:9090", ""):
        cluster.raw[path] = {"items": [stranger, an_operator(PROMETHEUS_URL=url)]}
        answer = run("top")
        assert "in llama-system, team-a, do not name one Prometheus but 2; name Prometheus with --prometheus" in answer.err
        assert not [command for command in cluster.asked if "evil" in command[-1]]
    cluster.raw["/apis/apps/v1/namespaces/llama-system/deployments"] = {"items": [an_operator()]}
    assert run("top", "--operator-namespace", "llama-system").err == ""
    assert_refused(("top", "--operator-namespace", "a/b"), ["--operator-namespace: "])
    cluster.raw[path] = {"items": [an_operator(), {**an_operator(), "metadata": {"name": "op", "namespace": "second"}}]}
    assert run("top").err == ""


def test_a_watch_outlasts_an_outage_and_ends_with_its_deployment(cluster: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([outage, KeyError])
    path = "/apis/llama-operator.dev/v1alpha1/namespaces/llm/llamadeployments/demo"

    def pause(_: float) -> None:
        if next(looks) is outage:
            cluster.raw[path] = outage
        else:
            del cluster.raw[path]
            cluster.objects = [item for item in cluster.objects if item["metadata"]["name"] != "demo"]

    monkeypatch.setattr("llama_operator.cli.status.pause", pause)
    answer = run("top", "demo", "-w")
    assert answer.status == 1
    first, second = answer.err.splitlines()
    assert first == "kubectl llama: the cluster does not answer; trying again."
    assert second.startswith('kubectl llama: NAME: "demo" in namespace llm is given; allowed is one of idle')


def test_a_window_is_a_time(cluster: FakeKubectl) -> None:
    assert_refused(("top", "--window", "five"), ['--window: "five" is given'])


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://prometheus-operated.monitoring.svc:9090", "/api/v1/namespaces/monitoring/services/http:prometheus-operated:9090/proxy"),
        ("http://p.m.svc.cluster.local:9090/prefix/", "/api/v1/namespaces/m/services/http:p:9090/proxy/prefix"),
        ("http://p.m", "/api/v1/namespaces/m/services/http:p:80/proxy"),
        ("https://p.m.svc", "/api/v1/namespaces/m/services/https:p:443/proxy"),
        ("http://10.0.0.1:9090", None),
        ("https://prometheus.example.com", None),
        ("http://p:9090", None),
        ("http://p.m:port", None),
        ("ftp://p.m", None),
        ("http://p.m/../../../secrets", None),
        ("http://p.m/a%2fb", None),
    ],
)
def test_a_service_is_known_by_its_name(url: str, path: str | None) -> None:
    assert service_path(url) == path


def test_what_is_no_number_was_not_measured() -> None:
    body = {"data": {"result": [{"metric": {"a": "b"}, "value": [0, text]} for text in ("NaN", "+Inf", "2")]}}
    assert [sample.value for sample in read_vector(body)] == [2.0]
    for bad in ({}, {"data": None}, {"data": {"result": [{}]}}, {"data": {"result": [{"metric": {}, "value": [0, "x"]}]}}):
        with pytest.raises(PrometheusError, match="shape of a vector"):
            read_vector(bad)


def test_each_query_is_a_sum_by_deployment_and_bound_to_its_namespace() -> None:
    for query in queries(300, "llm").values():
        assert "namespace, llama_operator_dev_deployment" in query
        assert 'namespace="llm"' in query
    assert all('namespace="' not in query for query in queries(300, None).values())


def test_a_union_of_queries_gives_each_its_own_answer(tmp_path: Path) -> None:
    """As Prometheus evaluates it: one without a series is left out, and those with labels keep them."""
    expected = [{"labels": f'{{{WHICH}="0"}}', "value": 3}, {"labels": f'b{{pod="p",{WHICH}="2"}}', "value": 2}]
    asked = {"expr": union(["sum(a)", "sum(absent)", "b"]), "eval_time": "1m", "exp_samples": expected}
    series = [{"series": name, "values": values} for name, values in (('a{pod="p"}', "1 1"), ('a{pod="q"}', "2 2"), ('b{pod="p"}', "2 2"))]
    assert promtool.failures(tmp_path, {"groups": []}, [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}]) == ""
    assert union(["sum(a)"]) == "sum(a)"


def test_prometheus_is_asked_once_for_all_columns(cluster: FakeKubectl) -> None:
    run("top")
    assert len([command for command in cluster.asked if "/query?" in command[-1]]) == 1
