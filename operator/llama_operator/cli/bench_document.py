"""The report of `kubectl llama bench` as JSON: camelCase, seconds as plain numbers, null for what was not measured, with a note that says
why.

The models below are its schema. A later version adds fields, or raises `schemaVersion`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from llama_operator.api.depth import read_json
from llama_operator.api.problems import Problem
from llama_operator.cli.files import read_text
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.texts import json_text

SCHEMA_VERSION: Literal[1] = 1
LIMIT = 32_000_000
"""Characters of a report's file: eight loads of 10,000 requests take 5 million."""
KIND: Literal["LlamaBenchReport"] = "LlamaBenchReport"


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Percentile(_Part):
    """A percentile, and what it may be."""

    value: float
    """Seconds."""
    low: float | None
    """Lower end of the interval that holds the true percentile in 95 of 100 cases, were the requests independent of each other; null where
    there are too few for one."""
    high: float | None
    """Its upper end."""


class Times(_Part):
    """Of requests, or of the gaps between tokens: seconds."""

    count: int = Field(ge=1)
    """How many were measured."""
    mean: float
    """Their mean."""
    p50: Percentile
    """Half took at most this."""
    p90: Percentile
    """90 of 100."""
    p95: Percentile
    """95 of 100."""
    p99: Percentile
    """99 of 100."""


class Goodput(_Part):
    """Requests that kept every objective."""

    time_to_first_token_seconds: float | None
    """The deployment's objective; null where it has none."""
    inter_token_seconds: float | None
    """Likewise; kept by a request whose mean time for a token after the first is at most this."""
    share: float = Field(ge=0, le=1)
    """Of the requests that were sent."""
    requests_per_second: float = Field(ge=0)
    """So many a second."""


class Failure(_Part):
    """Requests that failed alike."""

    message: str
    """The last line of what the tool says."""
    count: int = Field(ge=1)
    """How many."""


class RunReport(_Part):
    """One load."""

    rate: float | None
    """Requests that arrived a second, by a Poisson process; null for a closed load."""
    concurrency: int | None
    """Requests that were under way at once; null for an open load."""
    requests: int = Field(ge=1)
    """Sent."""
    completed: int = Field(ge=0)
    """With a whole answer. Everything below is of these, but for the goodput's share."""
    failures: list[Failure]
    """The others, by what was said."""
    started_at: str
    """RFC 3339."""
    seconds: float = Field(gt=0)
    """From the first request sent to the last answer."""
    requests_per_second: float | None
    """Completed a second."""
    prompt_tokens: int | None
    """Of all completed requests, as the server counts them."""
    output_tokens: int | None
    """Likewise."""
    prompt_tokens_per_second: float | None
    """Over `seconds`."""
    output_tokens_per_second: float | None
    """Likewise."""
    peak_in_flight: int | None
    """Most completed requests that were under way at one moment."""
    time_to_first_token: Times | None
    """From sending a request to the first piece of its answer."""
    inter_token: Times | None
    """Between two pieces of an answer, which are tokens where the engine sends each alone."""
    time_per_output_token: Times | None
    """Of each request: the time after the first token, by the tokens after it."""
    end_to_end: Times | None
    """From sending a request to the last piece of its answer."""
    goodput: Goodput | None
    """Under the deployment's objectives; null where it has none."""
    samples: list[list[float | None]]
    """Of each request: when it was sent (seconds since the first), its time to first token, its whole time, its prompt's tokens and its
    answer's; the times null where it failed."""
    gaps: list[list[float]]
    """Histogram of the times between tokens: [from seconds, to seconds, how many]."""
    notes: list[str]
    """Why something is null, and what else one should know."""


class Arguments(_Part):
    """What was asked."""

    rates: list[float]
    """--rate."""
    concurrencies: list[int]
    """--concurrency."""
    requests: list[int]
    """Of each load."""
    seconds: int | None
    """--seconds."""
    input_tokens: int
    """--input-tokens."""
    output_tokens: int
    """--output-tokens."""
    temperature: float
    """Of every request."""
    seed: int
    """Of prompts and arrivals. Unlike seeds are unlike prompts, so that a prefix cache of an earlier run does not help."""


class Subject(_Part):
    """What was measured."""

    namespace: str
    """Its namespace."""
    name: str
    """The LlamaDeployment."""
    generation: int | None
    """Its metadata.generation."""
    revision: str | None
    """Of the pods that served."""
    model: str
    """Its served name."""
    source: str | None
    """spec.model.source."""
    engine: str | None
    """vllm or simulated."""
    accelerator: str | None
    """spec.hardware.accelerator."""
    tensor_parallel: int | None
    """From the plan."""
    pipeline_parallel: int | None
    """From the plan."""
    replicas_before: int | None
    """Ready when it began."""
    replicas_after: int | None
    """Ready when it ended."""
    image: str
    """Of the pods that served, and of the tool's."""


class Report(_Part):
    """The whole report."""

    kind: Literal["LlamaBenchReport"] = KIND
    """LlamaBenchReport"""
    schema_version: Literal[1] = SCHEMA_VERSION
    """1"""
    started_at: str
    """RFC 3339."""
    ended_at: str
    """RFC 3339."""
    versions: dict[str, str | None]
    """kubectlLlama: this command. tool: vLLM in the serving image, whose `bench serve` sent the requests."""
    deployment: Subject
    """What was measured."""
    arguments: Arguments
    """What was asked."""
    runs: list[RunReport] = Field(min_length=1)
    """One for each load."""
    notes: list[str]
    """Of the report as a whole."""


def to_json(report: Report) -> dict[str, Any]:
    """As it is written."""
    return report.model_dump(by_alias=True, mode="json")


def to_text(report: Report) -> str:
    """A file's text."""
    return json_text(to_json(report)) + "\n"


def read_report(path: str) -> Report:
    """A report from a file. Raises BadInput for what is none."""
    field = "--compare"
    text = read_text(path, field, LIMIT)
    try:
        if len(text) > LIMIT:
            raise _no_report(path, f"of more than {LIMIT:,} characters")
        document = read_json(text)
        if not isinstance(document, dict) or document.get("kind") != KIND:
            raise _no_report(path, f"no {KIND}")
        if document.get("schemaVersion") != SCHEMA_VERSION:
            raise _no_report(path, f"of schemaVersion {document.get('schemaVersion')!r:.20}")
        return Report.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _no_report(path, f"whose {where} is wrong: {first['msg']}") from None
    except ValueError as error:
        raise _no_report(path, f"no JSON: {error}") from None


def _no_report(path: str, why: str) -> BadInput:
    allowed = f"a report of kubectl llama bench, of schemaVersion {SCHEMA_VERSION}"
    remedy = "Name the report.json that bench wrote."
    return BadInput.of(Problem(field="--compare", given=f"{quoted(path)} ({why})", allowed=allowed, remedy=remedy))
