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


def from_controller_revision(manifest: Mapping[str, Any]) -> Pinned | None:
    """What `to_controller_revision` kept; None when another hand wrote it."""
    data = manifest.get("data") or {}
    revision = manifest.get("metadata", {}).get("labels", {}).get(names.LABEL_REVISION)
    fields = ("head", "headService", "gang", "application")
    if data.get("schema") != PIN_SCHEMA or not revision or any(field not in data for field in fields):
        return None
    return Pinned(
        revision=revision,
        head=data["head"],
        head_service=data["headService"],
        head_store=data.get("headStore"),
        gang=tuple(data["gang"]),
        application=data["application"],
    )
