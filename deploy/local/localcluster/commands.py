"""Running one program to its end, with an error that shows what it said."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from .errors import LocalClusterError, MissingTool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    seconds: float = 120,
    log: Path | None = None,
) -> str:
    """Run `argv` and return its standard output.

    `env` is added to the environment. With `log`, both streams go to that file (appended) and the result is empty.

    Raises:
        MissingTool: there is no such program.
        LocalClusterError: it failed or ran past `seconds`; the message ends with what it printed last.

    """
    words = [str(word) for word in argv]
    full = None if env is None else {**os.environ, **env}
    try:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as sink:
                done = subprocess.run(
                    words, env=full, cwd=cwd, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds, check=False
                )
        else:
            done = subprocess.run(words, env=full, cwd=cwd, input=(stdin or "").encode(), capture_output=True, timeout=seconds, check=False)
    except FileNotFoundError as error:
        raise MissingTool(f"the program {words[0]} is not on this machine, or not on PATH ({error})") from error
    except subprocess.TimeoutExpired as error:
        raise LocalClusterError(f"{' '.join(words[:4])} …: no end after {seconds:g} s") from error
    if done.returncode != 0:
        said = tail(log) if log is not None else (done.stderr or done.stdout or b"").decode(errors="replace").strip()[-2000:]
        raise LocalClusterError(f"{' '.join(words[:6])}{' …' if len(words) > 6 else ''}: exit status {done.returncode}\n{said}")
    return "" if log is not None else done.stdout.decode(errors="replace")


def tail(log: Path, *, size: int = 2000) -> str:
    """The end of a log file, with its name."""
    try:
        text = log.read_bytes()[-size:].decode(errors="replace")
    except OSError as error:
        return f"(no log: {error})"
    return f"--- end of {log}\n{text.strip()}"


def need(program: str, why: str) -> str:
    """The path of a program of the host.

    Raises:
        MissingTool: it is not on PATH; the message says what it is for.

    """
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise MissingTool(f"{program} is not on PATH: it is needed {why}. Install it with the machine's package manager, then try again")
    return found
