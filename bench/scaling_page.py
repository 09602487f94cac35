"""What the runs of bench.scaling come to: tables, and a picture of cost against attainment.

A run is better than another where it attains more for fewer replica-seconds. The front is what nobody is better than.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

GOOD_ATTAINMENT, GOOD_COST = 0.98, 1.10
"""What is aimed at, of the clairvoyant's."""
GOOD_CLAIRVOYANT = 0.99
WORDS: Mapping[str, str] = {
    "poisson": (
        "with loads of 20 s the clairvoyant lets one of three replicas go for a minute and has it back in time; ours keeps it for "
        "minutes and pays 12 % more. With loads of 300 s ours lets one go in a quiet quarter of an hour and is late when it is wanted "
        "again: up to 1.2 points less than the clairvoyant, and peers that moved less are better."
    ),
    "bursts": (
        "those that are better hardly move, and three replicas (of three copies eight) happen to be enough; ours moves a few "
        "times, pays up to 8 % more and attains up to 1.5 points less."
    ),
    "flash crowd": (
        "nothing announces it, and what arrives before a load is done is late, whoever scales: this traffic cannot be forecast. "
        "With loads of 100 and 300 s ours then keeps its replicas for 400 to 900 s. Peers with down windows of 0 to 60 s let go at once "
        "and pay less, and those that look at their own scrapes every 2 s, or order at every look for all that the queue asks for, have "
        "more of them sooner."
    ),
    "code": (
        "bursts last seconds and are over before anything is loaded: who wants the clairvoyant's attainment must have replicas "
        "standing by for the worst of them, and ours is ready for 0.8 of what comes; one copy stays late for so long that what is measured "
        "corrects the model, and brings more. With loads of 300 s the clairvoyant pays 1.5 times as much as that. With loads of 20 s ours "
        "lets go between bursts after some 180 s, what comes then waits for a load, and it pays a quarter more than the clairvoyant."
    ),
    "mooncake": (
        "one prompt in eleven takes longer than 6 s by itself, so nobody attains more than 0.91, and of the clairvoyant's uses of capacity "
        "the one that attains most counts. What a minute brings says nothing of the next, and varies by 0.57 of its mean (of the bursts' "
        "by 0.16): this traffic cannot be forecast. Of three copies fixed numbers attain more for less. Of one copy with loads of 300 s "
        "the clairvoyant pays 1.7 times as much as ours for 6.5 points more."
    ),
    "azure conversation": (
        "of one copy with loads of 20 s ours keeps a third replica for minutes where the clairvoyant lets it go for one, and pays 11 % "
        "more. Peers that are better attain 0.02 to 0.15 points more for 1 to 3 % less. No parameter was fitted to this trace."
    ),
    "steep day": (
        "it falls eight times as steeply as a real one, so that a down window of 400 s and more costs eight times as much. Peers "
        "that are told 65 requests for each replica, a little more than it has slots, ask for less on the way up; with loads of "
        "20 s that is enough, and with loads of 300 s they let go later than ours, which attains 1.5 points less then."
    ),
    "day of 24 h": (
        "ours attains 0.997 and more. Of one copy with loads of 20 s peers that are told 65 requests for each replica do so too, and "
        "pay 1 % less."
    ),
}
"""For each traffic why its cells fail, where they do. Written by hand: look again where the policy was changed."""
LISTED = 4
"""Better runs that are named in the summary; of more the number is told."""
COMMAND = "python -m bench.scaling --azure AzureLLMInferenceTrace_conv.csv --grid --keep runs.jsonl --write docs"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One policy in one cell. `replicas`: their mean; `seconds`: replica-seconds."""

    policy: str
    attainment: float
    replicas: float
    seconds: float
    changes: int

    @property
    def family(self) -> str:
        """Its name without numbers."""
        return self.policy.replace(":", " ").split()[0]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One trace, so many copies, one load time. The first of `ours` has a time to first token as its objective."""

    trace: str
    copies: int
    load: float
    known: Run
    ours: Sequence[Run]
    usual: Sequence[Run]
    """Peers at their documented defaults."""
    tuned: Sequence[Run]
    """Peers at other settings, or at other targets."""
    fixed: Sequence[Run]

    @property
    def mine(self) -> Run:
        """The run that the aims are about."""
        return self.ours[0]

    @property
    def reached(self) -> bool:
        """The aim against the clairvoyant."""
        enough = self.mine.attainment >= GOOD_ATTAINMENT * self.known.attainment
        return enough and self.mine.seconds <= GOOD_COST * self.known.seconds

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.trace}, {self.copies} {'copies' if self.copies > 1 else 'copy'}, load time {self.load:g} s"


