"""How a command says that it cannot answer: lines on the standard error, in the words of every other problem of this project."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from llama_operator.api.problems import Problem
from llama_operator.cli.options import OUTPUTS, PROBLEMS, PROGRAM
from llama_operator.cli.texts import plain


class BadInput(Exception):
    """What was given cannot be answered; each line names the field or option, what was given, what is allowed, and the remedy."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))

    @classmethod
    def of(cls, *problems: Problem) -> BadInput:
        """Of options and fields."""
        return cls(problem.message for problem in problems)


class Outage(BadInput):
    """The cluster does not answer now. A command that watches goes on; what is otherwise refused will be refused again."""


def tell(refused: BadInput) -> int:
    """Says it; returns the exit status. A line may repeat what a cluster or an endpoint said, which a terminal must not obey."""
    for line in refused.lines:
        sys.stderr.write(f"{PROGRAM}: {plain(line)}\n")
    return PROBLEMS


def check_output(given: str, outputs: Sequence[str] = OUTPUTS, field: str = "--output") -> None:
    """Raises BadInput for what is no format."""
    if given not in outputs:
        allowed = f"{', '.join(outputs[:-1])} or {outputs[-1]}"
        raise BadInput.of(Problem(field=field, given=quoted(given), allowed=allowed, remedy="Choose one of these."))


def quoted(text: str) -> str:
    """A text as messages repeat it. Names of files and arguments may hold half a character, which no output can say."""
    shown = text.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")
    return f'"{shown}"' if len(shown) <= 80 else f'"{shown[:79]}…"'
