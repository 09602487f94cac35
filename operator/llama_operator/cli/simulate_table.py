"""A simulation as a person reads it: what was replayed, what every policy attained and cost, and what one replica more or less would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llama_operator.api.duration import words
from llama_operator.cli.moments import stamp
from llama_operator.cli.simulate_facts import facts
from llama_operator.cli.simulate_progress import duration
from llama_operator.cli.simulate_question import Question
from llama_operator.simulate.compare import Run
from llama_operator.simulate.document import RunDocument, document
from llama_operator.simulate.lineup import OURS

FOOTNOTE = (
    "attained: share of requests with a first token in time. Replica-hours: of replicas that load, serve or drain.\n"
    "Models, not measurements: see docs/simulate.md for what is left out."
)


MOST_CHANGES = 200
"""That are listed."""
WIDE = 108
"""Columns of a terminal from which on all numbers are shown; -o json has them in any case."""


def tables(question: Question, runs: Sequence[Run], width: int) -> Iterator[RenderableType]:
    """All of it, for so many columns."""
    wide = width >= WIDE
    told = document([each.figures for each in runs]).runs
    yield Group(Text(f"Simulated scaling: {question.traffic}", style="bold"), _facts(question))
    asked = [row for row, each in zip(told, runs, strict=True) if not each.change]
    parts: list[RenderableType] = [Text("Policies on this traffic", style="bold"), Padding(_policies(asked, wide=wide), (0, 0, 0, 2))]
    if question.room:
        parts.append(Padding(Text(f"Short of place: {_cramped([each for each in runs if not each.change])}."), (0, 0, 0, 2)))
    yield Group(*parts, Padding(Text(FOOTNOTE, style="dim"), (0, 0, 0, 2)))
    beside = [(each.change, row) for row, each in zip(told, runs, strict=True) if each.change]
    mine = next((each for each in runs if each.figures.policy == OURS), None)
    if question.changes and mine is not None:
        yield from changes(question, mine)
    base = next((row for row in asked if row.policy == OURS), None)
    if beside:
        title = f"What a change of {question.resource} would give and cost"
        yield Group(Text(title, style="bold"), Padding(_beside(beside, base, question, wide=wide), (0, 0, 0, 2)))


def changes(question: Question, run: Run) -> Iterator[RenderableType]:
    """When the number was changed, and why: by the traffic's clock where it has one, else since its beginning."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("when", "replicas", "why"):
        table.add_column(title, no_wrap=title != "why", overflow="fold")
    for each in run.changes[:MOST_CHANGES]:
        when = words(each.time) if question.begin is None else stamp(question.begin + each.time)
        table.add_row(when, f"{each.before} to {each.after}", each.message or each.reason)
    left = len(run.changes) - MOST_CHANGES
    parts: list[RenderableType] = [Padding(table, (0, 0, 0, 2))] if run.changes else [Text("  None.")]
    if left > 0:
        parts.append(Text(f"  … and {left:,} more", style="dim"))
    yield Group(Text(f"The changes of {run.figures.policy}", style="bold"), *parts)


def _cramped(runs: Sequence[Run]) -> str:
    """Who wanted more replicas than there was place for, and for how long."""
    return ", ".join(f"{each.figures.policy} for {duration(each.cramped)}" for each in runs if each.cramped) or "nobody"


def _facts(question: Question) -> Padding:
    grid = Table.grid(padding=(0, 2))
    for name, said in facts(question):
        grid.add_row(name, said)
    return Padding(grid, (0, 0, 0, 2))


def _policies(rows: Sequence[RunDocument], *, wide: bool) -> Table:
    against = any(row.attainment_vs_clairvoyant is not None for row in rows)
    columns: list[Column] = [
        ("attained", lambda row: _share(row.attainment), True),
        ("replica-\nhours", lambda row: _hours(row.replica_seconds), True),
        ("mean\nreplicas", lambda row: _number(row.mean_replicas, ".2f"), wide),
        ("p50\ns", lambda row: _number(row.ttft.p50, ".2f"), wide),
        ("p95\ns", lambda row: _number(row.ttft.p95, ".2f"), True),
        ("p99\ns", lambda row: _number(row.ttft.p99, ".2f"), wide),
        ("changes", lambda row: f"{row.scale_events:,}", True),
        ("unserved", lambda row: f"{row.unserved:,}", True),
        ("attained\nof clair-\nvoyant", lambda row: _number(row.attainment_vs_clairvoyant, ".3f"), against),
        ("hours of\nclair-\nvoyant", lambda row: _number(row.replica_seconds_vs_clairvoyant, ".3f"), against),
    ]
    return _table("policy", columns, [(row.policy, row) for row in rows])


def _beside(rows: Sequence[tuple[str, RunDocument]], base: RunDocument | None, question: Question, *, wide: bool) -> Table:
    gpus = question.gpus
    others = {f"{OURS}@accelerator={each.accelerator}": each.gpus for each in question.contest.elsewhere}

    def gpu_hours(row: RunDocument) -> float:
        return (row.replica_seconds * others.get(row.policy, gpus) - (base.replica_seconds * gpus if base else 0.0)) / 3600

    def hours(row: RunDocument) -> float:
        return (row.replica_seconds - (base.replica_seconds if base else 0.0)) / 3600

    columns: list[Column] = [
        ("attained", lambda row: _share(row.attainment), True),
        ("replica-\nhours", lambda row: _hours(row.replica_seconds), wide),
        ("p95\ns", lambda row: _number(row.ttft.p95, ".2f"), wide),
        ("unserved", lambda row: f"{row.unserved:,}", wide),
        ("attained,\nchange", lambda row: _points(row, base), base is not None),
        ("hours,\nchange", lambda row: f"{hours(row):+,.2f}", base is not None),
        ("GPU-hours,\nchange", lambda row: f"{gpu_hours(row):+,.2f}", base is not None and gpus > 0),
    ]
    return _table("change", columns, [(_setting(change), row) for change, row in rows])


def _points(row: RunDocument, base: RunDocument | None) -> str:
    if base is None or row.attainment is None or base.attainment is None:
        return "-"
    return f"{(row.attainment - base.attainment) * 100:+.2f} points"


SETTINGS = {"min": "minReplicas", "max": "maxReplicas", "target": "inFlightPerReplica", "ttft": "timeToFirstTokenSeconds"}


def _setting(change: str) -> str:
    name, _, value = change.partition("=")
    return f"on {value}" if name == "accelerator" else f"{SETTINGS[name]}: {value}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _number(value: float | None, form: str) -> str:
    """A number, or a dash for what does not exist."""
    return "-" if value is None else format(value, form)


Column = tuple[str, Callable[[RunDocument], str], bool]
"""Title, what it shows of a run, and whether it is wanted."""


def _table(first: str, columns: Sequence[Column], rows: Sequence[tuple[str, RunDocument]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    wanted = [column for column in columns if column[2]]
    for title, _, _ in wanted:
        table.add_column(title, justify="right", no_wrap=True)
    for name, row in rows:
        table.add_row(name, *(show(row) for _, show, _ in wanted), style="bold green" if row.policy == OURS else None)
    return table
