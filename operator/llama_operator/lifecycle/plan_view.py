"""What was planned for a replica beside what its engine says once it runs: `status.plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.lifecycle.observed import World
from llama_operator.planning.admission import Admission
from llama_operator.planning.fit.option import gib

LARGEST = 10**15
DEVIATION = 0.05
"""Share by which an engine's KV cache, weights or memory may differ from the planned ones before somebody is told."""


def planned_and_observed(
    world: World, admission: Admission, gangs: Sequence[Gang], previous: Mapping[str, Any], revision: str | None
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
    agents = [
        agent
        for gang in gangs
        if gang.revision == revision and gang.state is GangState.READY
        for agent in map(world.agent, gang.pods)
        if agent is not None
    ]
    # The least cache and the most weights: the replica, and the rank, that is worst off.
    tokens = min(_told(agent.kv_cache_tokens for agent in agents), default=None)
    weights = max(_told(agent.weight_bytes for agent in agents), default=None)
    memory = max(_told(agent.memory_bytes for agent in agents), default=None)
    seen = _beside(planned, "kvCacheTokens", tokens, "ratio") | _beside(planned, "weightBytesPerGpu", weights, "weightRatio")
    observed = {**observed, **seen, **_beside(planned, "memoryBytesPerGpu", memory, "memoryRatio")}
    return {**planned, "observed": observed} if observed else planned


def _told(counts: Iterable[int | None]) -> list[int]:
    """What runs in a pod is the user's: a number that nothing has would make the whole status one that the API server refuses."""
    return [count for count in counts if count is not None and 0 < count <= LARGEST]


def _beside(planned: Mapping[str, Any], name: str, count: int | None, ratio: str) -> dict[str, Any]:
    if count is None:
        return {}
    expected = planned.get(name)
    return {name: count} | ({ratio: round(count / expected, 3)} if expected else {})


def deviation(previous: Mapping[str, Any], status: Mapping[str, Any]) -> str | None:
    """What to tell when an engine is first seen to differ from its plan by more than DEVIATION; None otherwise."""
    planned, before = status.get("plan") or {}, (previous.get("plan") or {}).get("observed") or {}
    observed = planned.get("observed") or {}
    said = []
    for ratio, words in (("ratio", _cache), ("weightRatio", _weights), ("memoryRatio", _memory)):
        found = observed.get(ratio)
        if found is not None and abs(found - 1) > DEVIATION and found != before.get(ratio):
            said.append(words(found, planned, observed))
    remedy = "; spec.hardware.custom gives the planner the memory that the GPUs really have"
    return "; ".join(said) + remedy if said else None


def _cache(ratio: float, planned: Mapping[str, Any], observed: Mapping[str, Any]) -> str:
    effect = "fewer long requests run at once" if ratio < 1 else "more would fit than the plan says"
    holds, expected = observed["kvCacheTokens"], planned["kvCacheTokens"]
    return f"the engine's KV cache holds {holds:,} tokens, {ratio:.3f} of the {expected:,} that were planned: {effect}"


def _weights(ratio: float, planned: Mapping[str, Any], observed: Mapping[str, Any]) -> str:
    takes, expected = observed["weightBytesPerGpu"], planned["weightBytesPerGpu"]
    return f"the weights take {gib(takes)} on the fullest GPU, {ratio:.3f} of the {gib(expected)} that were planned"


def _memory(ratio: float, planned: Mapping[str, Any], observed: Mapping[str, Any]) -> str:
    takes, expected = observed["memoryBytesPerGpu"], planned["memoryBytesPerGpu"]
    return f"{gib(takes)} are in use on the fullest GPU, {ratio:.3f} of the {gib(expected)} that were planned"
