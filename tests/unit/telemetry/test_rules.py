"""The rules, by Prometheus' own checker: each alert fires when it should, not when it should not, and not because metrics vanish."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.harness import promtool
from tests.unit.telemetry.cases import BURNS, CASES, Case, Series, engine, objective, own, replicas, state, steady

from llama_operator.telemetry.catalogue import CATALOGUE, used_in
from llama_operator.telemetry.generate import RULES_FILE, document, groups, render
from llama_operator.telemetry.recorded import GROUPED
from llama_operator.telemetry.rules.burn import TABLE
from llama_operator.telemetry.rules.rule import REAL, Alert, Pace, Recording

ROOT = Path(__file__).resolve().parents[3]
RULES = [rule for group in groups() for rule in group.rules]
ALERTS = [rule for rule in RULES if isinstance(rule, Alert)]
NAMES = sorted({alert.name for alert in ALERTS})
REHEARSAL = Pace(shrink=30)
WITHOUT_OWNER = {"LlamaOperatorDown"}
SEEN_AS_BLIND = {"LlamaAutoscalerBlind"}


def needed(*names: str) -> dict[str, Any]:
    """A rules file with these alerts, and what is recorded for them: promtool evaluates every rule at every minute of every test."""
    alerts = [alert for alert in ALERTS if alert.name in names]
    read = {metric.name for alert in alerts for metric in used_in(alert.expr)}
    recorded = [rule for rule in RULES if isinstance(rule, Recording) and rule.metric.name in read]
    return {"groups": [{"name": "needed", "rules": [rule.document(REAL) for rule in (*recorded, *alerts)]}]}


def expected(case: Case, namespace: str, alert: Alert, summary: str) -> dict[str, Any]:
    labels = {"namespace": namespace, "llama_operator_dev_deployment": "chat", "severity": alert.severity, **(alert.labels or {})}
    return {
        "exp_labels": {**labels, **case.labels},
        "exp_annotations": {
            "summary": summary.replace("WHERE", f"{namespace}/chat"),
            "description": alert.description,
            "runbook_url": alert.runbook,
        },
    }


def suite(name: str, series: Series, alert: str, at: str, fires: list[dict[str, Any]], every: str = "1m") -> dict[str, Any]:
    return {
        "name": name,
        "interval": every,
        "input_series": [{"series": selector, "values": values} for selector, values in series],
        "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": fires}],
    }


def vanished(series: Series) -> Series:
    """The same for two minutes, then nothing."""
    return [(selector, f"{values.split('x', maxsplit=1)[0].split(' ')[0]}x1 stale") for selector, values in series]


def test_promtool_takes_the_rules_file() -> None:
    done = promtool.run("check", "rules", ROOT / RULES_FILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_file_is_what_the_generator_writes() -> None:
    for name, text in render().items():
        assert (ROOT / name).read_text() == text, "run `make gen` and commit what it writes"


def test_every_alert_has_a_case() -> None:
    assert sorted({case.alert for case in (*CASES, *BURNS)} | WITHOUT_OWNER) == NAMES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_with_its_numbers_for_that_deployment_alone_and_never_because_metrics_vanish(case: Case, tmp_path: Path) -> None:
    """Beside the bad one is a good one of the same name in another namespace."""
    (alert,) = [alert for alert in ALERTS if alert.name == case.alert]
    at = f"{case.at}m"
    tests = [
        suite("fires", [*case.bad("a"), *case.good("b")], case.alert, at, [expected(case, "a", alert, case.summary)]),
        suite("silent", [*case.good("a"), *case.good("b")], case.alert, at, []),
    ]
    if case.alert not in SEEN_AS_BLIND:
        tests += [suite(f"vanished, {minute} min", vanished(case.bad("a")), case.alert, f"{minute}m", []) for minute in {10, case.at}]
    assert promtool.failures(tmp_path, needed(case.alert), tests) == ""


@pytest.mark.parametrize("case", BURNS, ids=lambda case: case.alert)
def test_a_budget_that_burns_is_told_at_every_speed(case: Case, tmp_path: Path) -> None:
    """Four hours of samples at one in two minutes, evaluated every half hour: the slowest must last three hours. Long windows count what is
    there.
    """
    four = [alert for alert in ALERTS if alert.name == case.alert]
    assert [alert.labels for alert in four] == [{"long": line.long, "short": line.short} for line in TABLE]
    at = f"{case.at}m"
    fires = [expected(case, "a", alert, f"{case.summary} {alert.labels['long']}") for alert in four if alert.labels]
    tests = [
        suite("fires", [*case.bad("a"), *case.good("b")], case.alert, at, fires, "2m"),
        suite("silent", [*case.good("a"), *case.good("b")], case.alert, at, [], "2m"),
        suite("vanished", vanished(case.bad("a")), case.alert, at, [], "2m"),
        suite("no objective", [item for item in case.bad("a") if "objective" not in item[0]], case.alert, at, [], "2m"),
    ]
    assert promtool.failures(tmp_path, needed(case.alert), tests, "30m") == ""


def test_a_few_slow_requests_of_a_quiet_night_burn_no_budget(tmp_path: Path) -> None:
    slow = [
        ('ray_vllm_time_to_first_token_seconds_bucket{namespace="a",llama_operator_dev_deployment="chat",le="2.5"}', steady(5)),
        ('ray_vllm_time_to_first_token_seconds_count{namespace="a",llama_operator_dev_deployment="chat"}', "5+0x50 6+0x5 9+0x200"),
        *objective("a", "time_to_first_token", 0.95, ("2.5",)),
    ]
    assert (
        promtool.failures(
            tmp_path, needed("LlamaTimeToFirstTokenBudgetBurn"), [suite("quiet", slow, "LlamaTimeToFirstTokenBudgetBurn", "70m", [])], "5m"
        )
        == ""
    )


@pytest.mark.parametrize("stored", ["2", "2.0"])
def test_an_objective_in_whole_seconds_finds_its_bucket_in_prometheus_2_and_3(tmp_path: Path, stored: str) -> None:
    labels = f'namespace="a",llama_operator_dev_deployment="chat",pod="p",le="{stored}"'
    series = [
        (f"ray_vllm_time_to_first_token_seconds_bucket{{{labels}}}", "0+20x60"),
        ('ray_vllm_time_to_first_token_seconds_count{namespace="a",llama_operator_dev_deployment="chat",pod="p"}', "0+40x60"),
        *objective("a", "time_to_first_token", 0.95, ("2", "2.0")),
    ]
    test = suite("bucket", series, "LlamaNoTokens", "30m", [])
    labels = 'llama:time_to_first_token_misses:ratio_rate5m{namespace="a", llama_operator_dev_deployment="chat"}'
    test["promql_expr_test"] = [
        {
            "expr": "llama:time_to_first_token_misses:ratio_rate5m",
            "eval_time": "30m",
            "exp_samples": [{"labels": labels, "value": 0.5}],
        }
    ]
    assert promtool.failures(tmp_path, needed("LlamaTimeToFirstTokenBudgetBurn"), [test], "10m") == ""


def test_requests_that_are_held_while_a_model_loads_from_zero_are_no_outage_and_are_one_when_it_never_comes(tmp_path: Path) -> None:
    (alert,) = [alert for alert in ALERTS if alert.name == "LlamaNoTokens"]
    labels = '{namespace="a",llama_operator_dev_deployment="chat",pod="head",deployment="LLMServer:chat",handle="h",actor_id="x"}'
    series = [(f"ray_serve_deployment_queued_queries{labels}", "0+0x20 4+0x60"), *replicas("a", 1, 0)]
    told = expected(
        Case(alert=alert.name, bad=lambda _: [], good=lambda _: [], at=0, summary=""),
        "a",
        alert,
        "WHERE: 4 requests are open and no token comes out",
    )
    tests = [suite("loads", series, alert.name, "30m", []), suite("never comes", series, alert.name, "45m", [told])]
    assert promtool.failures(tmp_path, needed(alert.name), tests) == ""


def test_replicas_that_the_autoscaler_does_not_order_for_want_of_room_are_told_too(tmp_path: Path) -> None:
    (alert,) = [alert for alert in ALERTS if alert.name == "LlamaPlacementBlocked"]
    series = [*replicas("a", 1, 1), state("a", scaling="NoRoom"), (f"llama_operator_autoscaler_expected_replicas{own('a')}", steady(2.4))]
    told = expected(
        Case(alert=alert.name, bad=lambda _: [], good=lambda _: [], at=0, summary=""), "a", alert, "WHERE: 2 replicas find no node"
    )
    assert promtool.failures(tmp_path, needed(alert.name), [suite("no room", series, alert.name, "10m", [told])]) == ""


def test_when_the_engines_metrics_vanish_it_is_the_blindness_that_is_told(tmp_path: Path) -> None:
    series = [*replicas("a", 1, 1), state("a"), *vanished(engine("a", 3, 0))]
    (alert,) = [alert for alert in ALERTS if alert.name == "LlamaAutoscalerBlind"]
    summary = "a/chat: nobody can see the load (no series of any replica)"
    case = next(case for case in CASES if case.alert == alert.name)
    blind = expected(case, "a", alert, summary)
    blind["exp_labels"].pop("metrics")
    tests = [suite("blind", series, alert.name, "20m", [blind])]
    tests[0]["alert_rule_test"] += [
        {"eval_time": "20m", "alertname": name, "exp_alerts": []} for name in NAMES if name not in {alert.name, "LlamaOperatorDown"}
    ]
    assert promtool.failures(tmp_path, document(), tests) == ""


def test_names_that_users_chose_cannot_break_a_rule(tmp_path: Path) -> None:
    """The model's served name has quotes, braces, a backslash and letters of another script."""
    odd = r"a\"b{}\\ лама 🦙"
    info = f"llama_operator_deployment_info{own('a', revision='r', accelerator='x', engine='vllm', model=odd)}"
    test = suite("odd", [(info, steady(1)), *engine("a", 3, 0)], "LlamaNoTokens", "2m", [])
    labels = f'llama:info{{namespace="a",llama_operator_dev_deployment="chat",revision="r",accelerator="x",engine="vllm",model="{odd}"}}'
    test["promql_expr_test"] = [{"expr": "llama:info", "eval_time": "5m", "exp_samples": [{"labels": labels, "value": 1}]}]
    assert promtool.failures(tmp_path, document(), [test]) == ""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: getattr(rule, "name", "") or rule.metric.name)
