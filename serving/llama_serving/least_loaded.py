"""Which replica gets the next request: of three drawn at random the one with the fewest requests in hand.

Each pod has a router of its own, and none sees what the others hand on. So a router asks those that it drew how many they have in hand,
unless it was told within the last REPORT_SECONDS, and adds what it handed to them itself since. Taking turns, as Ray's own router
for direct streaming does, knows nothing of how long a request is: what entered a full replica waits there while another is idle. A few
instead of all: the fewest by counts that are half a second old would be the fewest for every router at once (Mitzenmacher, "How
Useful Is Old Information?", IEEE TPDS 11(1), 2000; "The Power of Two Choices", TPDS 12(10), 2001), and one that answers every request with
an error, at once, would get them all. Three instead of two: docs/adr/0013-choices.md.

Who owes an answer comes after all who gave one: its last count is low because nothing was heard of it since. Who never answered comes last:
nothing is known of it.

Ray sends this class to the processes that route by the value of this module, not by its name, so that routers of pods whose package is
older know it, too: nothing of `llama_serving` may be imported here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

from ray.exceptions import ActorDiedError
from ray.serve.request_router import FIFOMixin, RequestRouter

logger = logging.getLogger("ray.serve")  # which Serve writes to the file of the process that routes

DRAWN = 3
REPORT_SECONDS = 0.5
"""For so long a replica's own count is believed. A router asks each replica twice a second at most, however many requests come."""
WAIT_SECONDS = 0.1
"""For an answer. After it the replica counts as silent until it answers."""
ON_THE_WAY_SECONDS = 0.1
"""From a choice until the replica itself counts the request."""
MOST_REMEMBERED = 10_000
"""Requests handed to a replica that never answers: enough to never choose it."""


class Counts:
    """What a router knows of each replica: when it was asked, how many it said to have in hand, and what was handed to it since.

    Times are seconds of one clock that never goes back.
    """

    def __init__(self) -> None:
        self._asked: dict[Hashable, float] = {}
        self._told: dict[Hashable, tuple[float, int]] = {}
        self._failed: set[Hashable] = set()
        self._handed: dict[Hashable, deque[float]] = {}

    def order(self, replica: Hashable, now: float) -> tuple[bool, bool, int]:
        """The lowest gets the next request: of those that answer the one with the fewest in hand; where all are silent, of those that ever
        answered.
        """
        unknown = replica not in self._told
        return unknown or replica in self._failed or self.is_late(replica, now), unknown, self.in_hand(replica)

    def in_hand(self, replica: Hashable) -> int:
        """Requests in hand, as far as it is known."""
        return self._told.get(replica, (0.0, 0))[1] + len(self._handed.get(replica, ()))

    def is_old(self, replica: Hashable, now: float) -> bool:
        """Whether it should be asked again."""
        return now - self._asked.get(replica, -math.inf) > REPORT_SECONDS

    def is_late(self, replica: Hashable, now: float) -> bool:
        """Whether it owes the answer to its latest question for so long that nobody waits any more."""
        asked = self._asked.get(replica, -math.inf)
        told, _ = self._told.get(replica, (-math.inf, 0))
        return told < asked <= now - WAIT_SECONDS

    def ask(self, replica: Hashable, now: float) -> None:
        """A question goes to it."""
        self._asked[replica] = now

    def fail(self, replica: Hashable) -> None:
        """The question came back as an error."""
        self._failed.add(replica)

    def told(self, replica: Hashable, asked: float, in_hand: int) -> None:
        """It answered: so many it had, when it was `asked`, those that were still on the way to it excepted."""
        self._told[replica] = (asked, in_hand)
        self._failed.discard(replica)
        handed = self._handed.get(replica)
        while handed and handed[0] < asked - ON_THE_WAY_SECONDS:
            handed.popleft()

    def hand(self, replica: Hashable, now: float) -> None:
        """A request goes to it."""
        self._handed.setdefault(replica, deque(maxlen=MOST_REMEMBERED)).append(now)

    def keep(self, replicas: Iterable[Hashable]) -> None:
        """Forget all others."""
        kept = set(replicas)
        self._asked = {replica: asked for replica, asked in self._asked.items() if replica in kept}
        self._failed &= kept
        self._told = {replica: told for replica, told in self._told.items() if replica in kept}
        self._handed = {replica: handed for replica, handed in self._handed.items() if replica in kept}


class LeastLoadedRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]  # Ray has no types
    """Ray's interface to it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._counts = Counts()
        self._questions: dict[Hashable, asyncio.Task[None]] = {}
        self._reported: set[Hashable] = set()

    def update_replicas(self, replicas: list[Any]) -> None:
        """Ray says which replicas there are."""
        super().update_replicas(replicas)
        here = {replica.replica_id for replica in replicas}
        self._counts.keep(here)
        self._reported &= here
        for gone in self._questions.keys() - here:
            self._questions.pop(gone).cancel()  # taken out here: a task that has not begun yet is cancelled without a step of its own

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """All of them, the chosen one first and the rest in random order. On the fast path the first is taken, whatever it has in hand."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # where all are full: else Ray asks again without a pause
        order = random.sample(candidate_replicas, len(candidate_replicas))
        if len(order) > 1:
            await self._ask(order[:DRAWN])
            # The dead are gone now. Who moves up in their place was not asked, and comes after those that were.
            drawn, rest = self._alive(order[:DRAWN]), self._alive(order[DRAWN:])
            now = time.monotonic()
            order = [*sorted(drawn, key=lambda replica: self._counts.order(replica.replica_id, now)), *rest]
        if order:
            self._counts.hand(order[0].replica_id, time.monotonic())
        return [[replica] for replica in order]

    def _alive(self, replicas: list[Any]) -> list[Any]:
        return [replica for replica in replicas if replica.replica_id in self.curr_replicas]

    async def _ask(self, replicas: list[Any]) -> None:
        """Those of them whose counts are old how many they have in hand, and wait for that; not for who was silent when asked before."""
        now = time.monotonic()
        tasks = []
        for replica in replicas:
            name = replica.replica_id
            if name not in self._questions and self._counts.is_old(name, now):
                self._counts.ask(name, now)
                self._questions[name] = asyncio.create_task(self._told_by(replica, now))
            if name in self._questions and not self._counts.is_late(name, now):
                tasks.append(self._questions[name])
        if tasks:
            await asyncio.wait(tasks, timeout=WAIT_SECONDS)

    async def _told_by(self, replica: Any, now: float) -> None:
        name = replica.replica_id
        try:
            self._counts.told(name, now, await replica.get_queue_len(deadline_s=WAIT_SECONDS))
        except ActorDiedError:
            self.on_replica_actor_died(name)  # the controller finds out seconds later
        except Exception as error:  # noqa: BLE001 -- any of Ray's errors about a replica that cannot be reached now: the others must do
            self._counts.fail(name)
            if name not in self._reported:
                self._reported.add(name)
                logger.warning("%s does not say how many requests it has, and gets none while others do: %r", name, error)
        finally:
            if self._questions.get(name) is asyncio.current_task():
                del self._questions[name]
