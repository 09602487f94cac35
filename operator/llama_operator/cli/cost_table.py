"""The bill as tables. A dash is what is not known."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llama_operator.cli.cost_question import Answer

DASH = "-"


def tables(answer: Answer) -> Iterator[RenderableType]:
    """The title, the bill, the APIs, the notes."""
    found, question = answer.bill, answer.question
    measured = found.measured
    yield Text(f"{question.namespace}/{question.name}, the last {_length(measured.window_seconds)}, in dollars")
    yield _bill(answer)
    if found.apis:
        yield _apis(answer)
    if answer.notes:
        yield Text("\n".join(f"  {note}." for note in answer.notes))


def _bill(answer: Answer) -> Table:
    found = answer.bill
    measured = found.measured
    table = _table(("", False), ("", True), ("", False))
    held = "" if measured.accelerator_hours is None else f"{measured.accelerator_hours:,.2f} accelerator hours held"
    table.add_row("cost", dollars(measured.cost), held)
    table.add_row("  for an hour", dollars(found.per_hour), "while anything was held")
    idle = "" if found.idle_share is None else f"{found.idle_share:.0%} of it: held without a request in hand"
    table.add_row("  idle", dollars(measured.idle_cost), idle)
    table.add_row("a million prompt tokens", dollars(found.per_million_prompt), _of(measured.prompt_tokens, "read", found.prefill_share))
    decode = None if found.prefill_share is None else 1 - found.prefill_share
    table.add_row("a million generated tokens", dollars(found.per_million_generated), _of(measured.generated_tokens, "written", decode))
    return table


def _of(tokens: float | None, done: str, share: float | None) -> str:
    parts = [] if tokens is None else [f"{tokens:,.0f} {done}"]
    return ", ".join(parts + ([] if share is None else [f"{share:.0%} of the requests' time in the engine"]))


def _apis(answer: Answer) -> Table:
    measured = answer.bill.measured
    table = _table(
        ("the same tokens at", False),
        ("prices of", False),
        ("prompt, 1M", True),
        ("generated, 1M", True),
        ("cost", True),
        ("times ours", True),
    )
    for api in answer.bill.apis:
        times = DASH if not measured.cost else _range(api.least / measured.cost, api.most / measured.cost)
        price = api.price
        cells = (_range(*price.prompt), _range(*price.generated), _range(api.least, api.most), times)
        table.add_row(price.name, price.as_of, *cells)
    return table


def dollars(value: float | None) -> str:
    """An amount, with as many decimals as it needs to be told from nothing."""
    if value is None:
        return DASH
    return f"{value:,.2f}" if value >= 0.1 or value == 0 else f"{value:.3g}"


def _range(least: float, most: float) -> str:
    low, high = dollars(least), dollars(most)
    return low if low == high else f"{low} to {high}"


def _length(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % size == 0 and (seconds >= 2 * size or unit != "d"):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _table(*columns: tuple[str, bool]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(title for title, _ in columns)
    )
    for title, right in columns:
        table.add_column(title, justify="right" if right else "left", no_wrap=right)
    return table
