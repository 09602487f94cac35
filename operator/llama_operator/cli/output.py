"""A document as JSON or YAML, and a table through rich where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from llama_operator.adapters.kubectl import together
from llama_operator.api.problems import Problem
from llama_operator.cli.refusals import BadInput
from llama_operator.cli.texts import json_text, plain

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

T = TypeVar("T")

PLAIN_WIDTH = 110
"""Columns where the output is no terminal, so that a file or a pipe shows the same everywhere."""


def write_document(document: dict[str, Any], output: str) -> None:
    """The document on the standard output, `json` or `yaml`."""
    if output == "json":
        sys.stdout.write(json_text(document, indent=2) + "\n")
    else:
        import yaml  # no other output needs it

        sys.stdout.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=PLAIN_WIDTH))


def open_console(file: TextIO | None = None) -> Console:
    """A console for `write_tables`, on the standard output or that file. What it draws are texts of others, as a pod's message: no control
    character of it reaches a terminal. rich takes five out and lets ESC and C1 pass.

    Raises BadInput where rich is not installed, as in the operator's image.
    """
    try:
        from rich.console import Console
    except ImportError:
        problem = Problem(
            field="--output",
            given="table, and the Python package rich is not installed",
            allowed="json or yaml without it",
            remedy="Install llama-operator[cli], or choose -o json.",
        )
        raise BadInput.of(problem) from None

    class PlainConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                # Those with `control` are rich's own, as a live picture needs them.
                yield segment if segment.control else segment._replace(text=plain(segment.text))

    file = sys.stdout if file is None else file
    width = None if file.isatty() else PLAIN_WIDTH
    return PlainConsole(file=file, width=width, highlight=False, emoji=False, markup=False)


def while_asked(output: str, ask: Callable[[], T]) -> tuple[Console | None, T]:
    """An answer, and a console where it is to be drawn: rich is imported while the answer is on its way. Raises BadInput."""
    if output != "table":
        return None, ask()
    console, answer = together(_drawing, ask)
    return console, answer


def _drawing() -> Console:
    console = open_console()
    import rich.table  # nearly every picture needs it

    del rich
    return console


def write_tables(console: Console, tables: Iterable[RenderableType]) -> None:
    """One after the other, an empty line between them. Where the output is no terminal, no line ends in blanks."""
    with console.capture() as captured:
        for index, table in enumerate(tables):
            if index:
                console.print()
            console.print(table)
    text = captured.get()
    console.file.write(text if console.is_terminal else "\n".join(line.rstrip() for line in text.split("\n")))