def test_a_rule_names_only_what_is_catalogued_and_never_mixes_namespaces(rule: Alert | Recording) -> None:
    assert used_in(rule.expr)
    for labels in re.findall(r"(?:by|on) \(([^)]*)\)", rule.expr):
        assert tuple(labels.split(", ")[:2]) == GROUPED or getattr(rule, "name", "") in WITHOUT_OWNER, rule.expr
    assert "without" not in rule.expr
    assert "ignoring" not in rule.expr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: getattr(rule, "name", "") or rule.metric.name)
def test_a_rule_takes_series_of_ray_from_our_pods_alone(rule: Alert | Recording) -> None:
    for series in re.findall(r"ray_\w+(?:\{[^}]*\})?", rule.expr):
        assert '{llama_operator_dev_deployment!=""' in series, series


def test_what_is_recorded_is_what_the_catalogue_says() -> None:
    assert sorted(rule.metric.name for rule in RULES if isinstance(rule, Recording)) == sorted(
        metric.name for metric in CATALOGUE.values() if metric.source == "recorded"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_page_for_whoever_is_woken(name: str) -> None:
    page = (ROOT / "docs" / "runbooks" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    for heading in ("## What it means", "## What to look at", "## What to do"):
        assert heading in page
    assert "kubectl" in page


def test_there_is_no_page_of_an_alert_that_is_not() -> None:
    assert sorted(path.stem for path in (ROOT / "docs" / "runbooks").glob("Llama*.md")) == NAMES


def test_a_rehearsal_changes_times_and_nothing_else() -> None:
    times = re.compile(r"\b\d+[smhd]\b|> \d+\)|^\d+s$")

    def timeless(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: timeless(value) for key, value in node.items()}
        if isinstance(node, list):
            return [timeless(item) for item in node]
        return times.sub("T", node) if isinstance(node, str) else node

    assert timeless(document(REHEARSAL)) == timeless(document())
