"""Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/) for the series of many LlamaDeployments.

Each deployment's lines are written when they change, once a pass; a scrape only joins them, so that its time does not grow with the work of
formatting thousands of samples.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from llama_operator.telemetry.metric import Metric

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of one metric. `labels` holds those of the metric alone, in its order; an empty value is a label that is not there."""

    metric: Metric
    labels: tuple[str, ...] = ()
    value: float


def escape(value: str) -> str:
    """A label's value between its quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def line(sample: Sample) -> str:
    """One line of the text format. Raises ValueError where the labels are not those of the metric."""
    names = sample.metric.labels
    labels = ",".join(f'{name}="{escape(value)}"' for name, value in zip(names, sample.labels, strict=True))
    return f"{sample.metric.name}{{{labels}}} {float(sample.value)!r}\n"


@dataclass
class Board(Generic[K]):
    """The samples of every owner, by family."""

    metrics: Sequence[Metric]
    _lines: dict[str, dict[K, str]] = field(default_factory=dict)
    _written: dict[K, tuple[Sample, ...]] = field(default_factory=dict)

    def put(self, owner: K, samples: Iterable[Sample]) -> None:
        """All samples of an owner; those it had before and has not now are gone."""
        given = tuple(samples)
        if self._written.get(owner) == given:
            return
        fresh: dict[str, list[str]] = {}
        for sample in given:
            fresh.setdefault(sample.metric.name, []).append(line(sample))
        for metric in self.metrics:
            lines = self._lines.setdefault(metric.name, {})
            if metric.name in fresh:
                lines[owner] = "".join(fresh[metric.name])
            else:
                lines.pop(owner, None)
        self._written[owner] = given

    def forget(self, owner: K) -> None:
        """The owner is gone, and its series with it."""
        self._written.pop(owner, None)
        for lines in self._lines.values():
            lines.pop(owner, None)

    def count(self) -> int:
        """Series, of all owners."""
        return sum(len(samples) for samples in self._written.values())

    def text(self) -> str:
        """The whole in the text format; families without a sample are left out."""
        parts = []
        for metric in self.metrics:
            lines: Mapping[K, str] = self._lines.get(metric.name) or {}
            if lines:
                parts.append(f"# HELP {metric.name} {metric.meaning}\n# TYPE {metric.name} {metric.kind}\n")
                parts.extend(lines.values())
        return "".join(parts)
