"""A report, or two side by side, as one page: figures, how the times are spread, when they came, and what each load gave and cost.

It needs nothing but itself (`page_parts`), and holds the report as JSON in the element `report`, or the comparison in `comparison`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement

from llama_operator.cli.bench_compare import Comparison, load_words
from llama_operator.cli.bench_document import Report, RunReport, to_json
from llama_operator.cli.bench_facts import METRICS, counts, duration, facts, number, percentiles, rates
from llama_operator.cli.page_parts import BASE, begin, finish, legend, section, table, text
from llama_operator.cli.page_parts import facts as facts_of
from llama_operator.cli.simulate_svg import Axis, Chart, chart, log_axis, time_axis, value_axis

LINES = 8
"""Colours of lines; as many loads as one report has at most."""
MOST_POINTS = 400
"""Of a line: more than the picture has pixels to tell apart."""
START, TTFT, WHOLE = range(3)
STYLE = (
    """
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5a626b; --line: #d9dde2; --back: #ffffff; --limit: #6b3fa0;
  --c0: #2f6fbf; --c1: #b3323f; --c2: #1b7f5a; --c3: #a86400; --c4: #7a4fb5; --c5: #0f7f8c; --c6: #b03a86; --c7: #60656b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a3abb4; --line: #3a4149; --back: #15181c; --limit: #bd9bea;
  --c0: #6ea8ec; --c1: #f2828c; --c2: #5fcf9f; --c3: #f0b254; --c4: #bd9bea; --c5: #5fc9d4; --c6: #ee8fcb; --c7: #b4bac1; } }
"""
    + BASE
    + """\
path { fill: none; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round }
circle { stroke: none; fill-opacity: .55 }
.key.line-limit { border-bottom: 3px dotted var(--limit) }
"""
    + "".join(
        f"path.c{index} {{ stroke: var(--c{index}) }} circle.c{index} {{ fill: var(--c{index}) }} "
        f".key.k{index} {{ border-bottom: 3px solid var(--c{index}) }}\n"
        for index in range(LINES)
    )
)


def page(report: Report) -> str:
    """A report's page."""
    subject = report.deployment
    root, body = begin(f"Load test of {subject.namespace}/{subject.name}", STYLE)
    facts_of(body, facts(report))
    _rates(body, report)
    for title, field in METRICS:
        part = section(body, title.capitalize(), "")
        table(
            part,
            ("load", "mean", "p50", "p90", "p95", "p99"),
            [(load_words(run), *percentiles(getattr(run, field))) for run in report.runs],
        )
        if field in ("time_to_first_token", "end_to_end"):
            _spread(part, report, title, field)
    _gaps(body, report)
    _course(body, report)
    _against(body, report)
    _said(body, "Notes", [*report.notes, *(f"{load_words(run)}: {note}" for run in report.runs for note in run.notes)])
    return finish(root, body, "report", to_json(report))


def compared_page(comparison: Comparison) -> str:
    """Two reports' page."""
    root, body = begin("Two load tests", STYLE)
    facts_of(body, (("a", comparison.a), ("b", comparison.b)))
    if comparison.differences:
        part = section(body, "What is not the same", "")
        table(part, ("", "of the", "a", "b"), [(each.name, each.of, each.a, each.b) for each in comparison.differences])
    for pair in comparison.pairs:
        part = section(body, pair.a if pair.alike else f"{pair.a} against {pair.b}", "")
        rows = []
        for row in pair.rows:
            shown = [duration(value) if row.unit == "s" else number(value, ".4g") for value in (row.a, row.b)]
            rows.append((f"{row.name}" + ("" if row.unit == "s" else f", {row.unit}"), *shown, number(row.ratio, ".3f"), row.verdict))
        table(part, ("", "a", "b", "b / a", "difference"), rows)
    _said(body, "Notes", [*(f"alone, {each}" for each in comparison.unpaired), *comparison.notes])
    return finish(root, body, "comparison", comparison.model_dump(by_alias=True, mode="json"))


def _said(body: Element, title: str, lines: Sequence[str]) -> None:
    if lines:
        part = section(body, title, "")
        listed = SubElement(part, "ul")
        for line in lines:
            text(listed, "li", line)


def _rates(body: Element, report: Report) -> None:
    about = (
        "Most at once: completed requests under way at one moment. Good: within every objective of the deployment, of all that were sent."
    )
    part = section(body, "Loads", about)
    columns = (
        "load",
        "requests",
        "failed",
        "seconds",
        "requests/s",
        "prompt tokens/s",
        "output tokens/s",
        "most at once",
        "good",
        "good/s",
    )
    rows = [(load_words(run), *counts(run), f"{run.seconds:.1f}", *rates(run)) for run in report.runs]
    table(part, columns, rows)
    _said(part, "Failures", [f"{load_words(run)}: {each.count} x {each.message}" for run in report.runs for each in run.failures])


