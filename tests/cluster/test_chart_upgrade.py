"""An upgrade of the chart touches no model: from the first chart there was, with its values, and with those of now.

helm/history/0001 is that chart, without its CRD (test_crd_upgrade.py has that) and its helm test. The operator's image is of now in both:
what an older operator wrote is read by tests/sim/test_crd_upgrade.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from playground.client import Client
from playground.kube import Namespace
from playground.operator import NAMESPACE, RELEASE
from playground.stage import Stage

pytestmark = pytest.mark.cluster
FIRST = Path(__file__).resolve().parents[2] / "helm" / "history" / "0001"
NAME = "kept"


def running(namespace: Namespace) -> dict[str, tuple[str, int]]:
    """Each pod's uid, and how often its containers were started again."""
    pods = [pod for kind in ("head", "replica") for pod in namespace.pods(NAME, kind)]
    return {
        pod["metadata"]["name"]: (pod["metadata"]["uid"], sum(item["restartCount"] for item in pod["status"]["containerStatuses"]))
        for pod in pods
    }


def settings(stage: Stage) -> set[str]:
    """Names of the operator's environment variables, as the chart made them."""
    found = stage.api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}")
    return {entry["name"] for entry in found["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_an_upgrade_from_the_first_chart_keeps_objects_and_models_running(stage: Stage, namespace: Namespace, client: Client) -> None:
    namespace.apply(stage.simulated(NAME, args={"loadSeconds": 1}))
    namespace.wait_ready(NAME, 1, 240)
    stage.operator.uninstall()
    before, made = running(namespace), namespace.llama(NAME)["metadata"]
    try:
        stage.operator.install(chart=FIRST)
        assert "LLAMA_OPERATOR_CANARY_INTERVAL_SECONDS" not in settings(stage)
        stage.operator.upgrade_with_former_values()
        assert "LLAMA_OPERATOR_CANARY_INTERVAL_SECONDS" in settings(stage)
    finally:
        stage.operator.install()
    assert client.chat(f"http://{NAME}", NAME, "Hello")["status"] == 200
    assert running(namespace) == before
    found = namespace.llama(NAME)["metadata"]
    assert (found["uid"], found["generation"]) == (made["uid"], made["generation"])
    namespace.patch_llama(NAME, {"spec": {"replicas": 2}})
    namespace.wait_ready(NAME, 2, 240)
    assert before.items() <= running(namespace).items()
