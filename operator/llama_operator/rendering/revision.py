"""A revision: the manifests of one set of pods, rendered once and pinned in a ControllerRevision.

The hash is taken over the fields of the spec that need new pods, as the user gave them, never over what this version of the operator makes
of them. A newer operator thus finds the same revision, reads the pinned manifests back, and restarts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.rendering import guards, names, pods, serve_app, services
from llama_operator.rendering.context import HEAD_STORE_PVC, RenderContext
from llama_serving.config import ServingConfig

PIN_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What a revision runs, whatever the operator's version."""

    revision: str
    head: dict[str, Any]
    head_service: dict[str, Any]
    head_store: dict[str, Any] | None
    gang: tuple[dict[str, Any], ...]
    """One pod for each rank, with the gang's number left open."""
    application: dict[str, Any]

    @property
    def gpus_per_pod(self) -> int:
        """GPUs that each pod of a gang asks for."""
        return int(self.application["applications"][0]["args"]["gpus_per_pod"])

    @property
    def split(self) -> tuple[int, int]:
        """Tensor and pipeline parallelism."""
        args = self.application["applications"][0]["args"]
        return int(args["tensor_parallel"]), int(args["pipeline_parallel"])

    @property
    def serve_deployment(self) -> str:
        """The Serve deployment that is scaled."""
        return str(self.application["applications"][0]["deployments"][0]["name"])

    @property
    def config(self) -> ServingConfig:
        """The pods' configuration."""
        given = self.application["applications"][0]["args"]
        # A newer operator may have pinned a field that this version does not know: its pods know it, and nothing here needs it.
        return ServingConfig(**{key: value for key, value in given.items() if key in ServingConfig.__dataclass_fields__})

    def gang_pods(self, gang: int) -> list[dict[str, Any]]:
        """The manifests of gang number `gang`, by rank."""
        return [pods.number_gang(template, gang) for template in self.gang]


def render(context: RenderContext) -> Pinned:
    """All manifests of a revision."""
    return Pinned(
        revision=context.revision,
        head=pods.head_pod(context),
        head_service=services.head_service(context),
        head_store=guards.head_store_claim(context) if context.options.head_store == HEAD_STORE_PVC else None,
        gang=tuple(pods.gang_pod(context, rank) for rank in range(context.serving.pods_per_gang)),
        application=serve_app.application(context.serving),
    )


def to_controller_revision(context: RenderContext, pinned: Pinned, number: int) -> dict[str, Any]:
    """The ControllerRevision that keeps `pinned`; `number` orders revisions in time."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": context.metadata(
            names.revision_object(context.name, context.revision), names.revision_labels(context.name, context.revision)
        ),
        "revision": number,
        "data": {
            "schema": PIN_SCHEMA,
            "head": pinned.head,
            "headService": pinned.head_service,
            "headStore": pinned.head_store,
            "gang": list(pinned.gang),
            "application": pinned.application,
        },
    }


def from_controller_revision(manifest: Mapping[str, Any], key: names.Key, uid: str) -> Pinned | None:
    """What `to_controller_revision` kept for the LlamaDeployment `key` with that uid; None when another hand wrote it.

    Whoever may write ControllerRevisions in a namespace may write there what they like, and the operator makes what it reads back. So only
    what it would have made itself is read: the same kinds, under the same names, of the same owner, and in the same namespace. A pod's spec
    is the user's anyway (spec.podTemplate).
    """
    data, metadata = _mapping(manifest.get("data")), _mapping(manifest.get("metadata"))
    revision = _mapping(metadata.get("labels")).get(names.LABEL_REVISION)
    fields = ("head", "headService", "gang", "application")
    if data.get("schema") != PIN_SCHEMA or not isinstance(revision, str) or not revision or any(field not in data for field in fields):
        return None
    if (metadata.get("name"), metadata.get("namespace")) != (names.revision_object(key.name, revision), key.namespace):
        return None
    head, service, store, gang = data["head"], data["headService"], data.get("headStore"), data["gang"]
    if not isinstance(gang, list) or not gang:
        return None
    name, head_name, common = key.name, names.head(key.name, revision), names.revision_labels(key.name, revision)
    expected: list[tuple[Any, str, str, Mapping[str, str]]] = [
        (head, "Pod", head_name, {**common, names.LABEL_COMPONENT: names.HEAD}),
        (service, "Service", head_name, common),
    ]
    if store is not None:
        expected.append((store, "PersistentVolumeClaim", names.head_store(name, revision), common))
    for rank, pod in enumerate(gang):
        # Traffic is left out: the label of a running pod is the operator's to change, and that of a pinned one was never selected by.
        place = names.gang_labels(name, revision, pods.GANG_PLACEHOLDER, rank)
        place.pop(names.LABEL_TRAFFIC)
        expected.append((pod, "Pod", names.gang_pod(name, revision, pods.GANG_PLACEHOLDER, rank), place))
    if not all(_is_child(child, kind, child_name, wanted, key.namespace, uid) for child, kind, child_name, wanted in expected):
        return None
    return Pinned(revision=revision, head=head, head_service=service, head_store=store, gang=tuple(gang), application=data["application"])


def is_of_newer_operator(manifest: Mapping[str, Any]) -> bool:
    """Is this a record of a format to come? It is not read, and kept for whoever reads it."""
    schema = _mapping(manifest.get("data")).get("schema")
    return isinstance(schema, int) and schema > PIN_SCHEMA


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_child(manifest: Any, kind: str, name: str, labels: Mapping[str, str], namespace: str, uid: str) -> bool:
    """Is this the child of that kind and name, of the LlamaDeployment with that uid and of nobody else?"""
    metadata = _mapping(_mapping(manifest).get("metadata"))
    owners = metadata.get("ownerReferences")
    said = (_mapping(manifest).get("kind"), metadata.get("name"), metadata.get("namespace"))
    return (
        said == (kind, name, namespace)
        and labels.items() <= _mapping(metadata.get("labels")).items()
        and isinstance(owners, list)
        and [_mapping(owner).get("uid") for owner in owners] == [uid]
    )
