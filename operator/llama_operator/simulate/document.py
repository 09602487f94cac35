"""What runs come to as JSON, for programs: camelCase, seconds as plain numbers, null for what does not exist.

The models below are its schema too: `crds/simulation.schema.json` is `json_schema()`, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llama_operator.simulate.figures import Figures

SCHEMA_VERSION: Literal[1] = 1
SCHEMA_FILE = "crds/simulation.schema.json"
REFERENCE = "clairvoyant"
"""The policy that the others are set against."""


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", use_attribute_docstrings=True)


class TimeToFirstToken(_Part):
    """Percentiles over all requests, in seconds; null where that request never had a first token."""

    p50: float | None
    """Half of the requests had a first token within this."""
    p95: float | None
    """95 of 100 had."""
    p99: float | None
    """99 of 100 had."""


class RunDocument(_Part):
    """One policy on the traffic."""

    policy: str
    """As --policy names it. After an @: with that one setting changed, as in ours@max=5."""
    requests: int = Field(ge=0)
    """How many arrived."""
    attainment: float | None = Field(ge=0, le=1)
    """Share of the requests with a first token within the objective; null without a request."""
    replica_seconds: float = Field(ge=0)
    """What it cost: seconds of replicas that load, serve or drain."""
    mean_replicas: float | None
    """The same for each second of the run; null where the run has no length."""
    ttft: TimeToFirstToken
    """Time to first token."""
    scale_events: int = Field(ge=0)
    """How often the wanted number was changed."""
    unserved: int = Field(ge=0)
    """Requests without a whole answer."""
    attainment_vs_clairvoyant: float | None
    """Attainment divided by that of the clairvoyant policy; null where that is not among the runs, or 0."""
    replica_seconds_vs_clairvoyant: float | None
    """Replica-seconds divided by those of the clairvoyant policy; null likewise."""


class SimulationDocument(_Part):
    """Policies on the same traffic, in the order in which they were asked for."""

    schema_version: Literal[1]
    """Version of this document."""
    runs: list[RunDocument]
    """One for each policy."""


def document(runs: Sequence[Figures]) -> SimulationDocument:
    """All runs, set against the clairvoyant one where it is among them."""
    known = next((run for run in runs if run.policy == REFERENCE), None)
    return SimulationDocument(schema_version=SCHEMA_VERSION, runs=[_run(run, known) for run in runs])


def to_json(runs: Sequence[Figures]) -> dict[str, Any]:
    """The same as a value that `json.dumps` takes."""
    return document(runs).model_dump(by_alias=True, mode="json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of what `to_json` makes."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **SimulationDocument.model_json_schema(by_alias=True)}


def _run(run: Figures, known: Figures | None) -> RunDocument:
    p50, p95, p99 = run.ttft
    return RunDocument(
        policy=run.policy,
        requests=run.requests,
        attainment=run.attainment,
        replica_seconds=run.replica_seconds,
        mean_replicas=run.mean_replicas,
        ttft=TimeToFirstToken(p50=p50, p95=p95, p99=p99),
        scale_events=run.scale_events,
        unserved=run.unserved,
        attainment_vs_clairvoyant=_ratio(run.attainment, known.attainment if known else None),
        replica_seconds_vs_clairvoyant=_ratio(run.replica_seconds, known.replica_seconds if known else None),
    )


def _ratio(value: float | None, to: float | None) -> float | None:
    return value / to if value is not None and to else None
