"""Who sets the number of replicas: whoever scales is obeyed without autoscaling. How it is named beside it: test_samples.py."""

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


def test_kubectl_scale_is_obeyed_without_autoscaling(local: Stage, namespace: Namespace) -> None:
    namespace.apply(local.simulated(NAME, args={"loadSeconds": 1}))
    namespace.wait_ready(NAME, 1, 180)
    scale(namespace, 2)
    namespace.wait_ready(NAME, 2, 120)
    namespace.delete_llama(NAME)
    namespace.wait_gone(NAME, 60)
