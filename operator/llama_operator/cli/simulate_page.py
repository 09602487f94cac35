"""A simulation as one page: figures, attainment against cost, demand, and for each policy its replicas and times to first token over time.

It needs nothing but itself: no script, no font, no image, no address. Light and dark follow the reader's system. The figures are also there
as the JSON document, in the element `figures`. It is well-formed XML, whatever the names in it hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from llama_operator.cli.page_parts import BASE, begin, finish, legend, table, text
from llama_operator.cli.page_parts import facts as facts_of
from llama_operator.cli.page_parts import section as section_of
from llama_operator.cli.simulate_columns import Column, number, of_changes, of_policies, setting
from llama_operator.cli.simulate_facts import facts
from llama_operator.cli.simulate_question import Question
from llama_operator.cli.simulate_svg import WIDTH, Axis, chart, log_axis, time_axis, value_axis
from llama_operator.simulate.compare import Run
from llama_operator.simulate.document import REFERENCE, RunDocument, document
from llama_operator.simulate.lineup import OURS
from llama_operator.simulate.plot import Demand, demand_of

STYLE = (
    """
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5a626b; --line: #d9dde2; --back: #ffffff;
  --ready: #2f6fbf; --loading: #d98a1f; --p50: #1b7f5a; --p95: #b3323f; --limit: #6b3fa0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a3abb4; --line: #3a4149; --back: #15181c;
  --ready: #6ea8ec; --loading: #f0b254; --p50: #5fcf9f; --p95: #f2828c; --limit: #bd9bea; } }
"""
    + BASE
    + """\
.ready { fill: var(--ready) } .loading { fill: var(--loading) }
path.p50, path.p95, path.prompts, path.outputs, path.requests { fill: none; stroke-width: 1.8; stroke-linecap: round;
  stroke-linejoin: round }
