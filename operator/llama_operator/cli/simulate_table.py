"""A simulation as a person reads it: what was replayed, what every policy attained and cost, and what one replica more or less would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llama_operator.api.duration import words
from llama_operator.cli.moments import stamp
from llama_operator.cli.simulate_columns import Column, of_changes, of_policies, setting
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
    policies = _table("policy", of_policies(asked), [(row.policy, row) for row in asked], wide=wide)
    parts: list[RenderableType] = [Text("Policies on this traffic", style="bold"), Padding(policies, (0, 0, 0, 2))]
    if question.room:
        parts.append(Padding(Text(f"Short of place: {_cramped([each for each in runs if not each.change])}."), (0, 0, 0, 2)))
    yield Group(*parts, Padding(Text(FOOTNOTE, style="dim"), (0, 0, 0, 2)))
    beside = [(setting(each.change), row) for row, each in zip(told, runs, strict=True) if each.change]
    mine = next((each for each in runs if each.figures.policy == OURS), None)
    if question.changes and mine is not None:
        yield from changes(question, mine)
    base = next((row for row in asked if row.policy == OURS), None)
    if beside:
        title = f"What a change of {question.resource} would give and cost"
        changed = _table("change", of_changes(base, question), beside, wide=wide)
        yield Group(Text(title, style="bold"), Padding(changed, (0, 0, 0, 2)))


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


def _table(first: str, columns: Sequence[Column], rows: Sequence[tuple[str, RunDocument]], *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    wanted = [column for column in columns if wide or column.narrow]
    for column in wanted:
        table.add_column(column.folded, justify="right", no_wrap=True)
    for name, row in rows:
        table.add_row(name, *(column.show(row) for column in wanted), style="bold green" if row.policy == OURS else None)
    return table
