"""Why a gang has no place though GPUs are free, and what to move.

    slots of a node = free GPUs // GPUs of a pod of the gang;  the gang fits where the slots are at least its pods

Each missing slot is found on the node where the fewest GPUs have to be moved away, and there by the pods whose GPUs exceed what is
missing the least.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from llama_operator.planning.gpus import GangShape
from llama_operator.planning.hardware.requests import Holder

SHOWN = 8
"""Nodes that a message names; a condition is read in a terminal."""


class Room(Protocol):
    """GPUs of one node, as `lifecycle.observed.NodeGpus` holds them."""

    @property
    def node(self) -> str:
        """Its name."""
        ...

    @property
    def total(self) -> int:
        """Allocatable GPUs."""
        ...

    @property
    def free(self) -> int:
        """Those that no pod holds; 0 where the node is cordoned."""
        ...


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Whether a gang has a place now."""

    nodes: tuple[str, ...]
    """A node for each pod of the gang; empty where it has no place."""
    moves: tuple[Holder, ...]
    """Pods whose move makes place; empty where it has one, or where no moves would help."""
    message: str

    @property
    def fits(self) -> bool:
        """Whether it has a place."""
        return bool(self.nodes)


def diagnose(
    rooms: Sequence[Room], holders: Sequence[Holder], gang: GangShape, cordoned: Collection[str] = (), *, namespace: str | None = None
) -> Diagnosis:
    """Where the gang can lie, or what stands in its way. The gang has GPUs; no move off a cordoned node is proposed.

    The words name the pods of `namespace` only, where one is given: who may read them need not know what others run.
    """
    size = gang.gpus_per_pod
    # The fullest nodes first, so that whole nodes stay whole.
    places = [room.node for room in sorted(rooms, key=lambda room: (room.free, room.node)) for _ in range(room.free // size)]
    wants = f"a gang needs {size} on one node" if gang.pods == 1 else f"a gang needs {gang.pods} x {size}, each on one node"
    if len(places) >= gang.pods:
        nodes = tuple(places[: gang.pods])
        return Diagnosis(nodes=nodes, moves=(), message=f"{wants}: {', '.join(dict.fromkeys(nodes))}")
    if not rooms:
        return Diagnosis(nodes=(), moves=(), message=f"no node has a GPU; {wants}")
    free = f"{_free(rooms)}; {wants}"
    most, slots = max((room.total for room in rooms), default=0), sum(room.total // size for room in rooms)
    if most < size:
        return Diagnosis(nodes=(), moves=(), message=f"{free}: the largest node has {most}")
    if slots < gang.pods:
        return Diagnosis(nodes=(), moves=(), message=f"{free}: even empty, the nodes have place for {slots} of the {gang.pods}")
    open_rooms = [room for room in rooms if room.node not in cordoned]
    moves = _moves(open_rooms, holders, size, gang.pods - len(places))
    if not moves:
        return Diagnosis(nodes=(), moves=(), message=f"{free}: wait for GPUs to become free, or make cordoned nodes schedulable")
    words = ", ".join(f"{_named(move, namespace)} ({move.gpus} on {move.node})" for move in moves)
    return Diagnosis(nodes=(), moves=moves, message=f"{free}: move {words}, or wait")


def _named(move: Holder, namespace: str | None) -> str:
    own, _, pod = move.pod.partition("/")
    if namespace is None:
        return move.pod
    return pod if own == namespace else "a pod of another namespace"


def _free(rooms: Sequence[Room]) -> str:
    """`8 GPUs are free, on 3 nodes (a: 4, b: 3, c: 1)`."""
    some = sorted((room for room in rooms if room.free), key=lambda room: (-room.free, room.node))
    if not some:
        every = sorted(rooms, key=lambda room: (-room.total, room.node))
        return f"no GPU is free ({_listed([f'{room.node}: 0 of {room.total}' for room in every])})"
    count, nodes = sum(room.free for room in some), len(some)
    where = _listed([f"{room.node}: {room.free}" for room in some])
    return f"{count} {'GPU is' if count == 1 else 'GPUs are'} free, on {nodes} {'node' if nodes == 1 else 'nodes'} ({where})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _moves(rooms: Sequence[Room], holders: Sequence[Holder], size: int, missing: int) -> tuple[Holder, ...]:
    """The pods to move so that there are `missing` more slots; empty where moves cannot make so many."""
    free = {room.node: room.free for room in rooms}
    held = {room.node: [each for each in holders if each.node == room.node] for room in rooms}
    moved: list[Holder] = []
    for _ in range(missing):
        ways = []
        for node, room in sorted(free.items()):
            fewest = _fewest(held[node], size - room % size)
            if fewest is not None:
                ways.append((sum(each.gpus for each in fewest), len(fewest), node, fewest))
        if not ways:
            return ()
        gpus, _, node, chosen = min(ways, key=lambda way: way[:3])
        moved += chosen
        free[node] += gpus
        held[node] = [each for each in held[node] if each not in chosen]
    return tuple(moved)


def _fewest(held: Sequence[Holder], needed: int) -> tuple[Holder, ...] | None:
    """Of the pods of a node, those that hold at least `needed` GPUs together and the least above it; then the fewest pods. None: they hold
    too few.
    """
    best: dict[int, tuple[Holder, ...]] = {0: ()}
    for each in sorted(held, key=lambda holder: (-holder.gpus, holder.pod)):
        for gpus, pods in list(best.items()):
            more = (*pods, each)
            if gpus < needed and len(more) < len(best.get(gpus + each.gpus, (*more, each))):
                best[gpus + each.gpus] = more
    enough = [gpus for gpus in best if gpus >= needed]
    return best[min(enough)] if enough else None
