"""Alerts that fire for real: the simulated engine's faults and killed parts, a real Prometheus, the rules of the chart in a rehearsal's time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localcluster.waiting import wait_for
from playground.client import Client
from playground.kube import Namespace
from playground.stage import Stage, autoscaling

pytestmark = pytest.mark.cluster

SHRINK = 30
"""Five minutes are ten seconds, a half hour is a minute."""
FAULTS = {
    "hung": {"LlamaNoTokens", "LlamaEngineStalled", "LlamaKvCacheSaturated", "LlamaAtMaxReplicas"},
    "stuck": {"LlamaLoadStalled"},
    "wide": {"LlamaPlacementBlocked"},
    "broken": {"LlamaRetriesExhausted"},
}
"""What each LlamaDeployment must be alerted for."""
SLOW_MACHINE = {"LlamaLoadStalled", "LlamaPlacementBlocked"}
"""Of these the others may be told too: at this pace every start takes long, and a full node has no place for the next pod."""


class Watch:
    """Every alert that has fired since it began, by LlamaDeployment."""

    def __init__(self, stage: Stage, namespace: Namespace) -> None:
        self._stage, self._namespace = stage, namespace
        self.seen: dict[tuple[str, str], str] = {}

    def look(self) -> None:
        for alert in self._stage.firing():
            if alert.get("namespace", self._namespace.name) == self._namespace.name:
                self.seen[alert.get("llama_operator_dev_deployment", ""), alert["alertname"]] = alert["summary"]

    def wait(self, wanted: set[tuple[str, str]], seconds: float) -> None:
        def there() -> bool:
            self.look()
            return wanted <= set(self.seen)

        try:
            wait_for("the alerts", there, seconds=seconds, every=1.0)
        except Exception as error:
            raise AssertionError(f"not fired: {sorted(wanted - set(self.seen))}; fired: {sorted(self.seen)}") from error


@pytest.fixture
def rehearsal(local: Stage) -> Iterator[Stage]:
    """Prometheus with the rules in short; two attempts at a load; as before afterwards."""
    local.operator.install(reconcile__maxLoadAttempts=2, reconcile__retryBaseSeconds=1)
    local.rehearse(SHRINK)
    yield local
    local.operator.install()
    local.rehearse(1)


def test_faults_and_killed_parts_are_told_each_for_its_own_deployment(rehearsal: Stage, namespace: Namespace, client: Client) -> None:
    watch = Watch(rehearsal, namespace)
    hung, *rest = manifests(rehearsal)
    namespace.apply(hung)
    namespace.wait_ready("hung", 1, 240)  # before the rest: seven Ray nodes that start at once on two cores take four minutes
    for manifest in rest:
        namespace.apply(manifest)
    load = client.load("http://hung", "hung", streams=2, seconds=900, tokens=20)
    watch.wait({(name, alert) for name, alerts in FAULTS.items() for alert in alerts}, 360)
    assert "requests are open and no token comes out" in watch.seen["hung", "LlamaNoTokens"]
    others = set().union(*FAULTS.values()) - SLOW_MACHINE
    assert {(name, alert) for name, alert in watch.seen if name in FAULTS and alert in others - FAULTS[name]} == set()

    (head,) = namespace.pods("hung", "head")
    rehearsal.freeze_pod(head["metadata"]["uid"])
    try:
        watch.wait({("hung", "LlamaHeadDown")}, 90)
    finally:
        rehearsal.thaw_pod(head["metadata"]["uid"])

    (engine,) = namespace.pods("hung")
    namespace.kill_pod(engine["metadata"]["name"])
    watch.wait({("hung", "LlamaStreamsCut")}, 60)
    load.stop()

    rehearsal.operator.scale(0)
    try:
        watch.wait({("", "LlamaOperatorDown")}, 60)
    finally:
        rehearsal.operator.scale(1)
    print("\n".join(f"{name or '-'}: {alert}: {summary}" for (name, alert), summary in sorted(watch.seen.items())))  # noqa: T201 -- the record


def manifests(stage: Stage) -> list[dict[str, Any]]:
    """One slot, whose engine hangs; a load that stops half way; one for which no node is large enough; one that has no memory."""
    slow = {"slots": 1, "tokensPerSecond": 5, "loadSeconds": 1, "fault": "hang", "faultAfterSeconds": 20}
    whole = {"hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 16}, "parallelism": {"tensor": 16}}
    return [
        # Down to none, since equal bounds are refused; while requests are open none goes.
        stage.simulated("hung", args=slow, autoscaling={**autoscaling(1, in_flight=1), "minReplicas": 0}),
        stage.simulated("stuck", args={"fault": "load-hang", "loadSeconds": 2}),
        stage.simulated("wide", **whole),
        stage.simulated("broken", args={"fault": "out-of-memory", "loadSeconds": 1}),
    ]
