"""Runs `kubectl llama` in this process, as a shell would see it where the output is no terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from llama_operator.cli.main import main

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command wrote, and its exit status."""

    status: int
    out: str
    err: str


def run(*argv: str, stdin: bytes = b"", encoding: str = "utf-8") -> Answer:
    """One command. Writes as a pipe of that encoding does, so that what it cannot say would raise."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), _standard_input(stdin), _no_terminal():
        status = main(list(argv))
    told = [stream.buffer.getvalue().decode() for stream in (out, err) if isinstance(stream.buffer, io.BytesIO)]
    return Answer(status=status, out=told[0], err=told[1])


@contextmanager
def _standard_input(data: bytes) -> Iterator[None]:
    stdin = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    try:
        yield
    finally:
        sys.stdin = stdin


@contextmanager
def _no_terminal() -> Iterator[None]:
    """Without the variables that speak of one. `patch.dict(os.environ)` would write all of the environment anew for each command."""
    kept = {name: os.environ.pop(name) for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def assert_refused(argv: Sequence[str], says: Iterable[str]) -> None:
    """The command ends with status 1 and nothing but whole sentences on standard error, `says` among them."""
    answer = run(*argv)
    assert (answer.status, answer.out) == (1, "")
    for words in says:
        assert words in answer.err
    assert all(line.startswith("kubectl llama: ") and line.endswith((".", "?")) for line in answer.err.splitlines())


def compare(name: str, text: str) -> None:
    """With a file under tests/golden/cli; LLAMA_UPDATE_GOLDEN=1 writes it instead."""
    path = GOLDEN / name
    if os.environ.get("LLAMA_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path} is missing: run again with LLAMA_UPDATE_GOLDEN=1 and read what it wrote"
    assert text == path.read_text(encoding="utf-8"), f"{name} differs; if the change is meant, run again with LLAMA_UPDATE_GOLDEN=1"
