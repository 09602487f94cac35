"""Which replica gets the next request: of three drawn at random the one with the fewest requests in hand.

Each pod has a router of its own, and none sees what the others hand on. So a router asks those that it drew how many they have in hand,
unless it was told within the last REPORT_SECONDS, and adds what it handed to them itself since. Taking turns, as Ray's own router
for direct streaming does, knows nothing of how long a request is: what entered a full replica waits there while another is idle. A few
instead of all: the fewest by counts that are half a second old would be the fewest for every router at once (Mitzenmacher, "How
Useful Is Old Information?", IEEE TPDS 11(1), 2000; "The Power of Two Choices", TPDS 12(10), 2001), and one that answers every request with
an error, at once, would get them all. Three instead of two: docs/adr/0013-choices.md.

Ray sends this class to the processes that route by the value of this module, not by its name, so that routers of pods whose package is
older know it, too: nothing of `llama_serving` may be imported here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

from ray.exceptions import ActorDiedError
from ray.serve.request_router import FIFOMixin, RequestRouter

DRAWN = 3
REPORT_SECONDS = 0.5
"""For so long a replica's own count is believed. A router asks each replica twice a second at most, however many requests come."""
WAIT_SECONDS = 0.1
"""For an answer. After it the last count and what was handed on since must do: a replica that hangs gets fewer and fewer."""
ON_THE_WAY_SECONDS = 0.1
"""From a choice until the replica itself counts the request."""
MOST_REMEMBERED = 10_000
"""Requests handed to a replica that never answers: enough to never choose it."""


class Counts:
    """What a router knows of each replica: how many it said to have in hand, when it was asked, and what was handed to it since.

    Times are seconds of one clock that never goes back.
    """

    def __init__(self) -> None:
        self._told: dict[Hashable, tuple[float, int]] = {}
        self._handed: dict[Hashable, deque[float]] = {}

    def in_hand(self, replica: Hashable) -> int:
        """Requests in hand, as far as it is known."""
        return self._told.get(replica, (0.0, 0))[1] + len(self._handed.get(replica, ()))

    def is_old(self, replica: Hashable, now: float) -> bool:
        """Whether it should be asked again."""
        return replica not in self._told or now - self._told[replica][0] > REPORT_SECONDS

    def told(self, replica: Hashable, asked: float, in_hand: int) -> None:
        """It answered: so many it had, when it was `asked`, those that were still on the way to it excepted."""
        self._told[replica] = (asked, in_hand)
        handed = self._handed.get(replica)
        while handed and handed[0] < asked - ON_THE_WAY_SECONDS:
            handed.popleft()

    def hand(self, replica: Hashable, now: float) -> None:
        """A request goes to it."""
        self._handed.setdefault(replica, deque(maxlen=MOST_REMEMBERED)).append(now)

    def keep(self, replicas: Iterable[Hashable]) -> None:
        """Forget all others."""
        kept = set(replicas)
        self._told = {replica: told for replica, told in self._told.items() if replica in kept}
        self._handed = {replica: handed for replica, handed in self._handed.items() if replica in kept}


class LeastLoadedRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]  # Ray has no types
    """Ray's interface to it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._counts = Counts()
        self._asked: dict[Hashable, tuple[float, asyncio.Task[None]]] = {}

    def update_replicas(self, replicas: list[Any]) -> None:
        """Ray says which replicas there are."""
        super().update_replicas(replicas)
        here = {replica.replica_id for replica in replicas}
        self._counts.keep(here)
        for gone in self._asked.keys() - here:
            self._asked[gone][1].cancel()

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """All of them, the chosen one first and the rest in random order. On the fast path the first is taken, whatever it has in hand."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # where all are full: else Ray asks again without a pause
        order = random.sample(candidate_replicas, len(candidate_replicas))
        if len(order) > 1:
            await self._ask(order[:DRAWN])
            order = [replica for replica in order if replica.replica_id in self.curr_replicas]
            order[:DRAWN] = sorted(order[:DRAWN], key=lambda replica: self._counts.in_hand(replica.replica_id))
        if order:
            self._counts.hand(order[0].replica_id, time.monotonic())
        return [[replica] for replica in order]

    async def _ask(self, replicas: list[Any]) -> None:
        """Those of them whose counts are old how many they have in hand, and wait for that; not for who was silent when asked before."""
        now = time.monotonic()
        for replica in replicas:
            name = replica.replica_id
            if name not in self._asked and self._counts.is_old(name, now):
                self._asked[name] = (now, asyncio.create_task(self._told_by(replica, now)))
        open_ = [self._asked[replica.replica_id] for replica in replicas if replica.replica_id in self._asked]
        if tasks := [task for asked, task in open_ if now - asked < WAIT_SECONDS]:
            await asyncio.wait(tasks, timeout=WAIT_SECONDS)

    async def _told_by(self, replica: Any, now: float) -> None:
        try:
            self._counts.told(replica.replica_id, now, await replica.get_queue_len(deadline_s=WAIT_SECONDS))
        except ActorDiedError:
            self.on_replica_actor_died(replica.replica_id)  # the controller finds out seconds later
        except Exception:  # noqa: BLE001, S110 -- any of Ray's errors about a replica that cannot be reached now: what is known of it must do
            pass
        finally:
            self._asked.pop(replica.replica_id, None)
