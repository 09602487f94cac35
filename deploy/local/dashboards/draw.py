"""The dashboards as pictures: each panel where Grafana would put it, drawn from what a Prometheus answered.

No Grafana is needed: the layout, units, thresholds and queries are the dashboards' own, so that what is drawn is what was reviewed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from dashboards.tried import Choice, Series, Tried
from llama_operator.telemetry.dashboards.panel import Board, Panel

COLUMNS = 24
CELL_WIDTH, CELL_HEIGHT = 0.52, 0.36
"""Inches of one column, and of one row of the grid."""
DPI = 100
COLOURS = 128
"""Of the picture's palette: lines and text need no more, and a picture stays below 150 kB."""
INK, PAPER, CARD, GRID = "#d8d9da", "#111217", "#181b1f", "#2c3235"
SHADES = {"green": "#73bf69", "blue": "#5794f2", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c", "text": INK}
LINES = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#5195ce", "#ba43a9", "#806eb7", "#9ac48a", "#f2c96d")
MOST_LEGENDS = 8
SHORT_SECONDS = 300
"""A time shorter than this is told by the second."""
CHARACTER = 5.7
"""Pixels of an average character of a table."""
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_SI = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def draw_all(boards: Iterable[Board], tried: Sequence[Tried], choice: Choice, folder: Path) -> list[Path]:
    """Every dashboard, as dashboard-NAME.png in a folder."""
    paths = []
    for board in boards:
        paths.append(folder / f"dashboard-{board.name}.png")
        draw(board, tried, choice, paths[-1])
    return paths


def draw(board: Board, tried: Sequence[Tried], choice: Choice, path: Path) -> None:
    """One dashboard into a PNG file."""
    places = list(_places(board))
    height = max(top + panel.height for _, panel, _, top in places if panel) + 2
    with mpl.rc_context({"font.size": 7.5, "font.family": "DejaVu Sans", "text.color": INK, "axes.labelcolor": INK}):
        figure = Figure(figsize=(COLUMNS * CELL_WIDTH, height * CELL_HEIGHT), dpi=DPI, facecolor=PAPER)
        figure.text(0.008, 1 - 1.1 / height, board.title, fontsize=12, weight="bold", va="center")
        when = f"{datetime.fromtimestamp(choice.start, UTC):%Y-%m-%d %H:%M} to {datetime.fromtimestamp(choice.end, UTC):%H:%M} UTC"
        chosen = "all" if board.many else f"{choice.namespace}/{choice.deployment}"
        figure.text(0.992, 1 - 1.1 / height, f"{chosen}   {when}", ha="right", va="center", color="#9fa7b3")
        for heading, panel, left, top in places:
            if panel is None:
                figure.text(0.008, 1 - (top + 2.6) / height, heading, fontsize=9, weight="bold", va="center", color="#ccccdc")
            else:
                box = (left / COLUMNS, 1 - (top + 2 + panel.height) / height, panel.width / COLUMNS, panel.height / height)
                _card(figure, box, panel, [each for each in tried if each.board is board and each.panel is panel], choice)
        _save(figure, path)


def _places(board: Board) -> Iterator[tuple[str, Panel | None, int, int]]:
    """Headings and panels with their column and row, as the SDK lays them out: left to right, a new line where one does not fit."""
    top = 0
    for row in board.rows:
        yield row.title, None, 0, top
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            yield "", panel, left, top
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _card(figure: Figure, box: tuple[float, float, float, float], panel: Panel, tried: Sequence[Tried], choice: Choice) -> None:
    left, bottom, width, height = box
    gap_x, gap_y = 0.003, 0.06 / figure.get_figheight()
    card: Any = figure.add_axes((left + gap_x, bottom + gap_y, width - 2 * gap_x, height - 2 * gap_y), facecolor=CARD)
    card.set(xticks=[], yticks=[])
    for spine in card.spines.values():
        spine.set_color(GRID)
    inch = figure.get_figheight()
    card.text(0.012, 1 - 0.1 / (height * inch), panel.title, transform=card.transAxes, va="top", weight="bold", fontsize=8)
    found = [(each, series) for each in tried for series in each.series]
    if not found:
        words = f"empty: {panel.empty or tried[0].query.empty}" if panel.empty or tried[0].query.empty else "no data"
        card.text(0.5, 0.45, _wrap(words, int(width * 150)), transform=card.transAxes, ha="center", va="center", color="#8e8e8e")
        return
    painters: Mapping[str, Callable[..., None]] = {"lines": _lines, "stat": _stat, "table": _table, "bars": _bars}
    painters[panel.kind](figure, card, box, panel, found, choice)


def _lines(figure: Figure, card: Axes, box: Any, panel: Panel, found: Sequence[tuple[Tried, Series]], choice: Choice) -> None:
    del card
    left, bottom, width, height = box
    inches = height * figure.get_figheight()
    inside = (left + 0.042, bottom + height * 0.62 / inches, width - 0.052, height * (1 - 1.0 / inches))
    axes: Any = figure.add_axes(inside, facecolor=CARD)
    names = [legend(each.query.legend, series.labels) for each, series in found]
    if panel.stacked:
        times = sorted({time for _, series in found for time, _ in series.points})
        values = [[dict(series.points).get(time, 0.0) for time in times] for _, series in found]
        axes.stackplot([_time(time) for time in times], values, colors=LINES, alpha=0.75, labels=names)
    else:
        for index, (_, series) in enumerate(found):
            colour = LINES[index % len(LINES)]
            at, values_at = zip(*series.points, strict=True)
            axes.plot([_time(time) for time in at], values_at, color=colour, linewidth=1.1, label=names[index])
    highest = max(1.06 * max((value for _, series in found for _, value in series.points), default=0.0), axes.get_ylim()[1], 1e-9)
    axes.set_ylim(0, highest)
    axes.set_xlim(_time(choice.start), _time(choice.end))
    for value, colour in panel.thresholds:
        if value is not None and 0 < value < highest:
            axes.axhline(value, color=SHADES[colour], linewidth=0.7, linestyle="--", alpha=0.8)
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=5))  # type: ignore[no-untyped-call]  # matplotlib's has no types
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M" if choice.end - choice.start > SHORT_SECONDS else "%H:%M:%S"))  # type: ignore[no-untyped-call]  # the same
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: in_unit(value, panel.unit)))
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(colors="#9fa7b3", labelsize=6.5, length=0)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[:MOST_LEGENDS], [_cut(label, 44) for label in labels[:MOST_LEGENDS]], loc="upper left",
        bbox_to_anchor=(-0.036 / (width - 0.052), -0.1),
        ncols=3 if width < 0.4 else 5, fontsize=6, frameon=False, handlelength=1.2, columnspacing=1.0, labelcolor="#9fa7b3",
        borderaxespad=0,
    )  # fmt: skip


