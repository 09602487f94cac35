"""The dashboards reach Grafana: through its sidecar's ConfigMaps, and through the Grafana operator where the cluster has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.chart.chart import CHART, Helm

from llama_operator.telemetry.dashboards.boards import BOARDS

GRAFANA_DASHBOARD = "grafana.integreatly.org/v1beta1/GrafanaDashboard"
WANTED: dict[str, Any] = {"monitoring": {"dashboards": {"grafanaOperator": {"enabled": True}}}}


def test_every_dashboard_has_a_config_map_that_the_sidecar_finds_and_holds_the_file_as_it_is(helm: Helm) -> None:
    maps = helm.render().of_kind("ConfigMap")
    assert {manifest["metadata"]["name"] for manifest in maps} == {f"llama-llama-operator-{board.name}" for board in BOARDS}
    for manifest in maps:
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((name, text),) = manifest["data"].items()
        assert text == (CHART / "dashboards" / name).read_text(encoding="utf-8")
        assert json.loads(text)["panels"]


def test_label_and_annotations_are_the_installations(helm: Helm) -> None:
    chosen = {"monitoring": {"dashboards": {"label": {"name": "shown", "value": "yes"}, "annotations": {"grafana_folder": "Llama"}}}}
    for manifest in helm.render(chosen).of_kind("ConfigMap"):
        assert manifest["metadata"]["labels"]["shown"] == "yes"
        assert manifest["metadata"]["annotations"] == {"grafana_folder": "Llama"}


@pytest.mark.parametrize(
    ("values", "apis", "made"), [({}, [GRAFANA_DASHBOARD], 0), (WANTED, [], 0), (WANTED, [GRAFANA_DASHBOARD], len(BOARDS))]
)
def test_the_grafana_operators_objects_are_made_where_they_are_wanted_and_the_cluster_knows_them(
    helm: Helm, values: dict[str, Any], apis: list[str], made: int
) -> None:
    rendered = helm.render(values, apis)
    found = rendered.of_kind("GrafanaDashboard")
    assert len(found) == made
    maps = {manifest["metadata"]["name"]: manifest["data"] for manifest in rendered.of_kind("ConfigMap")}
    for manifest in found:
        pointed = manifest["spec"]["configMapRef"]
        assert pointed["key"] in maps[pointed["name"]]


def test_dashboards_that_are_not_wanted_leave_nothing_behind(helm: Helm) -> None:
    rendered = helm.render({"monitoring": {"dashboards": {"enabled": False, "grafanaOperator": {"enabled": True}}}}, [GRAFANA_DASHBOARD])
    assert not rendered.of_kind("ConfigMap", "GrafanaDashboard")
