"""Whatever the chart renders is what Kubernetes, the Prometheus Operator and the Grafana operator take: every field known, of its type."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from tests.harness.depth import DEEP
from tests.harness.kubernetes_schemas import problems, schemas
from tests.unit.chart.chart import CHART, POD_MONITOR, PROMETHEUS_RULE, Helm
from tests.unit.chart.values import INSTALLATIONS

EVERY_KIND = (POD_MONITOR, PROMETHEUS_RULE, "grafana.integreatly.org/v1beta1/GrafanaDashboard")
ALONE = list(INSTALLATIONS) if DEEP else list(INSTALLATIONS)[::4]
"""Tried also in a cluster that knows Kubernetes' kinds alone."""


@pytest.mark.parametrize(("case", "apis"), [*((case, EVERY_KIND) for case in INSTALLATIONS), *((case, ()) for case in ALONE)])
def test_what_is_rendered_has_no_unknown_field_and_no_wrong_type(helm: Helm, case: str, apis: tuple[str, ...]) -> None:
    manifests = helm.render(INSTALLATIONS[case], apis).manifests
    assert manifests
    assert [problem for manifest in manifests for problem in problems(manifest)] == []


def test_ten_installations_and_every_kind_of_the_schemas_are_rendered(helm: Helm) -> None:
    assert len(INSTALLATIONS) >= 10
    rendered = {
        f"{manifest['apiVersion']}/{manifest['kind']}"
        for values in INSTALLATIONS.values()
        for manifest in helm.render(values, EVERY_KIND).manifests
    }
    assert rendered == set(schemas()["kinds"])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("spec", "replica"), 1, "$.spec: has no field replica"),
        (("spec", "replicas"), "1", '$.spec.replicas: "1" is no integer'),
        (("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"), None, "containerPort: null is no integer"),
        (
            ("spec", "template", "spec", "containers", 0, "securityContext", "readOnlyRootFilesytem"),
            True,
            "has no field readOnlyRootFilesytem",
        ),
        (("spec", "selector"), {"matchLabels": {"a": True}}, "matchLabels.a: true is no string"),
        (("metadata", "labels", "a"), 1, "metadata.labels.a: 1 is no string"),
    ],
)
def test_what_the_api_server_would_refuse_is_found(helm: Helm, path: tuple[Any, ...], value: Any, says: str) -> None:
    broken = copy.deepcopy(helm.render().deployment)
    node = broken
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    (found,) = problems(broken)
    assert says in found


def test_what_is_missing_is_found(helm: Helm) -> None:
    broken = copy.deepcopy(helm.render().deployment)
    del broken["spec"]["selector"]
    assert problems(broken) == ["apps/v1/Deployment $.spec: lacks selector"]


def test_the_values_of_each_installation_are_those_of_a_file(helm: Helm) -> None:
    keys = set(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))
    assert {key for values in INSTALLATIONS.values() for key in values} <= keys