def _keys(report: Report, chosen: Iterable[int]) -> list[tuple[str, str]]:
    return [(f"k{index}", load_words(report.runs[index])) for index in chosen]


def _spread(part: Element, report: Report, title: str, field: str) -> None:
    """Share of the requests within a time."""
    place = TTFT if field == "time_to_first_token" else WHOLE
    series = {index: values for index, run in enumerate(report.runs) if (values := _values(run, place))}
    if not series:
        return
    x = log_axis(f"seconds of the {title}", [value for values in series.values() for value in values])
    y = Axis(label="% of requests within it", least=0.0, most=1.0, scale=0.01)
    words = "; ".join(
        f"{load_words(report.runs[index])}: half within {duration(values[len(values) // 2])}" for index, values in series.items()
    )
    made = chart(f"spread-{field}", f"Share of requests by their {title}", words, x, y, 240)
    for index, values in series.items():
        points = [(value, (at + 1) / len(values)) for at, value in enumerate(values)]
        step = -(-len(points) // MOST_POINTS)
        made.line([*points[::step], points[-1]], f"c{index}")
    _figure(part, made, *_keys(report, series))


def _values(run: RunReport, place: int) -> list[float]:
    return sorted(value for sample in run.samples if (value := sample[place]) is not None and value > 0)


def _gaps(body: Element, report: Report) -> None:
    series = {index: run.gaps for index, run in enumerate(report.runs) if run.gaps}
    if not series:
        return
    part = section(body, "How long between tokens", "Share of the times between two pieces of an answer that were at most so long.")
    x = log_axis("seconds between two pieces", [edge for gaps in series.values() for gap in gaps for edge in gap[:2]])
    y = Axis(label="% of times within it", least=0.0, most=1.0, scale=0.01)
    made = chart("gaps", "Share of the times between tokens", "cumulated histograms, one for each load", x, y, 240)
    for index, gaps in series.items():
        total, seen, points = sum(gap[2] for gap in gaps), 0.0, []
        for _, end, count in gaps:
            seen += count
            points.append((end, seen / total))
        made.line([(gaps[0][0], 0.0), *points], f"c{index}")
    _figure(part, made, *_keys(report, series))


def _course(body: Element, report: Report) -> None:
    """When each request was sent, and what it waited for its first token."""
    values = [value for run in report.runs for value in _values(run, TTFT)]
    if not values:
        return
    part = section(body, "Over time", "Each point is a request: when it was sent, and its time to first token.")
    goal = next((run.goodput.time_to_first_token_seconds for run in report.runs if run.goodput), None)
    y = log_axis("seconds to the first token", [*values, *([goal] if goal else [])])
    for index, run in enumerate(report.runs):
        points = [(sample[START] or 0.0, sample[TTFT]) for sample in run.samples if sample[TTFT] is not None]
        if not points:
            continue
        step = -(-len(points) // (4 * MOST_POINTS))
        last = max(sample[START] or 0.0 for sample in run.samples)
        made = chart(f"course-{index}", f"Times to first token, {load_words(run)}", f"{len(points)} requests", time_axis(last), y)
        for sent, waited in points[::step]:
            made.dot(sent, waited or 0.0, f"c{index}", f"{sent:.2f} s: {duration(waited)}", radius=2.5)
        if goal:
            made.level(goal, "limit", f"objective: {goal:g} s")
        _figure(part, made, (f"k{index}", load_words(run)))


CURVES: Sequence[tuple[str, str, Callable[[RunReport], float | None]]] = (
    ("first", "time to first token, p95, seconds", lambda run: None if (times := run.time_to_first_token) is None else times.p95.value),
    (
        "between",
        "per token after the first, p95, seconds",
        lambda run: None if (times := run.time_per_output_token) is None else times.p95.value,
    ),
)


def _against(body: Element, report: Report) -> None:
    """What more load gave, and what it cost each request."""
    if len(report.runs) < 2:
        return
    part = section(body, "Throughput against latency", "Each point is a load: to the right is more throughput, below is less waiting.")
    for name, label, value in CURVES:
        points = [(run.output_tokens_per_second, value(run), index) for index, run in enumerate(report.runs)]
        known = sorted((x, y, index) for x, y, index in points if x is not None and y is not None)
        if not known:
            continue
        x = value_axis("output tokens / s", max(each[0] for each in known))
        made = chart(f"against-{name}", label, f"{len(known)} loads", x, value_axis(label, max(each[1] for each in known)), 240)
        made.line([(across, up) for across, up, _ in known], "c7")
        for across, up, index in known:
            made.dot(across, up, f"c{index}", f"{load_words(report.runs[index])}: {across:,.0f} tokens/s, {duration(up)}")
        _figure(part, made, *_keys(report, (index for *_, index in known)))


def _figure(part: Element, made: Chart, *keys: tuple[str, str]) -> None:
    figure = SubElement(part, "figure")
    figure.append(made.root)
    legend(figure, *keys)
