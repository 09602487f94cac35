"""Whether a model can be split as the spec asks, decided from its config.json before any pod exists.

The arithmetic itself is `llama_serving.config.ModelShape`: the pods repeat the check without the operator's package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_operator.api.problems import Problem, show
from llama_operator.planning.parallelism import parallelism_of
from llama_serving.config import ModelShape, ShapeError

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec

__all__ = ["ModelShape", "check_parallelism", "check_shape", "read_shape"]


def read_shape(config: object) -> ModelShape | Problem:
    """The shape in a parsed config.json, or why the model cannot be served."""
    try:
        return ModelShape.from_config(config)
    except ShapeError as error:
        given = config.get("architectures") if isinstance(config, dict) else config
        allowed = f"a model whose config.json is a Llama's ({error})"
        return Problem(
            field="spec.model.source", given=f"a model with architectures {show(given)}", allowed=allowed, remedy="Name a Llama."
        )


def check_parallelism(shape: ModelShape, tensor: int, pipeline: int) -> list[Problem]:
    """The problems of splitting that shape over `tensor` x `pipeline` ranks; empty where vLLM can."""
    problems = []
    if not shape.allows_tensor(tensor):
        splits = ", ".join(map(str, shape.splits()))
        sizes = f"{shape.heads} attention heads, {shape.kv_heads} KV heads, MLP of {shape.intermediate}"
        allowed = f"{splits}, which divide the model's {sizes}"
        problems.append(
            Problem(
                field="spec.parallelism.tensor",
                given=str(tensor),
                allowed=allowed,
                remedy="Choose one of these; pipeline may take the rest.",
            )
        )
    if pipeline > shape.layers:
        allowed = f"1 to {shape.layers}, the model's layers"
        problems.append(Problem(field="spec.parallelism.pipeline", given=str(pipeline), allowed=allowed, remedy="Lower it."))
    return problems


def check_context(shape: ModelShape, max_tokens: int | None) -> list[Problem]:
    """The problem of a context longer than the model was made for; unknown lengths pass."""
    if max_tokens is None or shape.max_positions is None or max_tokens <= shape.max_positions:
        return []
    allowed = f"1 to {shape.max_positions}, the model's max_position_embeddings"
    return [
        Problem(field="spec.context.maxTokens", given=str(max_tokens), allowed=allowed, remedy="Lower it, or remove it for the longest.")
    ]


def check_shape(shape: ModelShape, spec: LlamaDeploymentSpec) -> list[Problem]:
    """The problems of a spec with a model of that shape, memory apart."""
    split = parallelism_of(spec)
    return check_parallelism(shape, split.tensor, split.pipeline) + check_context(shape, spec.context.max_tokens)
