"""Who sets the number of replicas: whoever scales is obeyed without autoscaling, and named beside it."""

from __future__ import annotations

from typing import Any

import pytest

from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster
NAME, FOLLOWER = "owned", "followed"
HPA = "at-least-two"


def scale(namespace: Namespace, replicas: int) -> None:
    """`kubectl scale`: a patch of the scale subresource."""
    path = f"/apis/llama-operator.dev/v1alpha1/namespaces/{namespace.name}/llamadeployments/{NAME}/scale"
    body = {"spec": {"replicas": replicas}}
    namespace.api.request("PATCH", f"{path}?fieldManager=kubectl", body, content_type="application/merge-patch+json")


def test_kubectl_scale_is_obeyed_without_autoscaling_and_named_beside_it(local: Stage, namespace: Namespace) -> None:
    namespace.apply(local.simulated(NAME, args={"loadSeconds": 1}))
    namespace.wait_ready(NAME, 1, 180)
    scale(namespace, 2)
    namespace.wait_ready(NAME, 2, 120)

    both = {"minReplicas": 2, "maxReplicas": 3, "objective": {"inFlightPerReplica": 4}}
    namespace.patch_llama(NAME, {"spec": {"autoscaling": both}})
    scale(namespace, 3)

    def named() -> bool:
        told = namespace.condition(NAME, "ScalingContested")
        return told.get("reason") == "ForeignWriter" and "set spec.replicas to 3 through the scale subresource" in told["message"]

    # At first it may name the 2 from before: set by the same hand, and still there when autoscaling came.
    namespace.wait("whoever set 3 beside the autoscaler is named", named, 60, NAME)
    assert namespace.status(NAME)["autoscaling"]["desiredReplicas"] == 2
    namespace.patch_llama(NAME, {"spec": {"replicas": 1}})
    namespace.wait_reason(NAME, "ScalingContested", "SoleWriter", 60)

    namespace.delete_llama(NAME)
    namespace.wait_gone(NAME, 60)


def hpa() -> dict[str, Any]:
    """An autoscaler of Kubernetes itself. What is below its minimum it raises by its own sync, every 15 s, without asking for any metric."""
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    spec = {
        "scaleTargetRef": {"apiVersion": "llama-operator.dev/v1alpha1", "kind": "LlamaDeployment", "name": FOLLOWER},
        "minReplicas": 2,
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": HPA}, "spec": spec}


def test_a_horizontal_pod_autoscaler_is_obeyed_without_autoscaling_and_named_beside_it(local: Stage, namespace: Namespace) -> None:
    namespace.apply(local.simulated(FOLLOWER, args={"loadSeconds": 1}))
    namespace.apply(hpa())
    # Nothing needs to serve for any of it: the number is set, and asked for.
    namespace.wait("the autoscaler of Kubernetes sets 2", lambda: namespace.llama(FOLLOWER)["spec"]["replicas"] == 2, 90, FOLLOWER)
    namespace.wait("two are wanted", lambda: str(namespace.status(FOLLOWER).get("ready")).endswith("/2"), 30, FOLLOWER)
    assert not namespace.condition(FOLLOWER, "ScalingContested")

    own = {"minReplicas": 3, "maxReplicas": 4, "objective": {"inFlightPerReplica": 4}}
    namespace.patch_llama(FOLLOWER, {"spec": {"autoscaling": own}})

    def named() -> bool:
        said = namespace.condition(FOLLOWER, "ScalingContested").get("message", "")
        return (
            f"HorizontalPodAutoscaler {HPA} set spec.replicas to 2 through the scale subresource" in said and f"delete hpa {HPA} -n" in said
        )

    # What was listed for another of the namespace counts for half a minute.
    namespace.wait("the autoscaler of Kubernetes is named", named, 60, FOLLOWER)
    assert namespace.condition(FOLLOWER, "ScalingContested")["reason"] == "ForeignWriter"
    assert namespace.status(FOLLOWER)["autoscaling"]["desiredReplicas"] == 3

    # As the message says.
    namespace.api.delete(f"/apis/autoscaling/v2/namespaces/{namespace.name}/horizontalpodautoscalers/{HPA}")
    namespace.patch_llama(FOLLOWER, {"spec": {"replicas": 1}})
    namespace.wait_reason(FOLLOWER, "ScalingContested", "SoleWriter", 60)