def chosen(runs: Sequence[Run]) -> Run:
    """Of the clairvoyant's the cheapest that attains GOOD_CLAIRVOYANT, or the one that attains most."""
    good = [each for each in runs if each.attainment >= GOOD_CLAIRVOYANT]
    return min(good, key=lambda each: each.seconds) if good else max(runs, key=lambda each: each.attainment)


def better(mine: Run, others: Iterable[Run]) -> list[Run]:
    """Those that attain more for less, the cheapest first."""
    found = (each for each in others if each.attainment > mine.attainment and each.seconds < mine.seconds)
    return sorted(found, key=lambda each: each.seconds)


def front(runs: Sequence[Run]) -> list[Run]:
    """Those that nobody is better than, or as good as for less; the cheapest first."""
    kept: list[Run] = []
    for each in sorted(runs, key=lambda each: (each.seconds, -each.attainment)):
        if not kept or each.attainment > kept[-1].attainment:
            kept.append(each)
    return kept


def row(found: Cell) -> str:
    """One line of the summary."""
    known, mine = found.known, found.mine
    share = f"{mine.attainment / known.attainment:.3f}, {mine.seconds / known.seconds:.3f}"
    where = f"{found.trace} | {found.copies} | {found.load:g} | {known.attainment:.4f}, {known.replicas:.2f}"
    rivals = (_named(better(mine, runs)) if runs else "not run" for runs in (found.usual, found.tuned, found.fixed))
    return f"| {where} | {mine.attainment:.4f}, {mine.replicas:.2f} | {share} | {'yes' if found.reached else 'no'} | {' | '.join(rivals)} |"


def _named(runs: Sequence[Run]) -> str:
    named = "; ".join(f"{each.policy} ({each.attainment:.4f}, {each.replicas:.2f})" for each in runs[:LISTED])
    return f"{named}; {len(runs) - LISTED} more" if len(runs) > LISTED else named or "none"


def whole(found: Cell) -> str:
    """A cell's runs: ours, the peers at their defaults, and of all others the front."""
    others = front([each for each in (*found.tuned, *found.fixed) if each.attainment > 0])
    rivals = [*found.ours, *found.usual, *found.tuned]
    rows = (
        f"| {each.policy} | {each.attainment:.4f} | {each.replicas:.2f} | {each.attainment / found.known.attainment:.3f} "
        f"| {each.seconds / found.known.seconds:.3f} | {each.changes} | {'yes' if better(each, rivals) else 'no'} |"
        for each in (found.known, *found.ours, *found.usual, *others)
    )
    head = (
        f"### {found.name[0].upper()}{found.name[1:]}",
        "",
        "| policy | attainment | mean replicas | attained of clairvoyant | seconds of clairvoyant | changes | somebody is better |",
        "|---|---|---|---|---|---|---|",
    )
    return "\n".join((*head, *rows))


def _alone(cells: Sequence[Cell], kind: str) -> str:
    rivals: list[tuple[Run, Sequence[Run]]] = [(each.mine, getattr(each, kind)) for each in cells if getattr(each, kind)]
    return f"{sum(not better(mine, runs) for mine, runs in rivals)} of the {len(rivals)} cells in which they were run"


