"""A document of a file as the operator would take it: its spec, or everything that it would refuse."""

from __future__ import annotations

from dataclasses import dataclass

from llama_operator.api.documents import Document, Located
from llama_operator.api.v1alpha1 import KIND, LlamaDeploymentSpec
from llama_operator.api.validation import validate
from llama_operator.planning.shape import check_model


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One LlamaDeployment of a file."""

    name: str
    spec: LlamaDeploymentSpec | None
    """None where it is refused."""
    errors: tuple[Located, ...] = ()
    """Of its fields alone: what only the model can tell is in `of_model`."""
    of_model: tuple[Located, ...] = ()
    """What a model of the catalogue does not allow."""


def is_ours(document: Document) -> bool:
    """Whether it says that it is a LlamaDeployment."""
    return isinstance(document.value, dict) and document.value.get("kind") == KIND


def read_resource(document: Document) -> Resource:
    """A LlamaDeployment, as `control.reconcile` looks at it: its fields, then its split with the model's shape."""
    metadata = document.value.get("metadata")
    name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
    errors = [*document.problems, *document.locate(validate(document.value))]
    if errors:
        return Resource(name=name, spec=None, errors=tuple(errors))
    spec = LlamaDeploymentSpec.model_validate(document.value["spec"])
    return Resource(name=name, spec=spec, of_model=tuple(document.locate(check_model(spec))))
