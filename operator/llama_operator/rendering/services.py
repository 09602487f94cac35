"""The Service that users call, and the headless one by which Ray's nodes find their head."""

from __future__ import annotations

from typing import Any

from llama_operator.rendering import names
from llama_operator.rendering.context import RenderContext
from llama_serving import config as serving

USER_PORT = 80


def user_service(context: RenderContext) -> dict[str, Any]:
    """Ready pods of every revision that the operator lets traffic into."""
    labels = names.common_labels(context.name)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": context.metadata(names.service(context.name), labels),
        "spec": {
            "type": "ClusterIP",
            "selector": {names.LABEL_DEPLOYMENT: context.name, names.LABEL_TRAFFIC: "true"},
            "ports": [{"name": "openai", "port": USER_PORT, "targetPort": serving.HTTP_PORT, "protocol": "TCP"}],
        },
    }


def head_service(context: RenderContext) -> dict[str, Any]:
    """The head's name. It resolves before the head is ready, because the head becomes ready only with its own GCS up."""
    labels = names.revision_labels(context.name, context.revision)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": context.metadata(names.head(context.name, context.revision), labels),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**labels, names.LABEL_COMPONENT: names.HEAD},
            "ports": [
                {"name": "gcs", "port": serving.GCS_PORT, "targetPort": serving.GCS_PORT, "protocol": "TCP"},
                {"name": "dashboard", "port": serving.DASHBOARD_PORT, "targetPort": serving.DASHBOARD_PORT, "protocol": "TCP"},
            ],
        },
    }