def text(cells: Sequence[Cell], words: Mapping[str, str]) -> str:
    """The whole page. `words`: for each trace why its cells fail, where they do."""
    count = len(cells)
    reached = sum(each.reached for each in cells)
    usual, tuned, fixed = (_alone(cells, kind) for kind in ("usual", "tuned", "fixed"))
    runs = sum(1 + len(each.ours) + len(each.usual) + len(each.tuned) + len(each.fixed) for each in cells)
    begun = f"""# Scaling: ours, its peers, and a scaler that knows every arrival

Written by `{COMMAND}`: {runs:,} runs.
What is compared, and with which numbers, stands at the top of `bench/scaling.py` and `bench/scaling_grid.py`.
Why the policy is as it is: [ADR 0008](adr/0008-scaling-policy.md).

Attainment is the share of requests with a first token within 6 s; a number behind a policy's name is its requests in flight for each
replica. A policy is better than another where it attains more for fewer replica-seconds. Peers run at their documented defaults with
two such numbers, and over a grid of their settings: HPA's target and stabilisation window, KEDA's with cached metrics, Knative's
target and window, Ray Serve's queue length and delays, AIBrix' APA and KPA with their window. Of a grid, and of fixed numbers, only
hindsight knows which one to take: in each cell it is another.

Requests go where the operator's clusters send them: by choice of three, each pod's router for itself
([simulate.md](simulate.md#where-requests-go)).

The day of 24 h has nearly half a million requests a copy; the grid is not run on it. The steep day has the same climb and fall in three
hours: eight times as steep. A week of 168 hours is not among the cells: it has 3.3 million requests, and no steeper changes than its days.

| aim | reached |
|---|---|
| {GOOD_ATTAINMENT} of the clairvoyant's attainment for {GOOD_COST:.2f} of its replica-seconds | {reached} of {count} cells |
| no peer at its defaults is better | {usual} |
| no peer over the grid of its settings is better | {tuned} |
| no fixed number is better | {fixed} |"""
    titles = ("trace", "copies", "load s", "clairvoyant: attained, replicas", "ours: attained, replicas", "of clairvoyant", "aim")
    rivals = ("better peers at defaults", "better peers of the grid", "better fixed numbers")
    head = f"| {' | '.join((*titles, *rivals))} |\n|{'---|' * len((*titles, *rivals))}"
    picture_of = "![Cost and requests that came too late, for each cell](scaling-pareto.svg)"
    failing = sorted({each.trace for each in cells if not each.reached or better(each.mine, (*each.usual, *each.tuned, *each.fixed))})
    why = "\n".join(f"- *{name}*: {words[name]}" for name in words if name in failing)
    parts = [begun, picture_of, "\n".join((head, *map(row, cells))), f"## Cells that fail, and why\n\n{why}", "## Every cell"]
    parts.append(
        "Ours, the peers at their defaults, and of the grid and the fixed numbers the front: those that no other of them is better than."
    )
    return "\n\n".join((*parts, *map(whole, cells)))


WIDE, HIGH, LEFT, TOP, BETWEEN, LEGEND = 168, 118, 140, 64, 22, 40
LEAST_COST, MOST_COST, LEAST_LATE = 0.5, 2.0, 3e-4
STYLE = """
text{font:11px sans-serif;fill:#1f2328} .small{font-size:9px;fill:#59636e} .page{fill:#fff}
.frame{fill:none;stroke:#d1d9e0} .area{fill:#1f883d;fill-opacity:.08}
.tuned{fill:#818b98;fill-opacity:.55} .usual{fill:#bc4c00} .fixed{fill:none;stroke:#0969da}
.known{fill:none;stroke:#1f2328;stroke-width:1.5} .ours{fill:#1f883d}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc} .small{fill:#9198a1} .page{fill:#0d1117} .frame{stroke:#3d444d}
.known{stroke:#f0f6fc} .fixed{stroke:#4493f8} .ours{fill:#3fb950} .usual{fill:#db6d28}}
"""


