"""The dashboards: every panel says what it shows, every query is of the catalogue and of the chosen deployment, and Grafana's files are current."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.harness import promtool

from dashboards.tried import Choice, Series, Tried, report, try_all
from llama_operator.telemetry import names
from llama_operator.telemetry.catalogue import look_up, used_in
from llama_operator.telemetry.dashboards.boards import BOARDS
from llama_operator.telemetry.dashboards.panel import PLAIN, Board, Panel, Query, Row
from llama_operator.telemetry.operator_metrics import OWNER

ROOT = Path(__file__).resolve().parents[3]
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
QUERIES = [(board, panel, query) for board, panel in PANELS for query in panel.queries]
CHOICE = Choice(namespace="llm", deployment="demo", start=1_790_000_000.0, end=1_790_000_900.0)
SERIES = re.compile(r"((?:ray_(?:serve|vllm|llama)_|llama_operator_(?!dev_)|llama:|ALERTS)[\w:]*)(\{[^}]*\})?")
OPERATOR_DOWN = '{alertname="LlamaOperatorDown"}'
UNITS = {"short", "s", "percentunit", "reqps", "currencyUSD"}

needs_sdk = pytest.mark.skipif(importlib.util.find_spec("grafana_foundation_sdk") is None, reason="needs the dependency group dashboards")
needs_matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the dependency group dashboards")


def ids(value: object) -> str:
    return (
        value.name
        if isinstance(value, Board)
        else value.title
        if isinstance(value, Panel)
        else value.legend
        if isinstance(value, Query)
        else ""
    )


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=ids)
def test_every_panel_says_what_it_shows_in_which_unit_and_from_where_on_it_is_bad(board: Board, panel: Panel) -> None:
    assert len(panel.description) > 20
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert panel.thresholds[0][0] is None
    bounds = [value for value, _ in panel.thresholds[1:] if value is not None]
    assert bounds == sorted(set(bounds))
    assert panel.queries
    assert 0 < panel.width <= 24


@pytest.mark.parametrize(("board", "panel", "query"), QUERIES, ids=ids)
def test_a_query_names_only_what_is_catalogued_and_selects_namespace_and_deployment(board: Board, panel: Panel, query: Query) -> None:
    """All but the metrics and the alert of the operator's process, and the table of API prices, which belong to no deployment."""
    assert used_in(query.expression)
    equals = "=~" if board.many else "="
    wanted = [f'{label}{equals}"${name}"' for label, name in ((names.LABEL_NAMESPACE, "namespace"), (names.LABEL_DEPLOYMENT, "deployment"))]
    found = SERIES.findall(query.expression)
    assert found
    for name, selector in found:
        if selector == OPERATOR_DOWN:
            continue
        metric = look_up(name)
        if metric.source == "operator":
            assert metric.labels[:2] != OWNER, f"{name}: use what the rules record, which has the deployment's own namespace"
            continue
        assert all(matcher in selector for matcher in wanted), f"{name}{selector}"


def test_the_fleets_alerts_tell_of_an_operator_that_is_down_whatever_is_chosen() -> None:
    (shown,) = [query for _, panel, query in QUERIES if panel.title == "Alerts"]
    assert shown.expression.endswith(f" or ALERTS{OPERATOR_DOWN}")


def test_a_dashboard_of_one_deployment_cannot_mix_two_of_one_name() -> None:
    for board in BOARDS:
        assert board.many == (board.name == "fleet")
        assert {"namespace", "deployment"} <= set(board.variables)
        for panel in board.panels:
            for query in panel.queries:
                if "by (" in query.expression and board.many:
                    continue
                assert "$__all" not in query.expression


def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"tried:{number}", "expr": CHOICE.fill(query.expression)} for number, (_, _, query) in enumerate(QUERIES)]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    done = promtool.run("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_variable_is_left_in_a_query_that_is_tried() -> None:
    assert not [query for _, _, query in QUERIES if "$" in CHOICE.fill(query.expression)]


# Version 2 of the schema is Grafana 12's and newer; the sidecar and the Grafana operator import version 1 everywhere.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
@needs_sdk
def test_the_files_in_the_chart_are_what_would_be_written_now() -> None:
    from dashboards.grafana import stale

    assert stale(ROOT) == [], "run `make gen` and commit what it writes"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_grafana_gets_variables_descriptions_units_thresholds_and_a_data_source_of_the_users(board: Board) -> None:
    text = (ROOT / "helm" / "llama-operator" / "dashboards" / f"{board.name}.json").read_text(encoding="utf-8")
    shown: dict[str, Any] = json.loads(text)
    assert [variable["name"] for variable in shown["templating"]["list"]] == ["datasource", *board.variables]
    panels = [panel for panel in shown["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels] == [panel.title for panel in board.panels]
    assert len({panel["id"] for panel in shown["panels"]}) == len(shown["panels"])
    for panel in panels:
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert all(target["expr"] and target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def panel(**more: Any) -> Panel:
    queries = more.pop("queries", (Query(expression="llama:info", legend="a"),))
    return Panel(title="P", description="What is seen here.", unit="short", queries=queries, thresholds=PLAIN, **more)


def board(shown: Panel) -> Board:
    row = Row(title="R", panels=(shown,))
    return Board(name="b", title="B", description="B.", variables=("namespace", "deployment"), many=False, rows=(row,))


@pytest.mark.parametrize(
    ("answer", "empty", "said", "wrong"),
    [
        ({"data": {"result": [{"metric": {}, "values": [[1, "2"]]}]}}, "", "  1", False),
        ({"data": {"result": []}}, "", "EMPTY", True),
        ({"data": {"result": []}}, "nothing happened", "nothing happened", False),
        ({"data": {"result": [{"metric": {}, "values": [[1, "NaN"]]}]}}, "", "EMPTY", True),
        ({"status": "error"}, "nothing happened", "KeyError", True),
        (OSError("refused"), "", "OSError refused", True),
    ],
)
def test_a_panel_without_data_fails_unless_it_says_why_it_may(answer: Any, empty: str, said: str, wrong: bool) -> None:
    asked = []

    def get(path: str) -> Any:
        asked.append(path)
        if isinstance(answer, OSError):
            raise answer
        return answer

    (tried,) = try_all(get, [board(panel(empty=empty))], CHOICE)
    assert tried.wrong is wrong
    assert said in report([tried])
    assert asked[0].startswith("/api/v1/query_range?query=llama%3Ainfo&start=1790000000.000")


@needs_matplotlib
def test_a_dashboard_is_drawn_whatever_its_panels_hold(tmp_path: Path) -> None:
    from dashboards.draw import draw

    line = Series(labels={"pod": "$p$ ünï"}, points=[(CHOICE.start, 0.0), (CHOICE.end, 3.0)])
    point = Series(labels={"phase": "Ready" * 40, "__name__": "x"}, points=[(CHOICE.end, 0.5)])
    shown = [
        (panel(), [line, line]),
        (panel(stacked=True), [line]),
        (panel(kind="stat"), [point]),
        (panel(kind="bars"), [point] * 12),
        (panel(kind="table"), [point] * 40),
        (panel(empty="nothing happened"), []),
        (panel(), []),
    ]
    made = Board(
        name="b",
        title="B",
        description="B.",
        variables=("namespace",),
        many=True,
        rows=(Row(title="R", panels=[each for each, _ in shown]),),
    )
    tried = [Tried(board=made, panel=each, query=each.queries[0], series=series) for each, series in shown]
    draw(made, tried, CHOICE, tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
