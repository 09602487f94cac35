"""The files that a user names: read once, bounded, and every failure in words."""

from __future__ import annotations

import os
import stat
import sys

from llama_operator.api.documents import TEXT_LIMIT
from llama_operator.api.problems import Problem
from llama_operator.cli.refusals import BadInput, quoted

STDIN = "-"


def read_text(path: str, field: str = "--file", limit: int = TEXT_LIMIT) -> str:
    """The text of a file, or of the standard input for `-`. Raises BadInput.

    One character more than the limit is read, so that whoever parses it says that it is too long.
    """
    most = 4 * (limit + 1)  # bytes of a character in UTF-8
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(most)
        else:
            with os.fdopen(open_at_once(path), "rb") as file:
                data = file.read(most)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        given = f"{quoted(path)}, whose byte {error.start + 1} is no UTF-8"
        raise BadInput.of(Problem(field=field, given=given, allowed="a text in UTF-8", remedy="Convert it.")) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        problem = Problem(field=field, given=f"{quoted(path)} ({why})", allowed="a file that can be read, or -", remedy="Correct the path.")
        raise BadInput.of(problem) from None


def shown(path: str) -> str:
    """A file's name as findings begin with it."""
    return "<stdin>" if path == STDIN else quoted(path)[1:-1]


def open_at_once(path: str) -> int:
    """Opens without waiting for a writer, as a pipe without one would make us; a pipe that the shell made has one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(21, "it is a folder")
    return descriptor