def picture(cells: Sequence[Cell]) -> str:
    """One panel a cell: replica-seconds of the clairvoyant's to the right, the share of requests that came too late downwards."""
    traces = list(dict.fromkeys(each.trace for each in cells))
    columns = sorted({(each.copies, each.load) for each in cells})
    width = LEFT + len(columns) * (WIDE + BETWEEN)
    height = TOP + len(traces) * (HIGH + BETWEEN) + LEGEND
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "role": "img"})
    SubElement(root, "title").text = "Replica-seconds against requests that came too late: ours, peers, fixed numbers and the clairvoyant"
    SubElement(root, "style").text = STYLE
    SubElement(root, "rect", {"class": "page", "width": str(width), "height": str(height)})
    for index, (copies, load) in enumerate(columns):
        _text(root, LEFT + index * (WIDE + BETWEEN), TOP - 22, f"{copies} {'copies' if copies > 1 else 'copy'}, load {load:g} s")
    for number, trace in enumerate(traces):
        _text(root, 4, TOP + number * (HIGH + BETWEEN) + 14, trace)
    for each in cells:
        across = LEFT + columns.index((each.copies, each.load)) * (WIDE + BETWEEN)
        _panel(root, each, across, TOP + traces.index(each.trace) * (HIGH + BETWEEN))
    kinds = (
        ("ours", "ours"),
        ("usual", "peers at defaults"),
        ("tuned", "peers over their settings"),
        ("fixed", "fixed numbers"),
        ("known", "clairvoyant"),
    )
    for index, (style, words) in enumerate(kinds):
        _mark(root, style, LEFT + index * 190, height - 22)
        _text(root, LEFT + index * 190 + 10, height - 18, words)
    _text(
        root,
        LEFT,
        16,
        "Up: fewer requests without a first token within 6 s. Left: fewer replica-seconds. Shaded: better than ours in both.",
    )
    indent(root)
    return tostring(root, encoding="unicode")


def _panel(root: Element, cell: Cell, left: float, top: float) -> None:
    def at(run: Run) -> tuple[float, float]:
        cost = min(max(run.seconds / cell.known.seconds, LEAST_COST), MOST_COST)
        late = min(max(1 - run.attainment, LEAST_LATE), 1.0)
        across = math.log(cost / LEAST_COST) / math.log(MOST_COST / LEAST_COST)
        return left + WIDE * across, top + HIGH * math.log(late / LEAST_LATE) / math.log(1 / LEAST_LATE)

    x, y = at(cell.mine)
    SubElement(root, "rect", {"class": "area", "x": f"{left}", "y": f"{top}", "width": f"{x - left:.1f}", "height": f"{y - top:.1f}"})
    SubElement(root, "rect", {"class": "frame", "x": f"{left}", "y": f"{top}", "width": f"{WIDE}", "height": f"{HIGH}"})
    for cost in (LEAST_COST, 1.0, MOST_COST):
        share = math.log(cost / LEAST_COST) / math.log(MOST_COST / LEAST_COST)
        _text(root, left + WIDE * share - 4, top + HIGH + 10, f"{cost:g}", "small")
    for late in (1e-3, 1e-2, 1e-1):
        _text(root, left - 26, top + HIGH * math.log(late / LEAST_LATE) / math.log(1 / LEAST_LATE) + 3, f"{100 * late:g}%", "small")
    for style, runs in (
        ("tuned", cell.tuned),
        ("fixed", cell.fixed),
        ("usual", cell.usual),
        ("known", [cell.known]),
        ("ours", [cell.mine]),
    ):
        for run in runs:
            _mark(root, style, *at(run), run)


def _mark(root: Element, style: str, x: float, y: float, run: Run | None = None) -> None:
    size = {"tuned": 2.0, "usual": 2.6, "fixed": 2.6, "known": 4.0, "ours": 4.2}[style]
    dot = SubElement(root, "circle", {"class": style, "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{size}"})
    if run is not None:
        SubElement(dot, "title").text = f"{run.policy}: {run.attainment:.4f}, {run.replicas:.2f} replicas"


def _text(root: Element, x: float, y: float, words: str, style: str = "") -> None:
    SubElement(root, "text", {"x": f"{x:.0f}", "y": f"{y:.0f}"} | ({"class": style} if style else {})).text = words
