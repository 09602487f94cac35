"""What is known of one metric: the value type of the catalogue, and how a renamed metric is recognised."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
Source = Literal["serve", "vllm", "server", "agent", "operator", "recorded", "prometheus"]
"""Who makes it: Ray Serve, vLLM, our server class in the replica, the pod's agent, the operator, our recording rules, Prometheus itself."""

PARTS = ("_bucket", "_sum", "_count")
"""What a histogram's series end in."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One family, under the name that Prometheus has after scraping it (a histogram without its `_bucket`, `_sum`, `_count`)."""

    name: str
    kind: Kind
    unit: str
    """Base unit of a value, as in seconds, requests, tokens; ratio is a share from 0 to 1; info is a constant 1 that carries labels."""
    labels: tuple[str, ...]
    """Of the metric itself. Those that the scrape adds (`names.TARGET_LABELS`), and those that Ray adds to everything
    (`engine_metrics.RAY_LABELS`), are left out.
    """
    meaning: str
    source: Source
    seen: str
    """The version that it was seen with."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, +Inf left out."""
    optional: str = ""
    """Why it may be missing from a healthy engine that has answered requests; empty: it must be there."""

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series."""
        return tuple(self.name + part for part in PARTS) if self.kind == "histogram" else (self.name,)

    def bucket_of(self, seconds: float) -> float:
        """The smallest bound that is not below `seconds`; the largest where all are below. Raises ValueError without buckets."""
        if not self.buckets:
            raise ValueError(f"{self.name} has no buckets")
        return next((bound for bound in self.buckets if bound >= seconds), self.buckets[-1])


def nearest(missing: str, seen: Iterable[str]) -> str | None:
    """The name among `seen` that `missing` was most likely renamed to; None where nothing is like it."""
    found = difflib.get_close_matches(missing, sorted(set(seen)), n=1, cutoff=0.6)
    return found[0] if found else None


def family(series: str) -> str:
    """A series' name without a histogram's ending. A counter keeps its `_total`."""
    return next((series.removesuffix(part) for part in PARTS if series.endswith(part)), series)
