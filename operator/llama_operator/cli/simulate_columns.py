"""What is told of a run in columns: the same on a table and on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from llama_operator.cli.simulate_question import Question
from llama_operator.simulate.document import RunDocument
from llama_operator.simulate.lineup import OURS

SETTINGS: Mapping[str, str] = {
    "min": "minReplicas",
    "max": "maxReplicas",
    "target": "inFlightPerReplica",
    "ttft": "timeToFirstTokenSeconds",
}


class Column(NamedTuple):
    """Its title, the same in as many lines as a narrow column needs, what it shows of a run, and whether a narrow terminal has it too."""

    title: str
    folded: str
    show: Callable[[RunDocument], str]
    narrow: bool


def of_policies(rows: Sequence[RunDocument]) -> list[Column]:
    """Of every policy that was asked for; those about the clairvoyant where it is among them."""
    columns = [
        Column("attained", "attained", lambda row: number(row.attainment, ".2%"), True),
        Column("replica-hours", "replica-\nhours", lambda row: _hours(row.replica_seconds), True),
        Column("mean replicas", "mean\nreplicas", lambda row: number(row.mean_replicas, ".2f"), False),
        Column("p50 s", "p50\ns", lambda row: number(row.ttft.p50, ".2f"), False),
        Column("p95 s", "p95\ns", lambda row: number(row.ttft.p95, ".2f"), True),
        Column("p99 s", "p99\ns", lambda row: number(row.ttft.p99, ".2f"), False),
        Column("changes", "changes", lambda row: f"{row.scale_events:,}", True),
        Column("unserved", "unserved", lambda row: f"{row.unserved:,}", True),
    ]
    if any(row.attainment_vs_clairvoyant is not None for row in rows):
        columns += [
            Column(
                "attained of clairvoyant", "attained\nof clair-\nvoyant", lambda row: number(row.attainment_vs_clairvoyant, ".3f"), True
            ),
            Column("hours of clairvoyant", "hours of\nclair-\nvoyant", lambda row: number(row.replica_seconds_vs_clairvoyant, ".3f"), True),
        ]
    return columns


def of_changes(base: RunDocument | None, question: Question) -> list[Column]:
    """Of ours with one setting changed; differences from `base`, ours as it was asked for, where that is among the runs."""
    columns = [
        Column("attained", "attained", lambda row: number(row.attainment, ".2%"), True),
        Column("replica-hours", "replica-\nhours", lambda row: _hours(row.replica_seconds), False),
        Column("p95 s", "p95\ns", lambda row: number(row.ttft.p95, ".2f"), False),
        Column("unserved", "unserved", lambda row: f"{row.unserved:,}", False),
    ]
    if base is None:
        return columns
    gpus = question.gpus
    others = {f"{OURS}@accelerator={each.accelerator}": each.gpus for each in question.contest.elsewhere}

    def hours(row: RunDocument) -> str:
        return f"{(row.replica_seconds - base.replica_seconds) / 3600:+,.2f}"

    def gpu_hours(row: RunDocument) -> str:
        return f"{(row.replica_seconds * others.get(row.policy, gpus) - base.replica_seconds * gpus) / 3600:+,.2f}"

    columns += [
        Column("attained, change", "attained,\nchange", lambda row: _points(row, base), True),
        Column("hours, change", "hours,\nchange", hours, True),
    ]
    return [*columns, Column("GPU-hours, change", "GPU-hours,\nchange", gpu_hours, True)] if gpus else columns


def setting(change: str) -> str:
    """A changed setting as the file names it."""
    name, _, value = change.partition("=")
    return f"on {value}" if name == "accelerator" else f"{SETTINGS[name]}: {value}"


def number(value: float | None, form: str) -> str:
    """A number, or a dash for what does not exist."""
    return "-" if value is None else format(value, form)


def _points(row: RunDocument, base: RunDocument) -> str:
    if row.attainment is None or base.attainment is None:
        return "-"
    return f"{(row.attainment - base.attainment) * 100:+.2f} points"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f}"
