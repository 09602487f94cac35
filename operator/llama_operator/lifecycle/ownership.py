"""Who else writes the number of replicas while the autoscaler decides it.

The operator never writes `spec.replicas`: under `spec.autoscaling` it does not count. Whoever writes it then, by hand or through the scale
subresource as `kubectl scale`, a HorizontalPodAutoscaler and KEDA do, believes in something that is not so.

    that somebody did   the API server's own book of writers, `metadata.managedFields`
                        (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management)
    who                 the book; and the HorizontalPodAutoscalers that name the LlamaDeployment as their target: Kubernetes 1.34 notes
                        nobody for a number that came through the scale subresource of a custom resource
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.rendering import names

DEFAULT = 1
"""What the CRD stores where nobody gave a number; an equal one harms nobody, and no writer of it is told."""
HPA = "kube-controller-manager"
"""Runs the HorizontalPodAutoscalers, among them those that KEDA makes of ScaledObjects
(https://keda.sh/docs/latest/concepts/scaling-deployments/)."""
KEDA = "keda.sh"
"""The API group of ScaledObjects."""
NAMED = 3
"""HorizontalPodAutoscalers of one LlamaDeployment that are told by name. Already two of them work against each other."""


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """A HorizontalPodAutoscaler, the LlamaDeployment that it scales, and the KEDA ScaledObject that it was made of, if any."""

    name: str
    target: str
    scaled_object: str | None = None

    def __str__(self) -> str:
        own = f"HorizontalPodAutoscaler {self.name}"
        return f"KEDA ScaledObject {self.scaled_object} (through {own})" if self.scaled_object else own

    def removal(self, namespace: str) -> str:
        """The command that ends it. KEDA would make its HorizontalPodAutoscaler anew."""
        what = f"scaledobject {self.scaled_object}" if self.scaled_object else f"hpa {self.name}"
        return f"kubectl delete {what} -n {namespace}"


def read_scalers(manifests: Iterable[Mapping[str, Any]]) -> tuple[Scaler, ...]:
    """Those of some HorizontalPodAutoscalers that scale a LlamaDeployment, in whatever version."""
    found = []
    for manifest in manifests:
        metadata, target = manifest["metadata"], (manifest.get("spec") or {}).get("scaleTargetRef") or {}
        if (_group(target), target.get("kind")) == (names.GROUP, names.KIND):
            owners = metadata.get("ownerReferences") or []
            keda = next((owner["name"] for owner in owners if (_group(owner), owner["kind"]) == (KEDA, "ScaledObject")), None)
            found.append(Scaler(name=metadata["name"], target=str(target.get("name")), scaled_object=keda))
    return tuple(found)


def _group(reference: Mapping[str, Any]) -> str:
    return str(reference.get("apiVersion") or "").rpartition("/")[0]


def foreign_writer(raw: Mapping[str, Any], scalers: Sequence[Scaler] = ()) -> str | None:
    """Of an autoscaled LlamaDeployment: who set its spec.replicas, and what to do. None where nobody else did.

    A number that no writer is noted for came through the scale subresource; of the `scalers` of the namespace, its own are named for it. A
    manifest that holds both fields is no foreign writer's: its author is warned (`api.rules.WARNINGS`).
    """
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    replicas = spec.get("replicas")
    if not spec.get("autoscaling") or replicas in (None, DEFAULT):
        return None
    key, book = names.Key(metadata["namespace"], metadata["name"]), set[str]()
    own = [scaler for scaler in scalers if scaler.target == key.name]
    for entry in metadata.get("managedFields") or []:
        fields = ((entry.get("fieldsV1") or {}).get("f:spec")) or {}
        book |= fields.keys()
        if "f:replicas" not in fields or entry.get("manager") == names.FIELD_MANAGER:
            continue
        if entry.get("subresource") == "scale" or "f:autoscaling" not in fields:
            return _words(entry, replicas, key, own)
    return _words({"subresource": "scale"}, replicas, key, own) if book and "f:replicas" not in book else None


def _words(entry: Mapping[str, Any], replicas: object, key: names.Key, scalers: Sequence[Scaler]) -> str:
    manager, listed = entry.get("manager"), _listed(scalers)
    # Whatever another hand sets, a HorizontalPodAutoscaler soon sets what it wants: where nobody is noted and one is there, it is named.
    if listed and manager in (None, HPA):
        who, too = listed, ""
    else:
        who, too = _manager(manager), f", and {listed} scales it too" if listed else ""
    how = " through the scale subresource" if entry.get("subresource") == "scale" else ""
    when = f" at {entry['time']}" if entry.get("time") else ""
    removal = f" ({'; '.join(scaler.removal(key.namespace) for scaler in scalers[:NAMED])})" if scalers else ""
    reset = f'kubectl patch llamadeployment {key.name} -n {key.namespace} --type=merge -p \'{{"spec":{{"replicas":{DEFAULT}}}}}\''
    return (
        f"{who} set spec.replicas to {replicas}{how}{when}, which does not count while spec.autoscaling is set{too}; "
        f"remove what scales it{removal}, then {reset}; or remove spec.autoscaling, and that number counts"
    )


def _manager(manager: object) -> str:
    if manager == HPA:
        return f"{HPA} (a HorizontalPodAutoscaler, perhaps of a KEDA ScaledObject)"
    return str(manager or "somebody")


def _listed(scalers: Sequence[Scaler]) -> str:
    more = [f"{len(scalers) - NAMED} more"] if len(scalers) > NAMED else []
    return " and ".join([*map(str, scalers[:NAMED]), *more])
