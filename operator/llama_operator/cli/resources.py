"""A document of a file as the operator would take it: its spec, or everything that it would refuse."""

from __future__ import annotations

from dataclasses import dataclass

from llama_operator.api.documents import Document, Located
from llama_operator.api.v1alpha1 import KIND, LlamaDeploymentSpec
from llama_operator.api.validation import validate


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One LlamaDeployment of a file."""

    name: str
    spec: LlamaDeploymentSpec | None
    """None where it is refused."""
    errors: tuple[Located, ...] = ()
    """Of its fields alone: what only the model can tell is `planning.admission`'s."""


def is_ours(document: Document) -> bool:
    """Whether it says that it is a LlamaDeployment."""
    return isinstance(document.value, dict) and document.value.get("kind") == KIND


def read_resource(document: Document) -> Resource:
    """A LlamaDeployment's fields, as `control.reconcile` looks at them."""
    metadata = document.value.get("metadata")
    name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
    errors = [*document.problems, *document.locate(validate(document.value))]
    if errors:
        return Resource(name=name, spec=None, errors=tuple(errors))
    return Resource(name=name, spec=LlamaDeploymentSpec.model_validate(document.value["spec"]))
