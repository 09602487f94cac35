"""Charts as inline SVG: a frame with axes, ticks and labels, and marks in it. Colours are classes, so that the page gives them.

Made with the standard library's XML tree: whatever a label holds, the result is well-formed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 74, 14, 10, 40
UNITS = ((86_400.0, "days", 3 * 86_400), (3600.0, "hours", 3 * 3600), (60.0, "minutes", 300), (1.0, "seconds", 0))
"""Seconds of a unit, its name, and the length of a run from which on it is used."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From `least` to `most`, with a label that holds the unit."""

    label: str
    least: float
    most: float
    log: bool = False
    scale: float = 1.0
    """By which values are divided for the numbers at the ticks."""
    steps: int = 5
    """Ticks that are aimed at."""

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1 between the ends."""
        value = min(max(value, self.least), self.most)
        if self.log:
            return math.log(value / self.least) / math.log(self.most / self.least)
        return (value - self.least) / (self.most - self.least)

    def ticks(self) -> list[float]:
        """Some round values; on a logarithmic axis the powers of ten."""
        if self.log:
            low, high = math.ceil(math.log10(self.least) - 1e-9), math.floor(math.log10(self.most) + 1e-9)
            return [10.0**power for power in range(low, high + 1)]
        step = _round_step((self.most - self.least) / self.scale / self.steps) * self.scale
        first = math.ceil(self.least / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.most / step + 1e-9) + 1)]

    def text(self, value: float) -> str:
        """A tick's number."""
        return f"{value / self.scale:,.10g}"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A frame to draw in."""

    root: Element
    x: Axis
    y: Axis
    height: int

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point of the picture."""
        across, up = WIDTH - LEFT - RIGHT, self.height - TOP - BOTTOM
        return LEFT + across * self.x.share(x), TOP + up * (1 - self.y.share(y))

    def line(self, points: Iterable[tuple[float, float | None]], style: str) -> None:
        """Through all points; a None is a gap."""
        self._path("".join(_segments(self, points)), style)

    def steps(self, points: Sequence[tuple[float, float]], width: float, style: str, base: Sequence[float] | None = None) -> None:
        """An area from `base`, else from 0, to values that each hold for `width`."""
        if not points:
            return
        lower = [0.0] * len(points) if base is None else base
        top = [corner for x, y in points for corner in (self.at(x, y), self.at(x + width, y))]
        below = [corner for (x, _), y in zip(points, lower, strict=True) for corner in (self.at(x, y), self.at(x + width, y))]
        text = "L".join(f"{x:.1f},{y:.1f}" for x, y in (*top, *reversed(below)))
        self._path(f"M{text}Z", style)

    def level(self, y: float, style: str, words: str) -> None:
        """A line across, with words above its end."""
        (left, height), (right, _) = self.at(self.x.least, y), self.at(self.x.most, y)
        attributes = {"x1": f"{left:.1f}", "x2": f"{right:.1f}", "y1": f"{height:.1f}", "y2": f"{height:.1f}", "class": style}
        SubElement(self.root, "line", attributes)
        self.words(right - 4, height - 4, words, "end")

    def words(self, x: float, y: float, text: str, anchor: str = "start", style: str = "label") -> None:
        """A text at a point of the picture."""
        SubElement(self.root, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": style}).text = text

    def dot(self, x: float, y: float, style: str, tip: str, radius: float = 5) -> None:
        """A point that says more when it is pointed at."""
        left, height = self.at(x, y)
        circle = SubElement(self.root, "circle", {"cx": f"{left:.1f}", "cy": f"{height:.1f}", "r": f"{radius:g}", "class": style})
        SubElement(circle, "title").text = tip

    def _path(self, text: str, style: str) -> None:
        if text:
            SubElement(self.root, "path", {"d": text, "class": style})


def chart(name: str, title: str, about: str, x: Axis, y: Axis, height: int = 190) -> Chart:
    """An empty frame. `name` is unique on the page; `title` and `about` are what a screen reader says."""
    root = Element(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-labelledby": f"{name}-title {name}-about", "id": name},
    )
    SubElement(root, "title", {"id": f"{name}-title"}).text = title
    SubElement(root, "desc", {"id": f"{name}-about"}).text = about
    made = Chart(root=root, x=x, y=y, height=height)
    for value in y.ticks():
        left, at = made.at(x.least, value)
        right, _ = made.at(x.most, value)
        SubElement(root, "line", {"x1": f"{left}", "x2": f"{right}", "y1": f"{at:.1f}", "y2": f"{at:.1f}", "class": "grid"})
        made.words(left - 6, at + 4, y.text(value), "end")
    for value in x.ticks():
        at, low = made.at(value, y.least)
        SubElement(root, "line", {"x1": f"{at:.1f}", "x2": f"{at:.1f}", "y1": f"{low}", "y2": f"{low + 4}", "class": "tick"})
        made.words(at, low + 17, x.text(value), "middle")
    left, low = made.at(x.least, y.least)
    SubElement(root, "line", {"x1": f"{left}", "x2": f"{WIDTH - RIGHT}", "y1": f"{low}", "y2": f"{low}", "class": "tick"})
    made.words((LEFT + WIDTH - RIGHT) / 2, height - 6, x.label, "middle", "axis")
    middle = (TOP + height - BOTTOM) / 2
    made.words(13, middle, y.label, "middle", "axis")
    root[-1].set("transform", f"rotate(-90 13 {middle:.1f})")
    return made


def time_axis(seconds: float) -> Axis:
    """From 0 on, in a unit in which the numbers stay small."""
    scale, unit, _ = next(row for row in UNITS if seconds >= row[2])
    return Axis(label=f"{unit} since the first request", least=0.0, most=max(seconds, 1.0), scale=scale, steps=8)


def value_axis(label: str, most: float) -> Axis:
    """From 0 to a little above the largest value."""
    return Axis(label=label, least=0.0, most=most * 1.08 if most > 0 else 1.0)


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """Whole powers of ten around the values."""
    seen = [value for value in values if value > 0]
    low = math.floor(math.log10(min(seen, default=0.1)))
    high = math.ceil(math.log10(max(seen, default=1.0)))
    return Axis(label=label, least=10.0**low, most=10.0 ** max(high, low + 1), log=True)


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _segments(frame: Chart, points: Iterable[tuple[float, float | None]]) -> Iterable[str]:
    begins = True
    for x, y in points:
        if y is None:
            begins = True
            continue
        left, height = frame.at(x, y)
        # A point alone between two gaps is a line of no length, which a round cap shows.
        yield f"M{left:.1f},{height:.1f}h0" if begins else f"L{left:.1f},{height:.1f}"
        begins = False
