"""What was planned for a replica beside what its engine says once it runs: `status.plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.planning.admission import Admission

MOST_TOKENS = 10**12
DEVIATION = 0.05
"""Share by which an engine's KV cache may differ from the planned one before somebody is told."""


def planned_and_observed(
    admission: Admission, gangs: Sequence[Gang], previous: Mapping[str, Any], revision: str | None
) -> dict[str, Any] | None:
    """`status.plan`: the plan of the revision that should run, and what its engines observed; None where nothing was planned.

    A spec that is refused leaves the plan of what goes on running. What was observed stays while no replica is ready to be asked.
    """
    before = dict(previous.get("plan") or {})
    observed = before.pop("observed", None) or {}
    planned = dict(admission.plan or {}) if admission.accepted else before
    if not planned:
        return None
    if planned != before or previous.get("revision") != revision:
        observed = {}
    tokens = [gang.agent.kv_cache_tokens for gang in gangs if gang.revision == revision and gang.state is GangState.READY and gang.agent]
    # What runs in a pod is the user's: a number that no cache has would make the whole status one that the API server refuses.
    told = [count for count in tokens if count is not None and 0 < count <= MOST_TOKENS]
    if told:
        observed = _observed(min(told), planned)
    return {**planned, "observed": observed} if observed else planned


def _observed(tokens: int, planned: Mapping[str, Any]) -> dict[str, Any]:
    expected = planned.get("kvCacheTokens")
    return {"kvCacheTokens": tokens} | ({"ratio": round(tokens / expected, 3)} if expected else {})


def deviation(previous: Mapping[str, Any], status: Mapping[str, Any]) -> str | None:
    """What to tell when an engine is first seen to differ from its plan by more than DEVIATION; None otherwise."""
    planned = status.get("plan") or {}
    ratio = (planned.get("observed") or {}).get("ratio")
    if ratio is None or abs(ratio - 1) <= DEVIATION or ratio == ((previous.get("plan") or {}).get("observed") or {}).get("ratio"):
        return None
    holds, expected = planned["observed"]["kvCacheTokens"], planned["kvCacheTokens"]
    effect = "fewer long requests run at once" if ratio < 1 else "more would fit than the plan says"
    return (
        f"the engine's KV cache holds {holds:,} tokens, {ratio:.3f} of the {expected:,} that were planned: {effect}; "
        "spec.hardware.custom gives the planner the memory that the GPUs really have"
    )
