"""What every maker of manifests needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_operator.rendering import names
from llama_serving.config import ServingConfig

HEAD_STORE_PVC = "pvc"
HEAD_STORE_EMPTY_DIR = "emptyDir"


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What the operator's installation decides for all its pods."""

    operator_image: str
    image_pull_policy: str = "IfNotPresent"
    serving_image: str = ""
    head_store: str = HEAD_STORE_PVC
    head_store_class: str = ""
    head_store_size: str = "1Gi"
    operator_namespace: str = "llama-operator"


@dataclass(frozen=True, kw_only=True)
class RenderContext:
    """One revision of one LlamaDeployment, on its way into manifests."""

    name: str
    namespace: str
    uid: str
    revision: str
    serving: ServingConfig
    options: RenderOptions
    image: str
    gpu_resource: str = "nvidia.com/gpu"
    token_secret: tuple[str, str] | None = None
    """Name and key of the Secret with the model hub's token."""
    pod_template: Mapping[str, Any] = field(default_factory=dict)

    def owner_reference(self) -> dict[str, Any]:
        """The LlamaDeployment as its children's owner: the garbage collector removes them with it."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def metadata(self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Metadata of a child."""
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": dict(labels),
            "ownerReferences": [self.owner_reference()],
        }
        if annotations:
            metadata["annotations"] = dict(annotations)
        return metadata
