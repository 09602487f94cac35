"""Who sets the number of replicas: whoever scales is obeyed without autoscaling, and named beside it."""

from __future__ import annotations

import pytest

from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster
NAME = "owned"


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

    both = {"minReplicas": 2, "maxReplicas": 2, "objective": {"inFlightPerReplica": 4}}
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
