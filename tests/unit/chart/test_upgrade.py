"""An upgrade with --reuse-values: Helm renders this chart with the former chart's values, and with no default of this one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.chart.chart import CHART, KUBERNETES, PROMETHEUS_RULE, Helm, Rendered

NEWER = ("canary", "cost", "monitoring.rules", "monitoring.dashboards")
"""What the first chart did not have."""


def former() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for path in NEWER:
        *above, name = path.split(".")
        node = values
        for part in above:
            node = node[part]
        del node[name]
    return values


def reused(helm: Helm, folder: Path) -> Rendered:
    """The chart with the former one's values; and its notes, which Helm shows of a real installation only."""
    shutil.copytree(CHART, folder / "chart")
    notes = (CHART / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    shown = f'{{{{ define "notes" }}}}{notes}{{{{ end }}}}kind: Notes\nsaid: {{{{ include "notes" . | toJson }}}}\n'
    (folder / "chart" / "templates" / "shown.yaml").write_text(shown, encoding="utf-8")
    (folder / "chart" / "values.yaml").write_text(yaml.safe_dump(former()), encoding="utf-8")
    where = ["--namespace", "llama-system", "--kube-version", KUBERNETES, "--api-versions", PROMETHEUS_RULE]
    done = helm.run("template", "llama", str(folder / "chart"), *where)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout)


def test_an_upgrade_that_keeps_the_former_charts_values_leaves_out_what_is_newer_and_says_so(helm: Helm, tmp_path: Path) -> None:
    rendered = reused(helm, tmp_path)
    assert not rendered.of_kind("PrometheusRule", "ConfigMap", "GrafanaDashboard")
    environment = {name: entry.get("value") for name, entry in rendered.environment.items()}
    assert environment["LLAMA_OPERATOR_GPU_HOUR_PRICES"] == "{}"
    assert environment["LLAMA_OPERATOR_API_PRICES"] == "[]"
    assert environment["LLAMA_OPERATOR_CANARY_INTERVAL_SECONDS"] == "0"
    (notes,) = rendered.of_kind("Notes")
    assert "earlier chart" in notes["said"]
    assert "--reset-then-reuse-values" in notes["said"]


@pytest.mark.parametrize(("key", "said"), [("gpuHourPrices", "{}"), ("apiPrices", "[]")])
def test_prices_that_are_null_are_none(helm: Helm, key: str, said: str) -> None:
    environment = helm.render({"cost": {key: None}}).environment
    assert environment[f"LLAMA_OPERATOR_{'GPU_HOUR' if key == 'gpuHourPrices' else 'API'}_PRICES"]["value"] == said
