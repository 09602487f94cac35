"""What docs/install.md tells people to paste is well-formed, and taken by the programs that it is for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.chart.chart import CHART, ROOT, Helm

from llama_operator.rendering.names import FINALIZER, LABEL_COMPONENT, LABEL_DEPLOYMENT, LABEL_REVISION
from llama_operator.telemetry import names as metric
from localcluster.settings import Settings, default_cache

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
CHART_KEYS = set(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))


def _blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def _documents() -> list[dict[str, Any]]:
    return [document for block in _blocks() for document in yaml.safe_load_all(block)]


def _scrape_config() -> dict[str, Any]:
    (config,) = [document for document in _documents() if "scrape_configs" in document]
    return config


def _copied_label(label: str) -> str | None:
    """The name under which the page's scrape job copies a pod's label, found the way Prometheus does it."""
    discovered = "__meta_kubernetes_pod_label_" + re.sub(r"[^A-Za-z0-9_]", "_", label)
    for rule in _scrape_config()["scrape_configs"][0]["relabel_configs"]:
        if rule.get("action") == "labelmap" and (match := re.fullmatch(rule["regex"], discovered)):
            return match.group(1)
    return None


def test_every_block_of_yaml_is_yaml() -> None:
    assert len(_documents()) >= len(_blocks()) >= 4


def test_the_chart_takes_the_values_that_the_page_shows(helm: Helm) -> None:
    shown = [document for document in _documents() if set(document) <= CHART_KEYS]
    assert len(shown) == 2
    for values in shown:
        helm.render(values)


@pytest.mark.parametrize(
    ("label", "copied"),
    [
        (LABEL_DEPLOYMENT, metric.LABEL_DEPLOYMENT),
        (LABEL_REVISION, metric.LABEL_REVISION),
        (LABEL_COMPONENT, "llama_operator_dev_component"),
        ("app.kubernetes.io/instance", None),
    ],
)
def test_the_scrape_job_copies_the_labels_that_the_autoscaler_selects_by(label: str, copied: str | None) -> None:
    assert _copied_label(label) == copied


def test_the_scrape_job_names_namespace_and_pod_as_the_autoscaler_does() -> None:
    targets = {rule.get("target_label") for rule in _scrape_config()["scrape_configs"][0]["relabel_configs"]}
    assert {metric.LABEL_NAMESPACE, metric.LABEL_POD} <= targets


def test_prometheus_itself_takes_the_scrape_job(tmp_path: Path) -> None:
    unpacked = Settings(cache=default_cache(os.environ, root=os.geteuid() == 0)).programs / "debian" / "root" / "usr" / "bin" / "promtool"
    promtool = shutil.which("promtool") or (unpacked if unpacked.is_file() else None)
    if promtool is None:
        pytest.skip("promtool is neither on PATH nor in the cache: run `make cluster-up` once, or install Prometheus")
    config = _scrape_config()
    # Debian builds Prometheus without the Kubernetes discovery; what it discovers is not what is checked here.
    del config["scrape_configs"][0]["kubernetes_sd_configs"]
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = subprocess.run([promtool, "check", "config", "--syntax-only", file], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:deploy|docs|helm|operator)/[\w./-]+)`", PAGE) + [
        f"docs/{link}" for link in re.findall(r"\]\(([\w-]+\.md)\)", PAGE)
    ]
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_finalizer_that_the_page_names_is_the_operators() -> None:
    assert FINALIZER in PAGE
