"""Where requests go: to which of the ready replicas the next one is handed.

The clusters' routing is by two choices. Each replica's pod has a router of its own; a request enters at a pod drawn at random. That router
takes, of two replicas drawn at random (of two both), the one with the lower count, and of equal ones either. A count is what the replica
had in hand when this router last asked, and what this router handed it since. A router asks all replicas at once every REPORT_SECONDS,
each router at moments of its own; the answer takes no time here.

A replica that is full refuses, and the router draws again: the two are drawn from those that take one more.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from llama_operator.simulate.replica import Replica

Routing = Literal["least", "round-robin", "two-choices"]
"""How the replica of a request is chosen: by a router that knows them all; by each pod's router in turns; by each pod's by two choices."""
LEAST: Routing = "least"
ROUND_ROBIN: Routing = "round-robin"
TWO_CHOICES: Routing = "two-choices"
ROUTINGS: tuple[Routing, ...] = (LEAST, ROUND_ROBIN, TWO_CHOICES)
REPORT_SECONDS = 0.5
"""From one report that a router asks for to the next."""


class Router(ABC):
    """Chooses for all requests of a run. `accepts`: with as many in hand a replica takes no more."""

    def __init__(self, accepts: float, seed: int) -> None:
        self.accepts = accepts
        # Routers draw from a source of their own: loads are the same whatever the routing.
        self.doors = random.Random(f"doors {seed}")

    @abstractmethod
    def choose(self, serving: Sequence[Replica], now: float) -> Replica | None:
        """Of the ready replicas, oldest first, the one that takes a request now; None where none takes one more."""

    def changed(self, replica: Replica, now: float) -> None:
        """The replica has another number in hand from now on. Most need not know."""
        del replica, now


class Fewest(Router):
    """The oldest of those with the fewest in hand: what only a router can do that knows them all."""

    def choose(self, serving: Sequence[Replica], now: float) -> Replica | None:
        """By what they have in hand at this moment."""
        del now
        least: Replica | None = None
        fewest = self.accepts
        for replica in serving:
            if replica.in_hand < fewest:
                least, fewest = replica, replica.in_hand
                if not fewest:
                    break
        return least


class Turns(Router):
    """The next in turn at the router of a pod drawn at random, those left out that are full."""

    def __init__(self, accepts: float, seed: int) -> None:
        super().__init__(accepts, seed)
        self._turns: dict[str, int] = {}

    def choose(self, serving: Sequence[Replica], now: float) -> Replica | None:
        """By the turns of one router."""
        del now
        count = len(serving)
        if not count:
            return None
        door = serving[self.doors.randrange(count)].name
        turn = self._turns.get(door)
        turn = self.doors.randrange(count) if turn is None else turn
        self._turns[door] = turn + 1
        in_turn = (serving[(turn + step) % count] for step in range(count))
        return next((replica for replica in in_turn if replica.in_hand < self.accepts), None)


class Door:
    """What the router of one pod knows, beyond the reports: when it asked for the last one, and whom it handed how many since."""

    __slots__ = ("asked", "handed", "phase")

    def __init__(self, phase: float) -> None:
        self.phase = phase
        self.asked = -math.inf
        self.handed: dict[str, int] = {}

    def look(self, now: float) -> None:
        """Ask anew where it is time to."""
        asked = self.phase + math.floor((now - self.phase) / REPORT_SECONDS) * REPORT_SECONDS
        if asked > self.asked:
            self.asked = asked
            self.handed.clear()


class TwoChoices(Router):
    """As this operator's clusters do it: at the top of this file.

    Nothing happens when a router asks: what each replica had in hand is kept for as long as a router may go by it, and looked up.
    """

    def __init__(self, accepts: float, seed: int) -> None:
        super().__init__(accepts, seed)
        self._doors: dict[str, Door] = {}
        self._had: dict[str, deque[tuple[float, int]]] = {}

    def choose(self, serving: Sequence[Replica], now: float) -> Replica | None:
        """By the counts of one router."""
        takers = serving if self.accepts == math.inf else [replica for replica in serving if replica.in_hand < self.accepts]
        if not takers:
            return None
        door = self._door(serving[int(self.doors.random() * len(serving))].name)
        door.look(now)
        chosen = self.pick(takers, door)
        door.handed[chosen.name] = door.handed.get(chosen.name, 0) + 1
        return chosen

    def changed(self, replica: Replica, now: float) -> None:
        """Keep it, and forget what no router goes by any more."""
        had = self._had.get(replica.name)
        if had is None:
            had = self._had[replica.name] = deque()
        had.append((now, replica.in_hand))
        while len(had) > 1 and had[1][0] <= now - REPORT_SECONDS:
            had.popleft()

    def pick(self, takers: Sequence[Replica], door: Door) -> Replica:
        """Of two drawn the one with the lower count. The first is as likely either, so of equal ones it will do."""
        count, draw = len(takers), self.doors.random
        if count == 1:
            return takers[0]
        first, second = int(draw() * count), int(draw() * (count - 1))
        one, other = takers[first], takers[second + (second >= first)]
        return one if self.count(one.name, door) <= self.count(other.name, door) else other

    def count(self, name: str, door: Door) -> int:
        """Of a replica, as this router has it."""
        handed = door.handed.get(name, 0)
        for time, in_hand in reversed(self._had.get(name, ())):
            if time <= door.asked:
                return in_hand + handed
        return handed

    def new_door(self) -> Door:
        """The router of one more pod."""
        return Door(self.doors.random() * REPORT_SECONDS)

    def _door(self, name: str) -> Door:
        door = self._doors.get(name)
        if door is None:
            door = self._doors[name] = self.new_door()
        return door


ROUTERS: Mapping[Routing, Callable[[float, int], Router]] = {LEAST: Fewest, ROUND_ROBIN: Turns, TWO_CHOICES: TwoChoices}
