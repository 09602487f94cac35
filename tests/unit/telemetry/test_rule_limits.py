"""Where an alert begins and where it does not: foreign workloads, low objectives, short memories, two releases of the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.harness import promtool
from tests.unit.serving.test_agent_process import CONFIG
from tests.unit.telemetry.cases import BURNS, Case, Series, latencies, objective, own, posts, replicas, state, steady
from tests.unit.telemetry.test_rules import ALERTS, expected, needed, suite

from llama_operator.telemetry.generate import document
from llama_operator.telemetry.rules.alerts import ENGINES_END_SECONDS
from llama_operator.telemetry.rules.rule import Alert
from llama_serving.agent.raystart import ray_environment
from llama_serving.agent.settings import from_environment


def the(name: str) -> Alert:
    (alert,) = [alert for alert in ALERTS if alert.name == name]
    return alert


def told(alert: Alert, summary: str) -> dict[str, Any]:
    return expected(Case(alert=alert.name, bad=lambda _: [], good=lambda _: [], at=0, summary=""), "a", alert, summary)


def test_another_ray_serve_in_the_same_prometheus_is_none_of_ours(tmp_path: Path) -> None:
    foreign = 'namespace="a",pod="theirs"'
    series = [
        (f'ray_serve_num_http_requests_total{{{foreign},method="POST",status_code="503"}}', "0+60x60"),
        (f"ray_vllm_kv_cache_usage_perc{{{foreign}}}", steady(0.99)),
        (f"ray_vllm_num_requests_waiting{{{foreign}}}", steady(9)),
        (f"ray_vllm_generation_tokens_total{{{foreign}}}", "0+60x60"),
    ]
    test = suite("foreign", series, "LlamaQueueRejected", "30m", [])
    test["alert_rule_test"].append({"eval_time": "30m", "alertname": "LlamaKvCacheSaturated", "exp_alerts": []})
    test["promql_expr_test"] = [{"expr": '{__name__=~"llama:.+"}', "eval_time": "30m", "exp_samples": []}]
    assert promtool.failures(tmp_path, document(), [test], "2m") == ""


@pytest.mark.parametrize("ratio", [0.8, 0.9])
@pytest.mark.parametrize("kind", ["LlamaTimeToFirstTokenBudgetBurn", "LlamaSuccessBudgetBurn"])
def test_an_objective_at_which_the_fastest_rates_exceed_all_there_is_is_alerted_on_all_the_same(
    kind: str, ratio: float, tmp_path: Path
) -> None:
    """Below 93.1 % no share of misses is 14.4 times the budget; and a share within the budget is silent."""

    def series(bad: float) -> Series:
        if kind == "LlamaSuccessBudgetBurn":
            return [*posts("a", s200=100 - bad, s500=bad), *objective("a", "success", ratio)]
        return [*latencies("a", "time_to_first_token", 100 - bad, bad), *objective("a", "time_to_first_token", ratio, ("2.5",))]

    fast = [alert for alert in ALERTS if alert.name == kind and alert.severity == "critical"]
    summary = next(case.summary for case in BURNS if case.alert == kind).replace(" 50%", " 100%")
    rules = needed(kind)
    rules["groups"][0]["rules"] = [rule for rule in rules["groups"][0]["rules"] if rule.get("labels", {}).get("severity") != "warning"]
    tests = [
        suite("all miss it", series(100), kind, "2h", [told(alert, f"{summary} {(alert.labels or {})['long']}") for alert in fast]),
        suite("within the budget", series(100 * (1 - ratio) - 1), kind, "2h", []),
    ]
    assert promtool.failures(tmp_path, rules, tests, "10m") == ""


def test_requests_are_held_for_a_quarter_of_an_hour_only_where_a_quarter_of_an_hour_was_seen(tmp_path: Path) -> None:
    labels = '{namespace="a",llama_operator_dev_deployment="chat",pod="head",deployment="LLMServer:chat",handle="h",actor_id="x"}'
    series = [(f"ray_serve_deployment_queued_queries{labels}", "_x20 4x60"), *replicas("a", 1, 0)]
    alert = the("LlamaNoTokens")
    tests = [
        suite("new", series, alert.name, "33m", []),
        suite("long", series, alert.name, "45m", [told(alert, "WHERE: 4 requests are open and no token comes out")]),
    ]
    assert promtool.failures(tmp_path, needed(alert.name), tests) == ""


def test_a_head_that_is_away_for_four_minutes_wakes_nobody(tmp_path: Path) -> None:
    series = [(state("a", degraded="HeadLost")[0], "1x4 stale")]
    alert = the("LlamaHeadStaysDown")
    tests = [suite(f"{minute} min", series, alert.name, f"{minute}m", []) for minute in (4, 6, 8)]
    assert promtool.failures(tmp_path, needed(alert.name), tests) == ""


def test_whoever_is_woken_for_a_head_has_half_of_what_the_engines_wait_for_it() -> None:
    replica = from_environment({"LLAMA_ROLE": "replica", "LLAMA_CONFIG": CONFIG.to_json(), "LLAMA_HEAD": "head:6379"})
    waits = ray_environment(replica, {}, fast_path=False, store=False)["RAY_gcs_rpc_server_reconnect_timeout_s"]
    assert float(waits) == ENGINES_END_SECONDS == 2 * the("LlamaHeadStaysDown").hold


def test_two_restarts_within_half_an_hour_are_no_flapping(tmp_path: Path) -> None:
    series = [(f"llama_operator_restarts_total{own('a', cause='PodLost')}", "1+0x5 2+0x5 3+0x200")]
    alert = the("LlamaReplicaFlapping")
    tests = [suite(f"{minute} min", series, alert.name, f"{minute}m", []) for minute in (12, 20, 34)]
    assert promtool.failures(tmp_path, needed(alert.name), tests) == ""


def test_the_operator_is_missed_when_nobody_leads_and_not_while_one_does(tmp_path: Path) -> None:
    alert = the("LlamaOperatorDown")

    def down(namespace: str = "") -> dict[str, Any]:
        whose = f"no llama-operator{f' of namespace {namespace}' if namespace else ''} holds the Lease, or Prometheus does not see one"
        return {
            "exp_labels": {"severity": alert.severity, **({"namespace": namespace} if namespace else {})},
            "exp_annotations": {"summary": whose, "description": alert.description, "runbook_url": alert.runbook},
        }

    def leading(pod: str, values: str, namespace: str = "one") -> tuple[str, str]:
        return f'llama_operator_leading{{namespace="{namespace}",pod="{pod}"}}', values

    leads, waits, other = leading("a", steady(1)), leading("b", steady(0)), leading("c", steady(1), "two")
    tests = [
        suite("one leads, one waits", [leads, waits], alert.name, "10m", []),
        suite("nobody leads", [waits], alert.name, "10m", [down()]),
        suite("none is seen", [], alert.name, "10m", [down()]),
        suite("the only one vanished", [leading("a", "1+0x5 stale")], alert.name, "10m", [down()]),
        suite("the leader changed", [leading("a", "1+0x5 stale"), leading("b", "0+0x6 1+0x60")], alert.name, "10m", []),
        suite("another release leads", [waits, other], alert.name, "10m", [down("one")]),
        suite("beside another release it vanished", [leading("a", "1+0x5 stale"), other], alert.name, "10m", [down("one")]),
        suite("it was uninstalled long ago", [leading("a", "1+0x5 stale"), other], alert.name, "70m", []),
        suite("both lead", [leads, waits, other], alert.name, "10m", []),
    ]
    assert promtool.failures(tmp_path, needed(alert.name), tests) == ""
