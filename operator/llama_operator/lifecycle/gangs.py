"""Gangs: the pods that hold one replica together, and what state such a group is in.

pods of a gang         agent of rank 0        state
none ready yet         -                      Pending | Starting
all run                phase Downloading …    Downloading | LoadingWeights | WarmingUp
all run                phase Ready            Ready
all run                phase Failed           Failed      (kept until the next attempt, so that its log can be read)
one ended or missing   -                      Broken      (replaced whole, at once)
annotated for a drain  -                      Draining
one is being deleted   -                      Terminating
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llama_operator.lifecycle.observed import Agent, Pod, RootCause, World
from llama_operator.rendering import names

UNUSED_SECONDS = 240.0
"""How long a gang may be joined without a replica. A head that comes back just after a node was lost can leave a gang's resource booked
for a replica that is gone (ray-project/ray#26535); only a fresh Ray node frees it. Starting a replica's process takes up to a minute on a
busy machine."""

STUCK_SECONDS = 60.0
"""After `metadata.deletionTimestamp`, which holds the grace period already: a kubelet that lives has ended the pod by then."""


class GangState(StrEnum):
    """What a gang is doing. The values up to READY are also what `status.replicas[].phase` says."""

    PENDING = "Pending"
    STARTING = "Starting"
    DOWNLOADING = "Downloading"
    LOADING = "LoadingWeights"
    WARMING = "WarmingUp"
    READY = "Ready"
    FAILED = "Failed"
    BROKEN = "Broken"
    DRAINING = "Draining"
    TERMINATING = "Terminating"


LOADING_STATES = frozenset({GangState.PENDING, GangState.STARTING, GangState.DOWNLOADING, GangState.LOADING, GangState.WARMING})
_AGENT_STATES = {state.value: state for state in (*LOADING_STATES, GangState.READY, GangState.FAILED)} | {"Draining": GangState.TERMINATING}


@dataclass(frozen=True, kw_only=True)
class Gang:
    """One gang of one revision."""

    revision: str
    number: int
    pods: Sequence[Pod]
    state: GangState
    agent: Agent | None = None
    """The leader's."""
    why: str = ""
    """For a gang that is broken, pending or failed: why."""
    cause: RootCause | None = None
    stuck: bool = False
    """Its pods were to be gone long ago, and nobody can tell when they will be. What it holds is on a node that nobody can use."""

    @property
    def leader(self) -> Pod | None:
        """The pod of rank 0, where Serve's replica runs."""
        return next((pod for pod in self.pods if pod.rank == 0), None)

    @property
    def created(self) -> float:
        """When its youngest pod was made, in seconds since 1970."""
        return max((pod.created for pod in self.pods), default=0.0)

    @property
    def in_flight(self) -> int:
        """Requests in its engine. Unknown counts as busy, so that a silent replica is never the first victim for being 'idle'."""
        known = self.agent.in_flight if self.agent else None
        return 1_000_000 if known is None else known

    @property
    def counts(self) -> bool:
        """It is a replica that is, or will be, of use: what scaling counts as there."""
        return self.state in LOADING_STATES or self.state in (GangState.READY, GangState.BROKEN)

    def __str__(self) -> str:
        return f"gang {self.number} of revision {self.revision}"


def gangs_of(world: World) -> list[Gang]:
    """Every gang that has at least one pod, ordered by revision and number."""
    members: dict[tuple[str, int], list[Pod]] = defaultdict(list)
    for pod in world.pods:
        if pod.component == names.REPLICA:
            members[pod.revision, pod.gang].append(pod)
    return [_gang(world, revision, number, sorted(pods, key=lambda pod: pod.rank)) for (revision, number), pods in sorted(members.items())]


def _gang(world: World, revision: str, number: int, pods: list[Pod]) -> Gang:
    agent = world.agent(pods[0]) if pods[0].rank == 0 else None
    pinned = world.pinned.get(revision)
    size = len(pinned.gang) if pinned else len(pods)
    state, why, cause = _state(world, pods, agent, size)
    due = [pod.delete_by for pod in pods if pod.delete_by is not None]
    stuck = bool(due) and world.now - max(due) > STUCK_SECONDS
    return Gang(revision=revision, number=number, pods=pods, state=state, agent=agent, why=why, cause=cause, stuck=stuck)


def _state(world: World, pods: list[Pod], agent: Agent | None, size: int) -> tuple[GangState, str, RootCause | None]:
    if any(pod.deleting for pod in pods):
        return GangState.TERMINATING, "", None
    # A failure that the agent explained is a failed load, not a lost pod, even where the container has ended since.
    for pod in pods:
        said = world.agent(pod)
        if said and said.root_cause and said.phase == "Failed":
            return GangState.FAILED, said.root_cause.message, said.root_cause
    if any(pod.drain_since is not None for pod in pods):
        return GangState.DRAINING, "", None
    for pod in pods:
        if pod.ended:
            return GangState.BROKEN, f"pod {pod.name}: {pod.ended}", None
    if len(pods) < size:
        present = {pod.rank for pod in pods}
        missing = ", ".join(str(rank) for rank in range(size) if rank not in present)
        # Nothing ran yet: the pod was not made for an error of the API; it is simply made now.
        if all(pod.phase == "Pending" for pod in pods):
            return GangState.PENDING, f"rank {missing} is not made yet", None
        return GangState.BROKEN, f"the pod of rank {missing} is gone", None
    for pod in pods:
        if pod.unschedulable:
            return GangState.PENDING, f"pod {pod.name}: {pod.unschedulable}", None
        if pod.waiting:
            return GangState.PENDING, f"pod {pod.name}: {pod.waiting}", None
    if any(pod.phase == "Pending" for pod in pods):
        return GangState.PENDING, "", None
    if agent is None:
        # The agent is young, or busy for a moment. A pod that the kubelet finds ready stays what it was.
        return (GangState.READY if pods[0].ready else GangState.STARTING), "the agent does not answer", None
    state = _AGENT_STATES.get(agent.phase, GangState.STARTING)
    if state is GangState.STARTING and agent.joined and _unused_for(world, pods[0].revision, agent) > UNUSED_SECONDS:
        return GangState.BROKEN, f"Ray has placed no replica on it for {UNUSED_SECONDS:.0f} s", None
    if state is GangState.READY and not pods[0].ready:
        return GangState.WARMING, "its engine is ready, its proxy is not yet", None
    return state, "", None


def _unused_for(world: World, revision: str, agent: Agent) -> float:
    """Seconds in which a head could have placed a replica on the gang, and did not: only while it is ready can it do so."""
    head = world.head(revision)
    if head is None or head.ready_since is None:
        return 0.0
    return world.now - max(agent.since, head.ready_since)


def victim_order(gangs: Iterable[Gang]) -> list[Gang]:
    """Gangs in the order in which a scale-down takes them.

    First those that serve nobody yet (the least advanced first), then the emptiest, then the youngest, then the one that shares its
    nodes with the fewest other gangs, which frees whole nodes.
    """
    every = list(gangs)
    crowd: dict[str, int] = defaultdict(int)
    for gang in every:
        for pod in gang.pods:
            if pod.node:
                crowd[pod.node] += 1
    advance = {state: index for index, state in enumerate(GangState)}

    def order(gang: Gang) -> tuple[int, int, int, float, int, int]:
        ready = gang.state is GangState.READY
        neighbours = sum(crowd[pod.node] for pod in gang.pods if pod.node)
        return (1 if ready else 0, 0 if ready else advance[gang.state], gang.in_flight, -gang.created, neighbours, -gang.number)

    return sorted(every, key=order)


def free_numbers(taken: Iterable[int], count: int) -> list[int]:
    """The `count` smallest gang numbers that no pod bears, not even one that is still on its way out."""
    used = set(taken)
    numbers: list[int] = []
    candidate = 0
    while len(numbers) < count:
        if candidate not in used:
            numbers.append(candidate)
        candidate += 1
    return numbers
