"""A plan as JSON, for programs: camelCase, bytes and seconds as plain numbers, null for what is not known.

The models below are its schema too: `crds/fit-plan.schema.json` is `json_schema()`, and a test holds the two together.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llama_operator.planning.facts import KnownFrom
from llama_operator.planning.fit.option import Fit
from llama_operator.planning.fit.plan import FitPlan

SCHEMA_VERSION: Literal[1] = 1
SCHEMA_FILE = "crds/fit-plan.schema.json"


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", use_attribute_docstrings=True)


class OptionDocument(_Part):
    """A split that holds what is wished. Bytes are of the GPU that has most of them."""

    tensor_parallel: int = Field(ge=1)
    """GPUs that share every layer."""
    pipeline_parallel: int = Field(ge=1)
    """Stages, each with a range of the layers."""
    layers_per_stage: list[int]
    """Layers of each stage."""
    gpus: int = Field(ge=0)
    """GPUs of one replica; 0 on a CPU."""
    nodes: int = Field(ge=1)
    """Nodes that one replica spans."""
    replicas_per_node: int | None
    """Replicas that one node holds; null where one needs several nodes, or on a CPU."""
    weight_bytes_per_gpu: int
    """Bytes of weights."""
    overhead_bytes_per_gpu: int
    """Bytes planned for all but weights and KV cache."""
    kv_cache_bytes_per_gpu: int
    """Bytes for KV cache, on the GPU whose room holds the fewest tokens."""
    kv_cache_blocks: int
    """Blocks of the KV cache."""
    kv_cache_tokens: int
    """Tokens of the KV cache, as vLLM reports them for the wished context."""
    max_concurrency_at_context: float
    """Sequences of the wished context that the KV cache holds, as vLLM reports them."""
    requests_at_context: int
    """The same in whole sequences, one block kept back as vLLM does."""
    decode_floor_seconds: float | None
    """Least time between tokens of one short request."""
    step_floor_seconds: float | None
    """Least time between tokens with the wished sequences of the wished context."""
    prefill_tokens_per_second: float | None
    """Most prompt tokens a second of one replica."""
    first_token_floor_seconds: float | None
    """Least time to the first token of a prompt of the wished context."""
    tokens_per_second: float | None
    """Most output tokens a second of one replica whose KV cache is full of sequences of the wished context."""
    load_seconds: float | None
    """Least time to read the weights."""
    price_per_million_tokens: float | None
    """Least price of a million output tokens, in the currency of the price given."""
    notes: list[str]
    """What to know beside the numbers."""


class RejectedDocument(_Part):
    """A split that cannot be."""

    option: str
    """The split in words."""
    tensor_parallel: int
    """GPUs that share every layer."""
    pipeline_parallel: int | None
    """Stages; null where no number of them would help."""
    rule: str
    """Why, in one word."""
    reason: str
    """Why, with the numbers."""


class ChangeDocument(_Part):
    """A change with which it would fit."""

    change: str
    """What to do, in words."""
    accelerator: str
    """The kind of GPU then."""
    chosen: OptionDocument
    """The split that would be chosen then."""


class ProblemDocument(_Part):
    """What is wrong with the question."""

    field: str
    """The field."""
    given: str
    """Its value."""
    allowed: str
    """What is allowed."""
    remedy: str
    """What to do."""


class PlanDocument(_Part):
    """Which splits of a model over GPUs fit, and why the others do not."""

    schema_version: Literal[1]
    """Version of this document."""
    verdict: Literal["fits", "does_not_fit", "invalid"]
    """Whether any split holds what is wished; invalid where the question makes no sense."""
    model: str
    """The model."""
    known_from: KnownFrom
    """Where its sizes are from: checkpoint, the headers of its tensors; catalogue, the operator's own; config, its config.json alone."""
    accelerator: str
    """The kind of GPU."""
    chosen: OptionDocument | None
    """The best split; null where none fits."""
    alternatives: list[OptionDocument]
    """The other splits that fit, best first."""
    rejected: list[RejectedDocument]
    """The splits that do not fit."""
    nearest: list[ChangeDocument]
    """Where nothing fits: changes with which something would."""
    problems: list[ProblemDocument]
    """Of an invalid question."""


def to_json(plan: FitPlan) -> dict[str, Any]:
    """The plan as a value that `json.dumps` takes."""
    document = PlanDocument(
        schema_version=SCHEMA_VERSION,
        verdict=plan.verdict,
        model=plan.model,
        known_from=plan.known_from,
        accelerator=plan.accelerator,
        chosen=None if plan.chosen is None else _option(plan.chosen),
        alternatives=[_option(fit) for fit in plan.alternatives],
        rejected=[
            RejectedDocument(
                option=each.option, tensor_parallel=each.tensor, pipeline_parallel=each.pipeline, rule=each.rule, reason=each.reason
            )
            for each in plan.rejected
        ],
        nearest=[ChangeDocument(change=each.change, accelerator=each.accelerator, chosen=_option(each.fit)) for each in plan.nearest],
        problems=[ProblemDocument(field=each.field, given=each.given, allowed=each.allowed, remedy=each.remedy) for each in plan.problems],
    )
    return document.model_dump(by_alias=True, mode="json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of what `to_json` makes."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **PlanDocument.model_json_schema(by_alias=True)}


def _option(fit: Fit) -> OptionDocument:
    return OptionDocument(
        tensor_parallel=fit.tensor,
        pipeline_parallel=fit.pipeline,
        layers_per_stage=list(fit.layers),
        gpus=fit.gpus,
        nodes=fit.nodes,
        replicas_per_node=fit.replicas_per_node,
        weight_bytes_per_gpu=fit.weight_bytes,
        overhead_bytes_per_gpu=fit.overhead_bytes,
        kv_cache_bytes_per_gpu=fit.kv_bytes,
        kv_cache_blocks=fit.cache.blocks,
        kv_cache_tokens=fit.cache.tokens,
        max_concurrency_at_context=fit.cache.concurrency,
        requests_at_context=fit.cache.requests,
        decode_floor_seconds=fit.decode_floor_seconds,
        step_floor_seconds=fit.step_floor_seconds,
        prefill_tokens_per_second=fit.prefill_tokens_per_second,
        first_token_floor_seconds=fit.first_token_seconds,
        tokens_per_second=fit.tokens_per_second,
        load_seconds=fit.load_seconds,
        price_per_million_tokens=fit.price_per_million_tokens,
        notes=list(fit.notes),
    )
