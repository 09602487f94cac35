"""What protects the pods: the disruption budget, the network policy, the claim that keeps the head's memory, the token."""

from __future__ import annotations

from typing import Any

from llama_operator.rendering import names
from llama_operator.rendering.context import RenderContext
from llama_serving import config as serving


def disruption_budget(context: RenderContext, replicas: int, pods_per_gang: int) -> dict[str, Any]:
    """Of several wanted replicas one pod may be evicted, and none while another is not ready: a node drain waits instead of taking the
    model down. A single replica may go, or its node could never be drained.

    The number stands here as pods. `maxUnavailable`, or a percentage, lets Kubernetes ask the pods' owner how many there should be
    (getExpectedScale in https://github.com/kubernetes/kubernetes/blob/v1.34.4/pkg/controller/disruption/disruption.go): the owner is the
    LlamaDeployment, whose scale counts replicas, not pods, and while it autoscales is not what is wanted.

    One pod, not the pods of one gang: a budget cannot say which pods belong together, and that many evictions could break as many gangs.
    Nor does a drain need more, for the operator itself deletes what is left of a gang that lost a pod.
    """
    least = replicas * pods_per_gang - 1 if replicas > 1 else 0
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": context.metadata(context.name, names.common_labels(context.name)),
        "spec": {
            "minAvailable": least,
            "maxUnavailable": None,  # the two exclude each other: one that somebody set goes, or the API server would refuse ours
            "selector": {"matchLabels": {names.LABEL_DEPLOYMENT: context.name, names.LABEL_COMPONENT: names.REPLICA}},
        },
    }


def network_policy(context: RenderContext) -> dict[str, Any]:
    """Everything in is denied but: users to the OpenAI port, scrapers to the metrics port, the operator to agent and dashboard, Ray
    among its own pods.

    Out is open: model hubs, object stores and tracing live where the operator cannot know.
    """
    own = {"podSelector": {"matchLabels": {names.LABEL_DEPLOYMENT: context.name}}}
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": context.options.operator_namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "llama-operator"}},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": context.metadata(context.name, names.common_labels(context.name)),
        "spec": {
            "podSelector": own["podSelector"],
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [own]},
                {"ports": [{"protocol": "TCP", "port": serving.HTTP_PORT}, {"protocol": "TCP", "port": serving.METRICS_PORT}]},
                {
                    "from": [operator],
                    "ports": [{"protocol": "TCP", "port": serving.AGENT_PORT}, {"protocol": "TCP", "port": serving.DASHBOARD_PORT}],
                },
            ],
        },
    }


def head_store_claim(context: RenderContext) -> dict[str, Any]:
    """The volume on which the head keeps Ray's state, so that a new head pod takes up where the lost one stopped."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": context.options.head_store_size}},
    }
    if context.options.head_store_class:
        spec["storageClassName"] = context.options.head_store_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": context.metadata(
            names.head_store(context.name, context.revision), names.revision_labels(context.name, context.revision)
        ),
        "spec": spec,
    }


def token_secret(context: RenderContext, token: str) -> dict[str, Any]:
    """The Secret that lets the pods of one LlamaDeployment, and the operator, talk to its Ray."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": context.metadata(names.token_secret(context.name), names.common_labels(context.name)),
        "immutable": True,
        "stringData": {"auth_token": token},
    }
