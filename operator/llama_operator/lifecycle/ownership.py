"""Who else writes the number of replicas while the autoscaler decides it.

The operator never writes `spec.replicas`: under `spec.autoscaling` it does not count. Whoever writes it then, by hand or through the scale
subresource as `kubectl scale`, a HorizontalPodAutoscaler and KEDA do, believes in something that is not so. The API server notes each
writer of each field in `metadata.managedFields`, so that no right to read other objects is needed
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_operator.rendering import names

DEFAULT = 1
"""What the CRD stores where nobody gave a number; an equal one harms nobody, and no writer of it is told."""
HPA = "kube-controller-manager"
"""Runs the HorizontalPodAutoscalers, among them those that KEDA makes of ScaledObjects
(https://keda.sh/docs/latest/concepts/scaling-deployments/)."""


def foreign_writer(raw: Mapping[str, Any]) -> str | None:
    """Of an autoscaled LlamaDeployment: who set its spec.replicas, and what to do. None where nobody else did.

    A number that no writer is noted for came through the scale subresource. A manifest that holds both fields is no foreign writer's: its
    author is warned (`api.rules.WARNINGS`).
    """
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    replicas = spec.get("replicas")
    if not spec.get("autoscaling") or replicas in (None, DEFAULT):
        return None
    key, book = names.Key(metadata["namespace"], metadata["name"]), set[str]()
    for entry in metadata.get("managedFields") or []:
        fields = ((entry.get("fieldsV1") or {}).get("f:spec")) or {}
        book |= fields.keys()
        if "f:replicas" not in fields or entry.get("manager") == names.FIELD_MANAGER:
            continue
        if entry.get("subresource") == "scale" or "f:autoscaling" not in fields:
            return _words(entry, replicas, key)
    # Seen with Kubernetes 1.34: a number that came through the scale subresource of a custom resource is noted for nobody.
    return _words({"subresource": "scale"}, replicas, key) if book and "f:replicas" not in book else None


def _words(entry: Mapping[str, Any], replicas: object, key: names.Key) -> str:
    manager = str(entry.get("manager") or "somebody")
    who = f"{manager} (a HorizontalPodAutoscaler, perhaps of a KEDA ScaledObject)" if manager == HPA else manager
    how = " through the scale subresource" if entry.get("subresource") == "scale" else ""
    when = f" at {entry['time']}" if entry.get("time") else ""
    reset = f'kubectl patch llamadeployment {key.name} -n {key.namespace} --type=merge -p \'{{"spec":{{"replicas":{DEFAULT}}}}}\''
    return (
        f"{who} set spec.replicas to {replicas}{how}{when}, which does not count while spec.autoscaling is set; remove what scales it, "
        f"then {reset}; or remove spec.autoscaling, and that number counts"
    )