.p50 { stroke: var(--p50) } .p95 { stroke: var(--p95); stroke-dasharray: 5 3 }
.requests, .prompts { stroke: var(--ready) } .outputs { stroke: var(--loading); stroke-dasharray: 5 3 }
.front { fill: none; stroke: var(--soft); stroke-dasharray: 2 4 }
.other { fill: var(--ready) } .ours { fill: var(--p50); stroke: var(--ink) } .known { fill: var(--limit) }
.change { fill: none; stroke: var(--p50) }
.key.dot { width: .6rem; height: .6rem; border-radius: 50% } .key.change { border: 1px solid var(--p50) }
.key.ours { background: var(--p50) } .key.known { background: var(--limit) } .key.other { background: var(--ready) }
.key.area-ready { background: var(--ready) } .key.area-loading { background: var(--loading) }
.key.line-p50 { border-bottom: 3px solid var(--p50) } .key.line-p95 { border-bottom: 3px dashed var(--p95) }
.key.line-limit { border-bottom: 3px dotted var(--limit) } .key.line-prompts { border-bottom: 3px solid var(--ready) }
.key.line-outputs { border-bottom: 3px dashed var(--loading) }
"""
)


def page(question: Question, runs: Sequence[Run]) -> str:
    """The whole page."""
    told = document([each.figures for each in runs])
    root, body = begin(f"Simulated scaling: {question.traffic}", STYLE)
    facts_of(body, facts(question))
    asked = [row for row, each in zip(told.runs, runs, strict=True) if not each.change]
    beside = [(setting(each.change), row) for row, each in zip(told.runs, runs, strict=True) if each.change]
    _figures(body, asked)
    if beside:
        _changes(body, question, beside, next((row for row in asked if row.policy == OURS), None))
    _pareto(body, told.runs)
    _demand(body, question)
    for index, each in enumerate(runs):
        if not each.change:
            _run(body, question, runs, each, index)
    text(body, "p", "Models, not measurements: what is left out is said in docs/simulate.md.").set("class", "legend")
    return finish(root, body, "figures", told.model_dump(by_alias=True, mode="json"))


def _figures(body: Element, rows: Sequence[RunDocument]) -> None:
    about = (
        "Attained: share of requests with a first token in time. Replica-hours: of replicas that load, serve or drain. p50 to p99: "
        "percentiles of the time to first token."
    )
    section = section_of(body, "Policies on this traffic", about)
    _table(section, "policy", of_policies(rows), [(row.policy, row) for row in rows])


def _changes(body: Element, question: Question, rows: Sequence[tuple[str, RunDocument]], base: RunDocument | None) -> None:
    about = "Ours with one setting changed" + (", and how far that is from ours as it was asked for." if base else ".")
    section = section_of(body, f"What a change of {question.resource} would give and cost", about)
    _table(section, "change", of_changes(base, question), rows)


def _table(section: Element, first: str, columns: Sequence[Column], rows: Sequence[tuple[str, RunDocument]]) -> None:
    lines = [(name, *(column.show(row) for column in columns)) for name, row in rows]
    table(section, [first, *(column.title for column in columns)], lines)


def _pareto(body: Element, rows: Sequence[RunDocument]) -> None:
    points = [(row.replica_seconds / 3600, row.attainment, row.policy) for row in rows if row.attainment is not None]
    if not points:
        return
    about = "Up and to the left is better. On the dotted line no other run attains as much for less."
    section = section_of(body, "Attainment against cost", about)
    low, high = min(y for _, y, _ in points), max(y for _, y, _ in points)
    margin = max((high - low) * 0.08, 0.0005)
    left, right = min(x for x, _, _ in points), max(x for x, _, _ in points)
    aside = max((right - left) * 0.08, right * 0.02, 0.01)
    x = Axis(label="cost in replica-hours", least=max(left - aside, 0.0), most=right + 2 * aside)
    y = Axis(label="attained, % of requests", least=max(low - margin, 0.0), most=min(high, 1.0) + margin, scale=0.01)
    words = "; ".join(f"{policy}: {share:.2%} for {hours:.2f} replica-hours" for hours, share, policy in points)
    made = chart("pareto", "Attainment against replica-hours", words, x, y, 320)
    best, front = -1.0, []
    for hours, share, _ in sorted(points, key=lambda point: (point[0], -point[1])):
        if share > best:
            front.append((hours, share))
            best = share
    made.line(front, "front")
    taken: list[tuple[float, float]] = []
    for hours, share, policy in sorted(points, key=lambda point: (-point[1], point[0])):
        kind = "ours" if policy == OURS else "known" if policy == REFERENCE else "change" if "@" in policy else "other"
        made.dot(hours, share, kind, f"{policy}: {share:.2%} for {hours:.2f} replica-hours")
        if kind == "change":
            continue  # they lie close to ours: the table has their numbers
        across, up = made.at(hours, share)
        up += 4
        # Names that would lie on one another move down, line by line; a name beside the right edge stands before its point.
        while any(abs(across - other) < 90 and abs(up - height) < 13 for other, height in taken):
            up += 13
        taken.append((across, up))
        made.words(across + 9 if across < WIDTH - 110 else across - 9, up, policy, "start" if across < WIDTH - 110 else "end")
    figure = SubElement(section, "figure")
    figure.append(made.root)
    kinds = [("dot ours", "ours"), ("dot other", "other policies"), ("dot known", "clairvoyant: knows the traffic")]
    changes = [("dot change", "ours with one setting changed")] if any("@" in policy for _, _, policy in points) else []
    legend(figure, *kinds, *changes)


def _demand(body: Element, question: Question) -> None:
    demand: Demand = demand_of(question.contest.traffic)
    section = section_of(body, "Demand", f"In bins of {demand.width} s.")
    x = time_axis(question.contest.traffic.seconds)
    middles = [(index + 0.5) * demand.width for index in range(len(demand.requests))]
    figure = SubElement(section, "figure")
    most = max(demand.requests)
    made = chart("requests", "Requests a second", f"at most {most:.3g} a second", x, value_axis("requests / s", most))
    made.line(zip(middles, demand.requests, strict=True), "requests")
    figure.append(made.root)
    figure = SubElement(section, "figure")
    most = max(*demand.prompts, *demand.outputs)
    about = f"at most {max(demand.prompts):,.0f} prompt and {max(demand.outputs):,.0f} output tokens a second"
    made = chart("tokens", "Tokens a second", about, x, value_axis("tokens / s", most))
    made.line(zip(middles, demand.prompts, strict=True), "prompts")
    made.line(zip(middles, demand.outputs, strict=True), "outputs")
    figure.append(made.root)
    legend(figure, ("line-prompts", "prompt tokens asked"), ("line-outputs", "output tokens asked"))


def _run(body: Element, question: Question, runs: Sequence[Run], each: Run, index: int) -> None:
    told, plot, limit = each.figures, each.plot, question.contest.ttft_seconds
    section = section_of(body, told.policy, "")
    x = time_axis(question.contest.traffic.seconds)
    begins = [bin_index * plot.width for bin_index in range(len(plot.ready))]
    total = [ready + loading for ready, loading in zip(plot.ready, plot.loading, strict=True)]
    # One scale for all policies, so that they can be compared by eye.
    most = max(ready + loading for run in runs for ready, loading in zip(run.plot.ready, run.plot.loading, strict=True))
    figure = SubElement(section, "figure")
    about = f"at most {max(plot.ready)} ready and {max(plot.loading)} loading; changed {told.scale_events} times"
    made = chart(f"replicas-{index}", f"Replicas under {told.policy}", about, x, value_axis("replicas", most))
    made.steps(list(zip(begins, total, strict=True)), plot.width, "loading", base=plot.ready)
    made.steps(list(zip(begins, plot.ready, strict=True)), plot.width, "ready")
    figure.append(made.root)
    legend(figure, ("area-ready", "ready or draining"), ("area-loading", "loading"))
    figure = SubElement(section, "figure")
    times = [value for run in runs for value in (*run.plot.p50, *run.plot.p95) if value is not None]
    y = log_axis("seconds", [*times, limit])
    p50, p95 = (number(value, ".2f") for value in told.ttft[:2])
    about = f"over the whole run p50 {p50} s and p95 {p95} s, within {limit:g} s for {number(told.attainment, '.2%')} of the requests"
    made = chart(f"ttft-{index}", f"Time to first token under {told.policy}", about, x, y)
    made.level(limit, "limit", f"{limit:g} s")
    middles = [begin + plot.width / 2 for begin in begins]
    made.line(zip(middles, plot.p50, strict=True), "p50")
    made.line(zip(middles, plot.p95, strict=True), "p95")
    figure.append(made.root)
    legend(
        figure,
        ("line-p50", "half of the requests of a bin had a first token within"),
        ("line-p95", "95 of 100 had"),
        ("line-limit", "wanted"),
    )
