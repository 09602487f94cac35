"""What an hour of one accelerator costs a LlamaDeployment, where its annotation says so: for reserved nodes, spot nodes, another cloud.

An annotation and no field of the spec: it changes nothing that runs. The operator only tells it to Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from llama_operator.api.problems import show
from llama_operator.api.rule import Look, Rule

ANNOTATION = "llama-operator.dev/gpu-hour-price"
MOST = 100_000.0
"""Dollars an hour: more than any accelerator can cost, so that what is larger is a mistake of units."""
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
_LONGEST = 20
"""Characters of the longest number that can be meant."""


def read_price(annotations: Mapping[str, object] | None) -> float | None:
    """Dollars for one accelerator and hour; None where the annotation is absent or says no price."""
    given = (annotations or {}).get(ANNOTATION)
    if not isinstance(given, str) or len(given) > _LONGEST or _NUMBER.fullmatch(given) is None:
        return None
    price = float(given)
    return price if price <= MOST else None


def _unreadable(look: Look) -> str | None:
    annotations = look.mapping("metadata.annotations")
    return show(annotations[ANNOTATION]) if ANNOTATION in annotations and read_price(annotations) is None else None


READABLE = Rule(
    field=f"metadata.annotations[{ANNOTATION}]",
    allowed=f'dollars for one accelerator and hour, as in "2.5": digits and a point, at most {MOST:g}',
    remedy="Correct it, or remove it so that the price of the chart's cost.gpuHourPrices counts. Until then there is no cost.",
    broken=_unreadable,
    severity="warning",
)


def hour_price(obj: Mapping[str, object], table: Mapping[str, float]) -> float | None:
    """Dollars for one accelerator and hour of a LlamaDeployment, as read from the API server: its annotation, else its accelerator's entry.

    None where neither says: an annotation that cannot be read is a mistake, which the table must not hide.
    """
    look = Look(obj)
    annotations = look.mapping("metadata.annotations")
    if ANNOTATION in annotations:
        return read_price(annotations)
    return table.get(look.text("spec.hardware.accelerator") or "")
