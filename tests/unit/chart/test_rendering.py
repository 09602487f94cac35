"""The chart renders what it promises, for installations of every kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.harness import yaml_files
from tests.unit.chart.chart import CHART, POD_MONITOR, PROMETHEUS_RULE, ROOT, Helm
from tests.unit.chart.values import CASES, HIGHLY_AVAILABLE

from llama_operator.rendering.names import LABEL_COMPONENT, LABEL_DEPLOYMENT, LABEL_REVISION, common_labels


def test_helm_lint_finds_nothing_to_warn_of(helm: Helm) -> None:
    done = helm.run("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize("case", CASES)
def test_the_rendered_manifests_are_those_that_were_read_and_agreed_to(helm: Helm, golden: Callable[[str, str], None], case: str) -> None:
    # The dashboards' files are agreed to where they lie; see test_dashboards.
    text = re.sub(r'^(  [a-z]+\.json): ".*"$', r"\1: (the file)", helm.render(CASES[case]).text, flags=re.MULTILINE)
    golden(f"{case}.yaml", text)


def test_the_chart_carries_the_crd_that_was_generated() -> None:
    generated = (ROOT / "crds" / "llamadeployments.yaml").read_bytes()
    assert (CHART / "crds" / "llamadeployments.yaml").read_bytes() == generated, "run `make gen` and commit what it writes"


def test_the_crd_is_no_template_so_that_uninstalling_the_chart_cannot_delete_it(helm: Helm) -> None:
    assert not helm.render().of_kind("CustomResourceDefinition")


def test_the_package_holds_the_crd_and_the_schema(helm: Helm, tmp_path: Any) -> None:
    assert helm.run("package", str(CHART), "--destination", str(tmp_path)).returncode == 0
    (package,) = tmp_path.glob("*.tgz")
    shown = helm.run("show", "crds", str(package))
    assert yaml_files.read(shown.stdout)["metadata"]["name"] == "llamadeployments.llama-operator.dev"
    assert "not allowed" in helm.run("template", "x", str(package), "--set", "nosuchkey=1").stderr


@pytest.mark.parametrize(
    ("apis", "enabled", "made"),
    [
        ([], "auto", False),
        ([POD_MONITOR], "auto", True),
        ([], True, True),
        ([POD_MONITOR], False, False),
    ],
)
def test_pods_are_found_by_podmonitor_or_by_annotation_and_never_by_both(helm: Helm, apis: list[str], enabled: object, made: bool) -> None:
    rendered = helm.render({"monitoring": {"podMonitors": {"enabled": enabled}}}, apis)
    assert bool(rendered.of_kind("PodMonitor")) is made
    assert ("prometheus.io/scrape" in rendered.pod["metadata"]["annotations"]) is not made


@pytest.mark.parametrize(
    ("apis", "enabled", "made"),
    [([], "auto", False), ([PROMETHEUS_RULE], "auto", True), ([], True, True), ([PROMETHEUS_RULE], False, False)],
)
def test_rules_are_made_where_the_cluster_knows_the_kind_and_else_the_notes_say_so(
    helm: Helm, apis: list[str], enabled: object, made: bool
) -> None:
    rendered = helm.render({"monitoring": {"rules": {"enabled": enabled}}}, apis)
    assert bool(rendered.of_kind("PrometheusRule")) is made


def test_the_prometheusrule_is_the_generated_file_and_carries_the_labels_that_prometheus_selects_by(helm: Helm) -> None:
    labels = {"release": "kube-prometheus-stack"}
    (rule,) = helm.render({"monitoring": {"rules": {"enabled": True, "labels": labels}}}).of_kind("PrometheusRule")
    assert rule["spec"] == yaml_files.read((CHART / "rules" / "llama-operator.yaml").read_text())
    assert labels.items() <= rule["metadata"]["labels"].items()


def test_podmonitors_copy_the_labels_that_the_autoscaler_selects_by(helm: Helm) -> None:
    (serving,) = [each for each in helm.render(HIGHLY_AVAILABLE).of_kind("PodMonitor") if "podTargetLabels" in each["spec"]]
    assert {LABEL_DEPLOYMENT, LABEL_REVISION, LABEL_COMPONENT} <= set(serving["spec"]["podTargetLabels"])


LIMITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # sentence: values, limits of the serving pods' PodMonitor
    "as shipped": ({}, {"sampleLimit": 20000, "labelLimit": 64, "bodySizeLimit": "16MB"}),
    "others": (
        {"samples": 5000000, "labels": 30, "bodySize": "1.5GiB"},
        {"sampleLimit": 5000000, "labelLimit": 30, "bodySizeLimit": "1.5GiB"},
    ),
    "none": ({"samples": 0, "labels": 0, "bodySize": 0}, {}),
    "none of the body": ({"bodySize": "0"}, {"sampleLimit": 20000, "labelLimit": 64}),
}


@pytest.mark.parametrize("sentence", LIMITS)
def test_a_serving_pod_cannot_fill_the_prometheus_that_everybody_is_scaled_by(helm: Helm, sentence: str) -> None:
    values, limits = LIMITS[sentence]
    operator, serving = helm.render({"monitoring": {"podMonitors": {"servingLimits": values}}}, [POD_MONITOR]).of_kind("PodMonitor")
    names = ("sampleLimit", "labelLimit", "bodySizeLimit")
    assert {name: serving["spec"][name] for name in names if name in serving["spec"]} == limits
    # The operator's own series grow with the LlamaDeployments, and nobody else has a say in them.
    assert not set(names) & set(operator["spec"])


def test_podmonitors_select_every_serving_pod_and_nothing_else_of_the_operator(helm: Helm) -> None:
    rendered = helm.render(HIGHLY_AVAILABLE)
    labels = {"serving": common_labels("demo"), "operator": rendered.pod["metadata"]["labels"]}
    selected = {
        monitor["metadata"]["name"]: {
            who for who, worn in labels.items() if monitor["spec"]["selector"]["matchLabels"].items() <= worn.items()
        }
        for monitor in rendered.of_kind("PodMonitor")
    }
    assert selected == {"llama-llama-operator": {"operator"}, "llama-llama-operator-serving": {"serving"}}


def test_prometheus_looks_for_serving_pods_where_the_operator_makes_them(helm: Helm) -> None:
    everywhere = helm.render({}, [POD_MONITOR]).of_kind("PodMonitor")[1]
    some = helm.render({"watchNamespaces": ["llm-a"]}, [POD_MONITOR]).of_kind("PodMonitor")[1]
    assert everywhere["spec"]["namespaceSelector"] == {"any": True}
    assert some["spec"]["namespaceSelector"] == {"matchNames": ["llm-a"]}


def test_a_disruption_budget_is_made_for_two_operators_and_not_for_one(helm: Helm) -> None:
    assert not helm.render({"replicas": 1}).of_kind("PodDisruptionBudget")
    (budget,) = helm.render({"replicas": 2}).of_kind("PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == 1


def test_every_selector_meets_the_operators_pod(helm: Helm) -> None:
    rendered = helm.render({**HIGHLY_AVAILABLE, "fullnameOverride": "other"})
    labels = rendered.pod["metadata"]["labels"]
    selectors = [
        rendered.deployment["spec"]["selector"]["matchLabels"],
        rendered.of_kind("Service")[0]["spec"]["selector"],
        rendered.of_kind("PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"],
        rendered.of_kind("NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


@pytest.mark.parametrize("release", ["llama", "llama-operator", "a" * 53])
def test_names_stay_within_63_characters_whatever_the_release_is_called(helm: Helm, release: str) -> None:
    done = helm.run("template", release, str(CHART), "--kube-version", "1.34.4", "--set", "replicas=2,monitoring.podMonitors.enabled=true")
    names = [manifest["metadata"]["name"] for manifest in yaml_files.read_all(done.stdout)]
    assert names
    assert max(map(len, names)) <= 63
