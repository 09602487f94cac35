"""Traces as text lines, one request after the other: nothing is held, so a file of any length will do.

    azure     CSV, TIMESTAMP,ContextTokens,GeneratedTokens    https://github.com/Azure/AzurePublicDataset (AzureLLMInferenceDataset2023
              and 2024, whose times name their zone)
    mooncake  JSON lines, timestamp in ms, input_length, output_length    https://github.com/kvcache-ai/Mooncake (FAST25-release/traces)
    csv       arrival_seconds,input_tokens,output_tokens

Times count from the first row. Gaps are traffic too: a night without a request is kept. Anything else that is odd ends the reading with
the number of its line and what to do.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from llama_operator.api.problems import Problem, show
from llama_operator.simulate.service import Request

MOST_TOKENS = 10_000_000
"""In one request. The longest context that a Llama model names is 10 M tokens (Llama 4 Scout); more is a mistake of units."""
LONGEST_SECONDS = 366 * 86_400.0
"""From the first request to the last; more is a mistake of units."""
COPY_SHIFT_SECONDS = 7.3
"""Copy k starts k times this later, so that copies do not arrive in step."""
AZURE_HEADER, CSV_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens", "arrival_seconds,input_tokens,output_tokens"
DATED = {"azure"}
"""Formats whose times are dates."""
HEADERS = {AZURE_HEADER: "azure", CSV_HEADER: "csv"}
BEGIN = datetime(1970, 1, 1)  # noqa: DTZ001 - for times without a zone, which are taken as UTC
BEGIN_ZONED = BEGIN.replace(tzinfo=UTC)


class BadTraceError(Exception):
    """A trace that cannot be replayed, and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Row(NamedTuple):
    time: float
    prompt: object
    output: object


def read_trace(lines: Iterable[str], form: str) -> Iterator[Request]:
    """The requests of a trace in `form` (azure, mooncake or csv), as the lines come. Raises BadTraceError."""
    if form not in FORMS:
        remedy = "Name the format of the file."
        raise BadTraceError(Problem(field="--format", given=show(form), allowed=f"one of {', '.join(FORMS)}", remedy=remedy))
    begun: float | None = None
    before = -math.inf
    for number, row in FORMS[form](_texts(lines)):
        if row.time < before:
            allowed = f"a time not before that of the request above, {before:g} s"
            raise _bad(number, f"{row.time:g} s", allowed, "Sort the file by time.")
        before = row.time
        begun = row.time if begun is None else begun
        if row.time - begun > LONGEST_SECONDS:
            allowed = "a time of at most 366 days after the first"
            raise _bad(number, f"{row.time:g} s", allowed, "See that the unit of time is the format's.")
        yield Request(row.time - begun, _tokens(number, row.prompt, "prompt"), _tokens(number, row.output, "output"))
    if begun is None:
        raise BadTraceError(
            Problem(field="--trace", given="no request", allowed="at least one request", remedy="Take a file that is not empty.")
        )


def detect(line: str) -> str:
    """The format of a file that begins with that line, which is not empty. Raises BadTraceError."""
    text = line.strip().removeprefix("\ufeff")
    found = "mooncake" if text.startswith("{") else HEADERS.get(text)
    if found is None:
        allowed = f"one of the headers {' and '.join(HEADERS)}, or a JSON object"
        raise _bad(1, show(text), allowed, "Name the format that the file has with --format, or add the header.")
    return found


def begun_at(lines: Sequence[str], form: str) -> float | None:
    """When the first request of these lines came, in seconds since 1970; None where the format tells no date, or no request is among them.

    A time without a zone, as in the Azure traces of 2023, is taken as UTC. Raises BadTraceError.
    """
    row = next(FORMS[form](_texts(lines)), None) if form in DATED else None
    return None if row is None else row[1].time


def superpose(copy: Callable[[], Iterable[Request]], copies: int) -> Iterator[Request]:
    """`copies` of a trace at once, copy k later by k * COPY_SHIFT_SECONDS. `copy` begins a new reading: nothing is held."""
    return heapq.merge(*(_later(copy(), index * COPY_SHIFT_SECONDS) for index in range(copies)))


def _later(requests: Iterable[Request], seconds: float) -> Iterator[Request]:
    return (Request(arrival + seconds, prompt, output) for arrival, prompt, output in requests)


def _texts(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("\ufeff")
        if text:
            yield number, text


def _header(texts: Iterator[tuple[int, str]], header: str) -> None:
    number, text = next(texts, (0, header))
    if text != header:
        raise _bad(number, show(text), f"the header {header}", "Name the format that the file has with --format, or add the header.")


def _fields(number: int, text: str) -> list[str]:
    fields = text.split(",")
    if len(fields) != 3:
        raise _bad(number, show(text), "three fields with two commas between them", "Correct the line or leave it out.")
    return fields


def _azure(texts: Iterator[tuple[int, str]]) -> Iterator[tuple[int, _Row]]:
    _header(texts, AZURE_HEADER)
    for number, text in texts:
        stamp, prompt, output = _fields(number, text)
        try:
            moment = datetime.fromisoformat(stamp)  # leaves out what is less than a microsecond
        except ValueError:
            allowed = "a time such as 2023-11-16 18:15:46.6805900 or 2024-05-10 00:00:00.009930+00:00"
            raise _bad(number, show(stamp), allowed, "Correct the line or leave it out.") from None
        since = moment - (BEGIN if moment.tzinfo is None else BEGIN_ZONED)
        yield number, _Row(since.total_seconds(), prompt, output)


def _csv(texts: Iterator[tuple[int, str]]) -> Iterator[tuple[int, _Row]]:
    _header(texts, CSV_HEADER)
    for number, text in texts:
        time, prompt, output = _fields(number, text)
        yield number, _Row(_seconds(number, time, 1.0), prompt, output)


def _mooncake(texts: Iterator[tuple[int, str]]) -> Iterator[tuple[int, _Row]]:
    for number, text in texts:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, Mapping):
            allowed = "a JSON object with timestamp, input_length and output_length"
            raise _bad(number, show(text), allowed, "Name the format that the file has with --format, or correct the line.")
        yield number, _Row(_seconds(number, row.get("timestamp"), 1000.0), row.get("input_length"), row.get("output_length"))


def _seconds(number: int, given: object, per_second: float) -> float:
    try:
        value = float(str(given)) / per_second
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _bad(number, show(given), "a finite number as the time", "Correct the line or leave it out.")
    return value


def _tokens(number: int, given: object, what: str) -> float:
    text = str(given)
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    if not 1 <= value <= MOST_TOKENS:
        allowed = f"a whole number of {what} tokens from 1 to {MOST_TOKENS}"
        raise _bad(number, show(given), allowed, "Leave out requests that failed, and see that tokens are counted, not bytes.")
    return float(value)


def _bad(number: int, given: str, allowed: str, remedy: str) -> BadTraceError:
    return BadTraceError(Problem(field=f"--trace line {number}", given=given, allowed=allowed, remedy=remedy))


FORMS: Mapping[str, Callable[[Iterator[tuple[int, str]]], Iterator[tuple[int, _Row]]]] = {
    "azure": _azure,
    "mooncake": _mooncake,
    "csv": _csv,
}
