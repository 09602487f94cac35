"""Entry point of `kubectl-llama`, which kubectl runs as `kubectl llama` where it is on the PATH."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from llama_operator import __version__
from llama_operator.cli.options import PROBLEMS, PROGRAM, UsageError, commands, read_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit status: 0 fits or well, 1 something is wrong with what was given, 2 does not fit.

    A bug propagates; nothing that a user can give is one.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold what no encoding can say, and a terminal may know ASCII alone: shown escaped, never a traceback.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader has gone, as `head` does. Python would complain once more when it closes the stream at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PROBLEMS
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int:
    if argv[:2] == ["complete", "--"]:  # a shell asks: nobody's command, and in no list of them
        from llama_operator.cli.completion import complete

        return complete(argv[2:])
    try:
        arguments = read_arguments(argv)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return PROBLEMS
    except SystemExit:  # after --help
        return 0
    if arguments.version:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
        return 0
    if arguments.command is None:
        sys.stderr.write(f"{PROGRAM}: no command is given; allowed is {commands()}. See {PROGRAM} --help.\n")
        return PROBLEMS
    # Imported by name: each command brings the libraries that it needs, and `--help` none.
    command = importlib.import_module(f"llama_operator.cli.{arguments.command.replace('-', '_')}")
    status: int = command.run(arguments)
    return status