def _stat(figure: Figure, card: Axes, box: Any, panel: Panel, found: Sequence[tuple[Tried, Series]], choice: Choice) -> None:
    del figure, box, choice
    value = found[0][1].points[-1][1]
    card.text(
        0.5, 0.42, in_unit(value, panel.unit), transform=card.transAxes, ha="center", va="center", fontsize=17, color=shade(panel, value)
    )


def _bars(figure: Figure, card: Axes, box: Any, panel: Panel, found: Sequence[tuple[Tried, Series]], choice: Choice) -> None:
    del figure, box, choice
    rows = [(legend(each.query.legend, series.labels), series.points[-1][1]) for each, series in found][:8]
    most = max([value for _, value in rows] + [1.0])
    for index, (name, value) in enumerate(rows):
        y = 0.74 - index * 0.14
        card.text(0.03, y, _cut(name, 24), transform=card.transAxes, va="center", color="#9fa7b3")
        card.barh(y, 0.4 * value / most, left=0.5, height=0.08, color=shade(panel, value))
        card.text(0.97, y, in_unit(value, panel.unit), transform=card.transAxes, va="center", ha="right", color=shade(panel, value))
    card.set(xlim=(0, 1), ylim=(0, 1))


def _table(figure: Figure, card: Axes, box: Any, panel: Panel, found: Sequence[tuple[Tried, Series]], choice: Choice) -> None:
    del figure, choice
    hidden = {"__name__", "instance", "job"}
    keys = list(dict.fromkeys(key for _, series in found for key in sorted(series.labels) if key not in hidden))
    titles = [key.removeprefix("llama_operator_dev_") for key in keys]
    rows = [[series.labels.get(key, "") for key in keys] for _, series in found]
    if panel.unit != "short":
        titles.append("value")
        rows = [[*row, in_unit(series.points[-1][1], panel.unit)] for row, (_, series) in zip(rows, found, strict=True)]
    widths = [max(len(row[column]) for row in [titles, *rows]) + 2 for column in range(len(titles))]
    characters = box[2] * COLUMNS * CELL_WIDTH * DPI / CHARACTER
    scale = min(1.0, characters / sum(widths))
    most = int(panel.height * CELL_HEIGHT / 0.19) - 2
    for line, row in enumerate([titles, *sorted(rows)][: most + 1]):
        x = 0.012
        for cell, width in zip(row, widths, strict=True):
            y = 1 - (0.34 + 0.19 * line) / (panel.height * CELL_HEIGHT)
            colour = "#6e9fff" if line == 0 else INK
            card.text(x, y, _cut(cell, int(width * scale)), transform=card.transAxes, va="top", color=colour, fontsize=6.8)
            x += width / sum(widths) if scale < 1 else width / characters


def legend(form: str, labels: Mapping[str, str]) -> str:
    """Grafana's {{label}} replaced."""
    return _LABEL.sub(lambda found: labels.get(found[1], ""), form).strip() or "value"


def shade(panel: Panel, value: float) -> str:
    """The colour of a value by the panel's thresholds."""
    chosen = panel.thresholds[0][1]
    for bound, colour in panel.thresholds[1:]:
        if bound is not None and value >= bound:
            chosen = colour
    return SHADES[chosen]


def in_unit(value: float, unit: str) -> str:
    """A value as Grafana shows it in that unit."""
    if unit == "s":
        if 0 < abs(value) < 1:
            return f"{value * 1000:.3g} ms"
        return f"{value:.3g} s" if value < 600 else f"{value / 60:.3g} min"
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "currencyUSD":
        return f"${value:,.2f}" if value >= 0.1 or value == 0 else f"${value:.2g}"
    tail = "/s" if unit == "reqps" else ""
    return f"{_short(value)}{tail}"


def _short(value: float) -> str:
    for size, letter in _SI:
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= max(length, 3) else f"{text[: max(length, 3) - 1]}…"


def _wrap(text: str, length: int) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= max(length, 16):
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def _save(figure: Figure, path: Path) -> None:
    held = BytesIO()
    figure.savefig(held, format="png", facecolor=PAPER)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(held) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
