"""Two reports side by side: each number, its ratio, and whether the two could be of the same deployment, load and luck. Pure.

Loads are paired by what they are; those that have no like are paired by their place, and said to be unlike. Two percentiles differ within
the noise where their intervals overlap, and beyond it where they do not. Overlap is the careful test: it misses differences that a test of
the two would find (N. Schenker and J. F. Gentleman, The American Statistician 55, 2001). A rate has no interval within one run: nothing is
said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from llama_operator.cli.bench_document import Percentile, Report, RunReport, Times

Verdict = Literal["within noise", "beyond noise", "not known"]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Difference(_Part):
    """Something that is not the same in both."""

    name: str
    a: str
    b: str
    of: Literal["load", "subject"]
    """load: what was asked. subject: what was measured, which is often what is compared."""


class Row(_Part):
    """One number of both."""

    name: str
    unit: str
    a: float | None
    b: float | None
    ratio: float | None
    """b / a; null where one is missing, or a is 0."""
    verdict: Verdict
    better: Literal["lower", "higher"]


class Pair(_Part):
    """One load of both."""

    a: str
    b: str
    alike: bool
    rows: list[Row]


class Comparison(_Part):
    """All of it."""

    kind: Literal["LlamaBenchComparison"] = "LlamaBenchComparison"
    schema_version: Literal[1] = 1
    a: str
    """The file."""
    b: str
    differences: list[Difference]
    pairs: list[Pair]
    unpaired: list[str]
    """Loads of one report that the other has none for."""
    unlike: bool
    """Whether the loads differ; the first note says in what."""
    notes: list[str]


Times_ = tuple[str, Callable[[RunReport], Times | None]]
TIMES: Sequence[Times_] = (
    ("time to first token", lambda run: run.time_to_first_token),
    ("between tokens", lambda run: run.inter_token),
    ("per token after the first", lambda run: run.time_per_output_token),
    ("whole request", lambda run: run.end_to_end),
)
PERCENTILES: Sequence[tuple[str, Callable[[Times], Percentile]]] = (
    ("p50", lambda times: times.p50),
    ("p95", lambda times: times.p95),
    ("p99", lambda times: times.p99),
)
RATES: Sequence[tuple[str, str, Callable[[RunReport], float | None]]] = (
    ("requests", "1/s", lambda run: run.requests_per_second),
    ("output tokens", "1/s", lambda run: run.output_tokens_per_second),
    ("goodput", "1/s", lambda run: None if run.goodput is None else run.goodput.requests_per_second),
    ("completed", "share", lambda run: run.completed / run.requests),
)


def compare(a: Report, b: Report, names: tuple[str, str]) -> Comparison:
    """The second against the first."""
    pairs, unpaired = _paired(a.runs, b.runs)
    differences = [*_differences(a, b)]
    unlike = [each.name for each in differences if each.of == "load"]
    notes = []
    if unlike or not all(pair.alike for pair in pairs):
        what = ", ".join([*unlike, *(["the loads"] if not all(pair.alike for pair in pairs) else [])])
        notes.append(f"The two were not asked the same: {what} differ, so a ratio tells of the load as well.")
    notes.append(
        "Intervals take requests for independent of each other; in one run they are not quite, so noise is larger than it looks here."
    )
    return Comparison(a=names[0], b=names[1], differences=differences, pairs=pairs, unpaired=unpaired, unlike=len(notes) > 1, notes=notes)


def load_words(run: RunReport) -> str:
    """A load as a person names it."""
    return f"{run.rate:g} a second" if run.rate is not None else f"{run.concurrency} at once"


def _key(run: RunReport) -> tuple[float | None, int | None]:
    return run.rate, run.concurrency


def _paired(first: Sequence[RunReport], second: Sequence[RunReport]) -> tuple[list[Pair], list[str]]:
    by_key = {_key(run): run for run in second}
    alike = [(run, by_key[_key(run)]) for run in first if _key(run) in by_key]
    taken = {_key(run) for run, _ in alike}
    left, right = ([run for run in runs if _key(run) not in taken] for runs in (first, second))
    unlike = list(zip(left, right, strict=False))
    alone = [f"{name}: {load_words(run)}" for name, runs in (("a", left), ("b", right)) for run in runs[len(unlike) :]]
    pairs = [(a, b, True) for a, b in alike] + [(a, b, False) for a, b in unlike]
    return [Pair(a=load_words(a), b=load_words(b), alike=same, rows=list(_rows(a, b))) for a, b, same in pairs], alone


def _differences(a: Report, b: Report) -> Iterator[Difference]:
    for name, one, other in (
        ("input tokens", a.arguments.input_tokens, b.arguments.input_tokens),
        ("output tokens", a.arguments.output_tokens, b.arguments.output_tokens),
        ("temperature", a.arguments.temperature, b.arguments.temperature),
        ("requests", a.arguments.requests, b.arguments.requests),
    ):
        if one != other:
            yield Difference(name=name, a=_shown(one), b=_shown(other), of="load")
    before, after = a.deployment.model_dump(), b.deployment.model_dump()
    for name in before:
        if before[name] != after[name] and name != "generation":
            yield Difference(name=name.replace("_", " "), a=_shown(before[name]), b=_shown(after[name]), of="subject")
    for name in sorted({*a.versions, *b.versions}):
        if a.versions.get(name) != b.versions.get(name):
            yield Difference(name=f"version of {name}", a=_shown(a.versions.get(name)), b=_shown(b.versions.get(name)), of="subject")


def _shown(value: object) -> str:
    if value is None:
        return "not known"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _rows(a: RunReport, b: RunReport) -> Iterator[Row]:
    for name, times in TIMES:
        for percentile, of in PERCENTILES:
            one, other = ((None if (found := times(run)) is None else of(found)) for run in (a, b))
            values = (None if one is None else one.value), (None if other is None else other.value)
            yield _row(f"{name}, {percentile}", "s", *values, verdict=verdict(one, other), better="lower")
    for name, unit, rate in RATES:
        yield _row(name, unit, rate(a), rate(b), verdict="not known", better="higher")


def _row(name: str, unit: str, a: float | None, b: float | None, *, verdict: Verdict, better: Literal["lower", "higher"]) -> Row:
    ratio = b / a if a is not None and b is not None and a > 0 else None
    return Row(name=name, unit=unit, a=a, b=b, ratio=ratio, verdict=verdict, better=better)


def verdict(a: Percentile | None, b: Percentile | None) -> Verdict:
    """By the intervals. Where an end is not known, only the ends that are can part the two."""
    if a is None or b is None:
        return "not known"
    for one, other in ((a, b), (b, a)):
        if one.high is not None and other.low is not None and one.high < other.low:
            return "beyond noise"
    return "not known" if None in (a.low, a.high, b.low, b.high) else "within noise"
