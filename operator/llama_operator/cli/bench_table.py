"""A report, or two side by side, as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llama_operator.cli.bench_compare import Comparison, Pair, load_words
from llama_operator.cli.bench_document import Report
from llama_operator.cli.bench_facts import METRICS, counts, duration, facts, number, percentiles, rates


def tables(report: Report) -> Iterator[RenderableType]:
    """A report's."""
    yield Group(Text(f"Load test of {report.deployment.name}", style="bold"), _grid(facts(report)))
    yield Group(Text("Loads", style="bold"), _rates(report))
    for title, field in METRICS:
        rows = [(load_words(run), *percentiles(getattr(run, field))) for run in report.runs]
        yield Group(Text(title.capitalize(), style="bold"), _table(("load", "mean", "p50", "p90", "p95", "p99"), rows))
    notes = [*report.notes, *(f"{load_words(run)}: {note}" for run in report.runs for note in run.notes)]
    failures = [f"{load_words(run)}: {each.count} x {each.message}" for run in report.runs for each in run.failures]
    if notes or failures:
        yield Group(*(Padding(Text(words, style="dim"), (0, 0, 0, 2)) for words in (*failures, *notes)))


def _grid(rows: Iterator[tuple[str, str]]) -> Padding:
    grid = Table.grid(padding=(0, 2))
    for name, words in rows:
        grid.add_row(name, Text(words, overflow="fold"))
    return Padding(grid, (0, 0, 0, 2))


def _rates(report: Report) -> Padding:
    rows = [(load_words(run), *counts(run), *rates(run)) for run in report.runs]
    columns = (
        "load", "requests", "failed", "requests\n/s", "prompt\ntokens/s", "output\ntokens/s", "most at\nonce", "good", "good\n/s",
    )  # fmt: skip
    return _table(columns, rows)


def compared(comparison: Comparison) -> Iterator[RenderableType]:
    """Two reports."""
    yield Group(Text("Two load tests", style="bold"), _grid(iter((("a", comparison.a), ("b", comparison.b)))))
    if comparison.differences:
        rows = [(each.name, each.of, each.a, each.b) for each in comparison.differences]
        yield Group(Text("What is not the same", style="bold"), _table(("", "of the", "a", "b"), rows, right=()))
    for pair in comparison.pairs:
        yield Group(Text(pair.a if pair.alike else f"{pair.a} against {pair.b}", style="bold"), _pair(pair))
    words = [*(f"alone, {each}" for each in comparison.unpaired), *comparison.notes]
    yield Group(*(Padding(Text(each, style="dim"), (0, 0, 0, 2)) for each in words))


def _pair(pair: Pair) -> Padding:
    def shown(value: float | None, unit: str) -> str:
        if unit == "s":
            return duration(value)
        return number(value, ".1%" if unit == "share" else ",.2f")

    rows = [
        (
            row.name + (" /s" if row.unit == "1/s" else ""),
            shown(row.a, row.unit),
            shown(row.b, row.unit),
            number(row.ratio, ".3f"),
            row.verdict,
        )
        for row in pair.rows
    ]
    return _table(("", "a", "b", "b / a", "difference"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] | None = None) -> Padding:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    numbers = range(1, len(columns)) if right is None else right
    for index, title in enumerate(columns):
        made.add_column(title, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return Padding(made, (0, 0, 0, 2))
