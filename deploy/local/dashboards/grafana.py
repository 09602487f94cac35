"""A dashboard as Grafana's JSON, written with Grafana's foundation SDK (https://github.com/grafana/grafana-foundation-sdk).

The SDK's first schema, which every Grafana since 10 imports, from files (the sidecar's way) and through the Grafana operator; the second,
which the SDK prefers, is for Grafana 12 and newer.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from llama_operator.telemetry import names, recorded
from llama_operator.telemetry.dashboards.boards import BOARDS
from llama_operator.telemetry.dashboards.panel import Board, Panel, Query, Variable, of_one

TAG = "llama-operator"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
EVERY = VariableOption(selected=True, text="All", value="$__all")
FOLDER = "helm/llama-operator/dashboards"
LAST = common.ReduceDataOptions().calcs(["lastNotNull"])
_HIDDEN = ("Time", "__name__", "instance", "job", "prometheus", "container", "endpoint")
"""Columns of a table that say nothing about a deployment."""


def files(root: Path) -> Mapping[Path, str]:
    """What is written where."""
    return {root / FOLDER / f"{board.name}.json": to_json(board) for board in BOARDS}


def to_json(board: Board) -> str:
    """One dashboard, in a form that differs only where something does: keys sorted, a line each."""
    return JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(build(board).build()) + "\n"


def build(board: Board) -> dashboard.Dashboard:
    """One dashboard."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"llama-{board.name}")
        .description(board.description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-1h" if board.name != "cost" else "now-24h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Llama")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable in board.variables:
        built = built.with_variable(_variable(variable, board))
    number = 0
    for row in board.rows:
        number += 1
        built = built.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            built = built.with_panel(_panel(panel).id(number))
    return built


def _variable(variable: Variable, board: Board) -> dashboard.QueryVariable:
    several = board.many or variable == "revision"
    equals = "=~" if board.many else "="
    chosen = f'{names.LABEL_NAMESPACE}{equals}"$namespace"'
    question = {
        "namespace": f"label_values({recorded.INFO.name}, {names.LABEL_NAMESPACE})",
        "deployment": f"label_values({recorded.INFO.name}{{{chosen}}}, {names.LABEL_DEPLOYMENT})",
        "revision": f"label_values({of_one(names.REQUESTS_IN_FLIGHT)}, {names.LABEL_REVISION})",
    }[variable]
    made = (
        dashboard.QueryVariable(variable)
        .label(variable.capitalize())
        .datasource(SOURCE)
        .query(question)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    # All is everything that is there, not the list of what was there when the page was opened.
    return made.all_value(".+").current(EVERY) if several else made


def _panel(panel: Panel) -> Any:
    steps = [Threshold(value=value, color=colour) for value, colour in panel.thresholds]
    described = f"{panel.description} Empty by design: {panel.empty}." if panel.empty else panel.description
    made: Any = {"lines": _lines, "stat": _stat, "table": _table, "bars": _bars}[panel.kind](panel)
    made = (
        made.title(panel.title)
        .description(described)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )
    for letter, query in zip(string.ascii_uppercase, panel.queries, strict=False):
        made = made.with_target(_target(query, panel).ref_id(letter))
    return made


def _target(query: Query, panel: Panel) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).datasource(SOURCE)
    if panel.kind == "table":
        return made.instant().format(PromQueryFormat.TABLE)
    return made.instant() if panel.kind in {"stat", "bars"} else made.range()


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True).calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .line_width(1)
        .fill_opacity(30 if panel.stacked else 8)
        .show_points(VisibilityMode.NEVER)
        .min(0)
    )
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if len(panel.thresholds) > 1:
        made = made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return made


def _stat(panel: Panel) -> stat.Panel:
    del panel
    return stat.Panel().color_mode(BigValueColorMode.VALUE).no_value("nothing known").reduce_options(LAST)


def _bars(panel: Panel) -> bargauge.Panel:
    del panel
    return bargauge.Panel().orientation(VizOrientation.HORIZONTAL).min(0).no_value("none").reduce_options(LAST)


def _table(panel: Panel) -> table.Panel:
    # The value of a series that only carries labels is 1.
    hidden = (*_HIDDEN, "Value") if panel.unit == "short" else _HIDDEN
    organise = DataTransformerConfig(id_val="organize", options={"excludeByName": dict.fromkeys(hidden, True)})
    return table.Panel().with_transformation(organise).filterable(True)


def write(root: Path) -> list[Path]:
    """Write them; answers what changed."""
    changed = stale(root)
    for path, text in files(root).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path in changed:
            path.write_text(text, encoding="utf-8")
    for path in set((root / FOLDER).glob("*.json")) - set(files(root)):
        path.unlink()
    return changed


def stale(root: Path) -> list[Path]:
    """The files that are not what would be written now."""
    wanted = files(root)
    wrong = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    return wrong + sorted(set((root / FOLDER).glob("*.json")) - set(wanted))
