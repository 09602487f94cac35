"""What runs come to, in the form that programs read: `schemaVersion` 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llama_operator.simulate.engine import Outcome

SCHEMA_VERSION = 1
GOOD_ATTAINMENT = 0.99
"""What a clairvoyant reference should attain where it can; of those that do the cheapest is the reference."""


def attainment(outcome: Outcome, ttft_seconds: float) -> float | None:
    """Share of all requests with a first token within the objective; an unserved one missed it. None where there was none."""
    if not outcome.requests:
        return None
    return sum(ttft <= ttft_seconds for ttft in outcome.ttft) / outcome.requests


def percentile(outcome: Outcome, share: float) -> float | None:
    """Time to first token in seconds, by nearest rank over all requests; None where that one never had a token."""
    if not outcome.requests:
        return None
    ranked = sorted(math.inf if math.isnan(ttft) else ttft for ttft in outcome.ttft)
    value = ranked[max(math.ceil(share * len(ranked)) - 1, 0)]
    return value if math.isfinite(value) else None


def reference(outcomes: Sequence[Outcome], ttft_seconds: float) -> Outcome:
    """Of several clairvoyant runs the cheapest that attains GOOD_ATTAINMENT; where none does, the one that attains most."""
    good = [outcome for outcome in outcomes if (attainment(outcome, ttft_seconds) or 0.0) >= GOOD_ATTAINMENT]
    if good:
        return min(good, key=lambda outcome: outcome.replica_seconds)
    return max(outcomes, key=lambda outcome: attainment(outcome, ttft_seconds) or 0.0)


def report(outcomes: Sequence[Outcome], ttft_seconds: float) -> dict[str, Any]:
    """All runs. What is set against the clairvoyant run is null where there is none, as is every number that does not exist."""
    known = next((outcome for outcome in outcomes if outcome.policy == "clairvoyant"), None)
    return {"schemaVersion": SCHEMA_VERSION, "runs": [_run(outcome, known, ttft_seconds) for outcome in outcomes]}


def _run(outcome: Outcome, known: Outcome | None, ttft_seconds: float) -> dict[str, Any]:
    attained = attainment(outcome, ttft_seconds)
    return {
        "policy": outcome.policy,
        "requests": outcome.requests,
        "attainment": attained,
        "replicaSeconds": outcome.replica_seconds,
        "meanReplicas": _ratio(outcome.replica_seconds, outcome.end),
        "ttft": {"p50": percentile(outcome, 0.5), "p95": percentile(outcome, 0.95), "p99": percentile(outcome, 0.99)},
        "scaleEvents": len(outcome.changes),
        "unserved": outcome.unserved,
        "attainmentVsClairvoyant": _ratio(attained, attainment(known, ttft_seconds) if known else None),
        "replicaSecondsVsClairvoyant": _ratio(outcome.replica_seconds, known.replica_seconds if known else None),
    }


def _ratio(value: float | None, to: float | None) -> float | None:
    return value / to if value is not None and to else None
