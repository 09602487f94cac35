"""The chart and the operator's settings know the same environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from tests.unit.chart.chart import Helm

from llama_operator.control.settings import Settings

OUTSIDE = {"kubeconfig", "kube_context"}
"""Settings for a run outside a cluster; in a pod the service account says where the API server is."""

FROM_THE_POD = {"LLAMA_OPERATOR_NAMESPACE": "llama-system", "LLAMA_OPERATOR_POD_NAME": "llama-operator-0"}
"""What the downward API puts in."""


def _environment(helm: Helm, values: Mapping[str, object] | None = None) -> dict[str, str]:
    entries = helm.render(values).environment
    return {name: FROM_THE_POD.get(name) or entry["value"] for name, entry in entries.items()}


def _settings(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name in [name for name in os.environ if name.startswith("LLAMA_OPERATOR_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_the_chart_sets_every_setting_and_no_variable_that_is_none(helm: Helm) -> None:
    expected = {f"LLAMA_OPERATOR_{name.upper()}" for name in Settings.model_fields if name not in OUTSIDE}
    assert set(_environment(helm)) == expected


def test_the_chart_and_the_code_have_the_same_defaults(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    charted = _settings(monkeypatch, _environment(helm)).model_dump()
    coded = Settings.model_construct().model_dump()
    given_by_the_release = {"image", "default_serving_image", "namespace", "pod_name"}
    differ = {name: (charted[name], coded[name]) for name in coded if name not in given_by_the_release and charted[name] != coded[name]}
    assert differ == {}


def test_values_reach_the_settings_that_their_comments_name(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "image": {"repository": "registry.example.com/op", "tag": "1", "pullPolicy": "Always"},
        "serving": {"defaultImage": "registry.example.com/serving:1"},
        "watchNamespaces": ["a", "b"],
        "prometheus": {"url": "http://p:9090", "timeoutSeconds": 1.5, "staleSeconds": 40},
        "autoscaling": {"intervalSeconds": 7},
        "reconcile": {"resyncSeconds": 70, "workers": 3, "maxLoadAttempts": 2, "retryBaseSeconds": 1, "retryMaxSeconds": 1000000},
        "head": {"storage": {"type": "emptyDir", "className": "fast", "size": "2Gi"}},
        "leaderElection": {"leaseName": "other", "leaseSeconds": 30},
        "log": {"level": "debug", "format": "console"},
        "ports": {"health": 9001, "metrics": 9002},
        "hub": {"endpoint": "http://mirror"},
        "cost": {
            "gpuHourPrices": {"nvidia-h100-80gb": 2.5, "cpu": 0.04},
            "apiPrices": [{"name": "x", "asOf": "2026-11", "prompt": [1, 2.5], "generated": [3, 4]}],
        },
        "canary": {"intervalSeconds": 30},
    }
    settings = _settings(monkeypatch, _environment(helm, values))
    assert settings.model_dump(exclude={*OUTSIDE}) == {
        "image": "registry.example.com/op:1",
        "image_pull_policy": "Always",
        "default_serving_image": "registry.example.com/serving:1",
        "namespace": "llama-system",
        "pod_name": "llama-operator-0",
        "watch_namespaces": ("a", "b"),
        "prometheus_url": "http://p:9090",
        "prometheus_timeout_seconds": 1.5,
        "metrics_stale_seconds": 40.0,
        "autoscale_interval_seconds": 7.0,
        "resync_seconds": 70.0,
        "head_storage": "emptyDir",
        "head_storage_class": "fast",
        "head_storage_size": "2Gi",
        "lease_name": "other",
        "lease_seconds": 30.0,
        "log_level": "debug",
        "log_format": "console",
        "health_port": 9001,
        "metrics_port": 9002,
        "workers": 3,
        "hub_endpoint": "http://mirror",
        "canary_interval_seconds": 30.0,
        "max_load_attempts": 2,
        "retry_base_seconds": 1.0,
        "retry_max_seconds": 1000000.0,
        "gpu_hour_prices": {"nvidia-h100-80gb": 2.5, "cpu": 0.04},
        "api_prices": ({"name": "x", "as_of": "2026-11", "prompt": (1.0, 2.5), "generated": (3.0, 4.0)},),
    }


def test_namespace_and_pod_name_come_from_the_pod_itself(helm: Helm) -> None:
    entries = helm.render().environment
    assert entries["LLAMA_OPERATOR_NAMESPACE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert entries["LLAMA_OPERATOR_POD_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_service_links_are_off_because_a_service_would_overwrite_our_environment(helm: Helm) -> None:
    """A Service `llama-operator-metrics` would bring LLAMA_OPERATOR_METRICS_PORT=tcp://… into every pod of the namespace."""
    assert helm.render().pod["spec"]["enableServiceLinks"] is False
