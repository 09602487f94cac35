"""The queries that a union holds, as a Prometheus of a test must tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_operator.adapters.prometheus_instant import WHICH

_PART = re.compile(rf'label_replace\((.*?), "{WHICH}", "([0-9]+)", "", ""\)', re.DOTALL)


def parts(query: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each query, and the labels that its series get."""
    found = _PART.findall(query)
    yield from ((inner, {WHICH: number}) for inner, number in found) if found else [(query, {})]


def labelled(series: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Series of an instant vector with those labels too."""
    return [{**item, "metric": {**item["metric"], **labels}} for item in series]
