"""What the pods' metrics ports expose, beside what the catalogue says of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.endpoint.barehost import call

from llama_operator.telemetry.catalogue import renamed
from llama_operator.telemetry.engine_metrics import RAY_LABELS
from llama_operator.telemetry.metric import Metric, family

EXPORTED_WITHIN_SECONDS = 20
"""Ray exports every two seconds; on a busy machine a report may be late. Scraped once a second meanwhile: an idle engine's gauges vanish."""
_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Exposed:
    """Of one family: its type, its label names, its bucket bounds."""

    kind: str = ""
    series: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    bounds: set[float] = field(default_factory=set)


def read(text: str, into: dict[str, Exposed]) -> None:
    """Add what a scrape exposes."""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            into.setdefault(name, Exposed()).kind = kind
        elif match := _LINE.match(line):
            name = match[1] if match[1] in into else family(match[1])
            found = into.setdefault(name, Exposed())
            labels = dict(_LABEL.findall(match[2] or ""))
            found.series.add(match[1])
            found.labels |= set(labels) - {"le"}
            if "le" in labels and labels["le"] != "+Inf":
                found.bounds.add(float(labels["le"]))


def assert_catalogued(urls: Sequence[str], expected: Iterable[Metric]) -> None:
    """Every expected family is exposed by one of the pods, with the type, the labels and the buckets that the catalogue has."""
    wanted = list(expected)
    exposed: dict[str, Exposed] = {}
    deadline = time.monotonic() + EXPORTED_WITHIN_SECONDS
    needed = {series for metric in wanted if not metric.optional for series in metric.series}
    while time.monotonic() < deadline:
        for url in urls:
            read(call("GET", url)[1], exposed)
        if needed <= _series(exposed):
            break
        time.sleep(1)  # noqa: TID251 -- the pace of the scrapes
    present = [metric for metric in wanted if not metric.optional or metric.name in exposed]
    assert renamed(present, _series(exposed)) == []
    wrong = [said for metric in present for said in _differences(metric, exposed[metric.name])]
    assert wrong == []


def _series(exposed: dict[str, Exposed]) -> set[str]:
    return {series for found in exposed.values() for series in found.series}


def _differences(metric: Metric, found: Exposed) -> list[str]:
    said = []
    if found.kind != metric.kind:
        said.append(f"{metric.name} is a {found.kind}, not a {metric.kind}")
    if missing := set(metric.labels) - found.labels:
        said.append(f"{metric.name} lacks the labels {sorted(missing)}; it has {sorted(found.labels - set(RAY_LABELS))}")
    if metric.buckets and found.bounds != set(metric.buckets):
        said.append(f"{metric.name} has the buckets {sorted(found.bounds)}, not {list(metric.buckets)}")
    return said
