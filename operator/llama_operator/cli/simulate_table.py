"""A simulation as a person reads it: what was replayed, what every policy attained and cost, and what one replica more or less would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llama_operator.cli.simulate_facts import facts
from llama_operator.cli.simulate_question import Question
from llama_operator.simulate.compare import Run
from llama_operator.simulate.document import RunDocument, document
from llama_operator.simulate.lineup import OURS

FOOTNOTE = (
    "attained: share of requests with a first token in time. Replica-hours: of replicas that load, serve or drain.\n"
    "Models, not measurements: see docs/simulate.md for what is left out."
)


def tables(question: Question, runs: Sequence[Run]) -> Iterator[RenderableType]:
    """All of it."""
    told = document([each.figures for each in runs]).runs
    yield Group(Text(f"Simulated scaling: {question.traffic}", style="bold"), _facts(question))
    asked = [row for row, each in zip(told, runs, strict=True) if not each.change]
    parts: list[RenderableType] = [Text("Policies on this traffic", style="bold"), Padding(_policies(asked), (0, 0, 0, 2))]
    yield Group(*parts, Padding(Text(FOOTNOTE, style="dim"), (0, 0, 0, 2)))
    beside = [(each.change, row) for row, each in zip(told, runs, strict=True) if each.change]
    base = next((row for row in asked if row.policy == OURS), None)
    if beside:
        title = f"What a change of {question.resource} would give and cost"
        yield Group(Text(title, style="bold"), Padding(_beside(beside, base, question.gpus), (0, 0, 0, 2)))


def _facts(question: Question) -> Padding:
    grid = Table.grid(padding=(0, 2))
    for name, words in facts(question):
        grid.add_row(name, words)
    return Padding(grid, (0, 0, 0, 2))


def _policies(rows: Sequence[RunDocument]) -> Table:
    table = _table("policy")
    against = any(row.attainment_vs_clairvoyant is not None for row in rows)
    titles = ("attained", "replica-\nhours", "mean\nreplicas", "p50\ns", "p95\ns", "p99\ns", "changes", "unserved")
    for title in (*titles, *(("attained\nof clair-\nvoyant", "hours of\nclair-\nvoyant") if against else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            _share(row.attainment),
            _hours(row.replica_seconds),
            _number(row.mean_replicas, ".2f"),
            *(_number(value, ".2f") for value in (row.ttft.p50, row.ttft.p95, row.ttft.p99)),
            f"{row.scale_events:,}",
            f"{row.unserved:,}",
        ]
        if against:
            cells += [_number(value, ".3f") for value in (row.attainment_vs_clairvoyant, row.replica_seconds_vs_clairvoyant)]
        table.add_row(row.policy, *cells, style="bold green" if row.policy == OURS else None)
    return table


def _beside(rows: Sequence[tuple[str, RunDocument]], base: RunDocument | None, gpus: int) -> Table:
    table = _table("change")
    for title in ("attained", "replica-\nhours", "p95\ns", "unserved", *(("attained,\nchange", "hours,\nchange") if base else ())):
        table.add_column(title, justify="right", no_wrap=True)
    if base and gpus:
        table.add_column("GPU-hours,\nchange", justify="right", no_wrap=True)
    for change, row in rows:
        cells = [_share(row.attainment), _hours(row.replica_seconds), _number(row.ttft.p95, ".2f"), f"{row.unserved:,}"]
        if base:
            hours = (row.replica_seconds - base.replica_seconds) / 3600
            better = None if row.attainment is None or base.attainment is None else (row.attainment - base.attainment) * 100
            cells += ["-" if better is None else f"{better:+.2f} points", f"{hours:+,.2f}", *([f"{hours * gpus:+,.2f}"] if gpus else [])]
        table.add_row(_setting(change), *cells)
    return table


SETTINGS = {"min": "minReplicas", "max": "maxReplicas", "target": "inFlightPerReplica", "ttft": "timeToFirstTokenSeconds"}


def _setting(change: str) -> str:
    name, _, value = change.partition("=")
    return f"{SETTINGS[name]}: {value}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _number(value: float | None, form: str) -> str:
    """A number, or a dash for what does not exist."""
    return "-" if value is None else format(value, form)


def _table(first: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    return table
