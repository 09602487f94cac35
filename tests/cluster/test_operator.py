"""The operator itself: quiet at rest, one leader, and nothing of its going or coming touches a model."""

from __future__ import annotations

import pytest
from playground.client import Client
from playground.kube import Namespace
from playground.operator import NAMESPACE
from playground.stage import Stage

pytestmark = pytest.mark.cluster
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:llama-operator"


def pods_of(namespace: Namespace, *names: str) -> dict[str, str]:
    """Pods of several deployments, by name."""
    every = [pod for name in names for component in ("replica", "head") for pod in namespace.pods(name, component)]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in every}


def test_two_deployments_here_and_one_elsewhere_are_all_served(stage: Stage, namespace: Namespace, client: Client) -> None:
    elsewhere = stage.namespace("test-operator-elsewhere")
    for space, name in ((namespace, "one"), (namespace, "two"), (elsewhere, "one")):
        space.apply(stage.simulated(name, model={"source": "file:///simulated", "servedName": f"{name}-of-{space.name}"}))
    for space, name in ((namespace, "one"), (namespace, "two"), (elsewhere, "one")):
        space.wait_ready(name, 1, 240)
        assert client.chat(f"http://{name}.{space.name}", f"{name}-of-{space.name}", "Hello")["status"] == 200
    assert client.chat(f"http://one.{namespace.name}", f"one-of-{elsewhere.name}", "Hello")["status"] == 404
    elsewhere.delete_llama("one")
    elsewhere.wait_gone("one", 60)
    elsewhere.remove()


def test_at_rest_it_writes_nothing_and_lists_at_most_twice_a_pass(local: Stage, namespace: Namespace) -> None:
    before = pods_of(namespace, "one", "two")
    namespace.wait_reason("one", "Progressing", "Complete", 60)
    namespace.wait_reason("two", "Progressing", "Complete", 60)
    counts = local.cluster.audit.count_for(ACCOUNT, seconds=45)
    writes = {verb: number for verb, number in counts.items() if verb[0] in ("create", "patch", "update", "delete") and verb[1] != "leases"}
    assert writes == {}
    passes = sum(number for verb, number in counts.items() if verb == ("list", "pods"))
    assert passes > 0
    assert pods_of(namespace, "one", "two") == before


def test_a_frozen_leader_is_replaced_and_does_not_write_again(local: Stage, namespace: Namespace) -> None:
    before = pods_of(namespace, "one", "two")
    local.operator.scale(2)
    first = local.operator.holder()
    local.freeze_pod(NAMESPACE, first)
    try:
        namespace.wait("the standby leads", lambda: local.operator.holder() not in (None, first), 60)
        namespace.patch_llama("one", {"spec": {"replicas": 2}})
        namespace.wait_ready("one", 2, 120)
    finally:
        local.thaw_pod(NAMESPACE, first)
    second = local.operator.holder()
    namespace.patch_llama("one", {"spec": {"replicas": 1}})
    namespace.wait_ready("one", 1, 120)
    assert local.operator.holder() == second
    assert pods_of(namespace, "one", "two") == before
    local.operator.scale(1)


def test_uninstalling_the_chart_leaves_models_and_objects_alone_and_installing_it_again_goes_on(
    stage: Stage, namespace: Namespace, client: Client
) -> None:
    before = pods_of(namespace, "one", "two")
    stage.operator.uninstall()
    assert client.chat("http://one", f"one-of-{namespace.name}", "Hello")["status"] == 200
    assert namespace.llama("one")["spec"]["engine"]["type"] == "simulated"
    stage.operator.install()
    namespace.patch_llama("two", {"spec": {"replicas": 2}})
    namespace.wait_ready("two", 2, 120)
    assert before.items() <= pods_of(namespace, "one", "two").items()
