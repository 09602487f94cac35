"""What runs come to: which clairvoyant run is the reference, and all of them as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_operator.simulate.document import SCHEMA_VERSION, to_json
from llama_operator.simulate.engine import Outcome
from llama_operator.simulate.figures import attainment, figures, percentile

__all__ = ["GOOD_ATTAINMENT", "SCHEMA_VERSION", "attainment", "percentile", "reference", "report"]

GOOD_ATTAINMENT = 0.99
"""What a clairvoyant reference should attain where it can; of those that do the cheapest is the reference."""


def reference(outcomes: Sequence[Outcome], ttft_seconds: float) -> Outcome:
    """Of several clairvoyant runs the cheapest that attains GOOD_ATTAINMENT; where none does, the one that attains most."""
    good = [outcome for outcome in outcomes if (attainment(outcome, ttft_seconds) or 0.0) >= GOOD_ATTAINMENT]
    if good:
        return min(good, key=lambda outcome: outcome.replica_seconds)
    return max(outcomes, key=lambda outcome: attainment(outcome, ttft_seconds) or 0.0)


def report(outcomes: Sequence[Outcome], ttft_seconds: float) -> dict[str, Any]:
    """All runs. What is set against the clairvoyant run is null where there is none, as is every number that does not exist."""
    return to_json([figures(outcome, ttft_seconds) for outcome in outcomes])
