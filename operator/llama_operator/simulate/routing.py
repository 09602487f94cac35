"""Where requests go: to which of the ready replicas the next one is handed.

The clusters' routing is by choices. Each replica's pod has a router of its own; a request enters at a pod drawn at random. That router
takes, of DRAWN replicas drawn at random, the one with the lowest count, and of equal ones any. A count is what the replica
had in hand when this router last asked it, and what this router handed it since; a replica that is drawn is asked anew when that was more
than REPORT_SECONDS ago. The answer takes no time here.

A replica that is full refuses, and the router draws again: they are drawn from those that take one more.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from llama_operator.simulate.replica import Replica

Routing = Literal["least", "round-robin", "choices"]
"""How the replica of a request is chosen: by a router that knows them all; by each pod's router in turns; by each pod's by choices."""
LEAST: Routing = "least"
ROUND_ROBIN: Routing = "round-robin"
CHOICES: Routing = "choices"
ROUTINGS: tuple[Routing, ...] = (LEAST, ROUND_ROBIN, CHOICES)
DRAWN = 3
"""Replicas of which a router chooses: as `llama_serving.least_loaded`."""
REPORT_SECONDS = 0.5
"""For so long a router believes what a replica said: as `llama_serving.least_loaded`."""


class Router(ABC):
    """Chooses for all requests of a run. `accepts`: with as many in hand a replica takes no more."""

    def __init__(self, accepts: float, seed: int) -> None:
        self.accepts = accepts
        # Routers draw from a source of their own: loads are the same whatever the routing.
        self.doors = random.Random(f"doors {seed}")

    @abstractmethod
    def choose(self, serving: Sequence[Replica], now: float) -> Replica | None:
        """Of the ready replicas, oldest first, the one that takes a request now; None where none takes one more."""


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


class Choices(Router):
    """The one with the lowest count of `drawn` replicas: at the top of this file."""

    def __init__(self, accepts: float, seed: int, drawn: int = DRAWN) -> None:
        super().__init__(accepts, seed)
        self.drawn = drawn
        self._doors: dict[str, dict[str, Count]] = {}

    def choose(self, serving: Sequence[Replica], now: float) -> Replica | None:
        """By the counts of one router."""
        takers = serving if self.accepts == math.inf else [replica for replica in serving if replica.in_hand < self.accepts]
        if not takers:
            return None
        door = self._doors.setdefault(serving[int(self.doors.random() * len(serving))].name, {})
        best: tuple[Count, Replica] | None = None
        for replica in self._draw(takers):
            count = door.get(replica.name)
            if count is None:
                count = door[replica.name] = Count()
            if now - count.asked > REPORT_SECONDS:
                count.asked, count.in_hand = now, replica.in_hand
            # Of equal ones the first: it was drawn in an order of chance.
            if best is None or count.in_hand < best[0].in_hand:
                best = count, replica
        if best is None:
            return None
        best[0].in_hand += 1
        return best[1]

    def _draw(self, takers: Sequence[Replica]) -> Sequence[Replica]:
        count = len(takers)
        if self.drawn != DRAWN or count <= DRAWN:
            return self.doors.sample(takers, min(self.drawn, count))
        # As `sample`, in a fraction of its time: this is done for every request.
        draw = self.doors.random
        first, second, third = int(draw() * count), int(draw() * (count - 1)), int(draw() * (count - 2))
        second += second >= first
        low, high = (first, second) if first < second else (second, first)
        third += third >= low
        third += third >= high
        return takers[first], takers[second], takers[third]


class Count:
    """What one router knows of one replica: what it had in hand when it was asked, and what was handed to it since."""

    __slots__ = ("asked", "in_hand")

    def __init__(self) -> None:
        self.asked = -math.inf
        self.in_hand = 0


ROUTERS: Mapping[Routing, Callable[[float, int], Router]] = {LEAST: Fewest, ROUND_ROBIN: Turns, CHOICES: Choices}
