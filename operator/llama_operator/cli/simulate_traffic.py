"""The traffic that is replayed: a file as it comes, line by line, plain or gzipped; a generator; or a user's history.

A line, a file and a decompressed stream may be of any length without taking memory: lines are bounded, and of a request three numbers stay.
"""

from __future__ import annotations

import gzip
import io
import itertools
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

from llama_operator.api.problems import Problem
from llama_operator.cli.files import STDIN, open_at_once, shown
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.simulate.generate import KINDS
from llama_operator.simulate.traces import FORMS, BadTraceError, begun_at, detect, read_trace
from llama_operator.simulate.traffic import MOST_REQUESTS, TooManyRequestsError, Traffic, gather

GZIP = b"\x1f\x8b"
MOST_HEAD = 64
"""Lines in which the first request must be, for its date to be known: a file that begins with more empty ones has none."""
LINE_LIMIT = 1 << 20
"""Bytes of a line. Mooncake's longest, with the hashes of 128k tokens' blocks, has some 2,000."""


def read_file(path: str, form: str | None, copies: int) -> Traffic:
    """The requests of a file, all of them checked. Raises BadInput."""
    with ExitStack() as stack:
        try:
            form, lines = _formed(_lines(_open(path, stack)), form)
            head = _head(lines)
            traffic = gather(read_trace(itertools.chain(head, lines), form), copies)
            return replace(traffic, begun=begun_at(head, form))
        except BadTraceError as error:
            raise BadInput([f"{shown(path)}: {error.problem.message}"]) from None
        except TooManyRequestsError:
            problem = _trace(path, "too many requests", f"at most {MOST_REQUESTS:,}", "Replay a part of it.")
            raise BadInput.of(problem) from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            problem = _trace(path, f"its gzip stream is broken: {error}", "a whole gzip file", "Compress or download it again.")
            raise BadInput.of(problem) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise BadInput.of(_trace(path, why, "a file that can be read, or -", "Correct the path.")) from None


def generate(kind: str, hours: float | None, seed: int, copies: int) -> Traffic:
    """Traffic of a generator. Raises BadInput where so short a time brings no request."""
    made = KINDS[kind]
    length = made.hours if hours is None else hours
    try:
        traffic = gather(made.make(length * 3600, seed), copies)
    except TooManyRequestsError:
        problem = Problem(
            field="--hours", given=f"{length:g}", allowed=f"at most {MOST_REQUESTS:,} requests", remedy="Ask for fewer hours."
        )
        raise BadInput.of(problem) from None
    if not len(traffic):
        problem = Problem(field="--hours", given=f"{length:g}, in which nothing arrives", allowed="longer", remedy="Ask for more hours.")
        raise BadInput.of(problem)
    return traffic


def _open(path: str, stack: ExitStack) -> io.BufferedIOBase:
    if path == STDIN:
        # Whatever the standard input is, it is read as a raw file is.
        raw = io.BufferedReader(cast("io.RawIOBase", sys.stdin.buffer))
        stack.callback(raw.detach)  # the standard input stays open
    else:
        raw = io.BufferedReader(io.FileIO(open_at_once(path)))
        stack.callback(raw.close)
    if raw.peek(len(GZIP))[: len(GZIP)] != GZIP:
        return raw
    unzipped = gzip.GzipFile(fileobj=raw)
    stack.callback(unzipped.close)
    return unzipped


def _lines(file: io.BufferedIOBase) -> Iterator[str]:
    """Raises BadTraceError for a line that is too long or no text."""
    for number in itertools.count(1):
        line = file.readline(LINE_LIMIT)
        if not line:
            return
        field = f"--trace line {number}"
        if len(line) == LINE_LIMIT:
            remedy = "See that it is a trace, with one request in each line."
            raise BadTraceError(Problem(field=field, given="a longer line", allowed=f"at most {LINE_LIMIT - 1:,} bytes", remedy=remedy))
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            given = f"a line whose byte {error.start + 1} is no UTF-8"
            raise BadTraceError(Problem(field=field, given=given, allowed="a text in UTF-8", remedy="Convert the file.")) from None
        yield text


def _formed(lines: Iterator[str], form: str | None) -> tuple[str, Iterator[str]]:
    """The format, which the first line that says anything tells where it is not given, and all lines."""
    before: list[str] = []
    if form is None:
        for line in lines:
            before.append(line)
            if _says(line):
                form = detect(line)
                break
    # A file without a line that says anything is empty in every format.
    return form or next(iter(FORMS)), itertools.chain(before, lines)


def _head(lines: Iterator[str]) -> list[str]:
    """The lines to the first request: with a header, the second that says anything."""
    head: list[str] = []
    for line in lines:
        head.append(line)
        if sum(map(_says, head[-MOST_HEAD:])) > 1 or len(head) >= MOST_HEAD:
            break
    return head


def _says(line: str) -> bool:
    return bool(line.strip().removeprefix("\ufeff"))


def _trace(path: str, why: str, allowed: str, remedy: str) -> Problem:
    return Problem(field="--trace", given=f"{quoted(path)} ({why})", allowed=allowed, remedy=remedy)
