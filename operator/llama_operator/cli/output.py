"""A document as JSON or YAML, and a table through rich where it is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from llama_operator.api.problems import Problem
from llama_operator.cli.refusals import BadInput

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PLAIN_WIDTH = 110
"""Columns where the output is no terminal, so that a file or a pipe shows the same everywhere."""


def write_document(document: dict[str, Any], output: str) -> None:
    """The document on the standard output, `json` or `yaml`."""
    if output == "json":
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=PLAIN_WIDTH))


def open_console(file: TextIO | None = None) -> Console:
    """A console for `write_tables`, on the standard output or that file.

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
    file = sys.stdout if file is None else file
    width = None if file.isatty() else PLAIN_WIDTH
    return Console(file=file, width=width, highlight=False, emoji=False, markup=False)


def write_tables(console: Console, tables: Iterable[RenderableType]) -> None:
    """One after the other, an empty line between them. Where the output is no terminal, no line ends in blanks."""
    with console.capture() as captured:
        for index, table in enumerate(tables):
            if index:
                console.print()
            console.print(table)
    text = captured.get()
    console.file.write(text if console.is_terminal else "\n".join(line.rstrip() for line in text.split("\n")))
