"""The work queue: each key is worked on by one worker at a time, and a key added meanwhile is worked on once more, however often it
was added.

The same contract as client-go's: `add` coalesces, `add_after` delays (the earliest time wins), `retry` backs off exponentially with
jitter until `forget`. `remind` is an `add` for those that nothing happened to: it leaves a pause after a fault be. Times are the event
loop's.

Beyond client-go's: no more than `most` keys of one tenant are worked on at once. The others of that tenant keep their place in its own
line meanwhile, and do not hold up the keys of other tenants.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K")

BASE_SECONDS = 0.5
MAX_SECONDS = 60.0
FAULT_SECONDS = 300.0
"""The longest pause after a fault of our own: the world need not change for it to go on, and only a change, or a new version, mends it."""


def share(workers: int) -> int:
    """How many of the workers one tenant may keep busy: passes whose pods do not answer must leave some to the others."""
    return max(1, workers // 2)


class WorkQueue(Generic[K]):
    """An asyncio queue of keys."""

    def __init__(
        self,
        jitter: Callable[[], float] = random.random,
        *,
        tenant: Callable[[K], Hashable] = lambda key: key,
        most: int = 1,
    ) -> None:
        """`jitter` gives numbers in [0, 1). Without `tenant`, each key is one of its own, and limits nobody."""
        self._jitter = jitter
        self._tenant, self._most = tenant, most
        self._busy: Counter[Hashable] = Counter()
        self._held: dict[Hashable, deque[K]] = {}
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._faulty: set[K] = set()
        self._since: dict[K, float] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._dirty)

    def oldest_seconds(self) -> float:
        """How long the key that waits longest has waited; 0 where none does."""
        return asyncio.get_running_loop().time() - min(self._since.values()) if self._since else 0.0

    def add(self, key: K) -> None:
        """Have the key worked on, soon."""
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
        if key in self._dirty:
            return
        self._dirty.add(key)
        self._since[key] = asyncio.get_running_loop().time()
        if key not in self._working:
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key worked on in `seconds`, or earlier where that was asked for."""
        if seconds <= 0:
            self.add(key)
            return
        if key in self._dirty:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self.add, key)

    def remind(self, key: K) -> None:
        """Have the key worked on soon, though nothing is known to have happened to it; one that waits after a fault waits on."""
        if key not in self._faulty or key not in self._timers:
            self.add(key)

    def retry(self, key: K, *, fault: bool = False) -> float:
        """Have the key worked on after a pause that grows with each failure; the pause in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        (self._faulty.add if fault else self._faulty.discard)(key)
        longest = FAULT_SECONDS if fault else MAX_SECONDS
        pause = min(longest, BASE_SECONDS * 2.0 ** min(failures, 20)) * (0.5 + self._jitter() / 2)
        self.add_after(key, pause)
        return pause

    def forget(self, key: K) -> None:
        """The key's last work went well."""
        self._failures.pop(key, None)
        self._faulty.discard(key)

    async def get(self) -> K:
        """The next key; `done` must follow."""
        while (key := self._next()) is None:
            self._wake.clear()
            await self._wake.wait()
        self._dirty.discard(key)
        self._since.pop(key, None)
        self._working.add(key)
        self._busy[self._tenant(key)] += 1
        return key

    def done(self, key: K) -> None:
        """The work on the key ended; it is worked on again if it was added meanwhile."""
        self._working.discard(key)
        tenant = self._tenant(key)
        self._busy[tenant] -= 1
        if not self._busy[tenant]:
            del self._busy[tenant]
        if key in self._dirty:
            self._ready.append(key)
        if tenant in self._held:
            self._ready.appendleft(self._held[tenant].popleft())  # its turn had come before that of all that are ready
            if not self._held[tenant]:
                del self._held[tenant]
        if self._ready:
            self._wake.set()

    def _next(self) -> K | None:
        """The first key that is ready and whose tenant has not its share yet; those before it are held."""
        while self._ready:
            key = self._ready.popleft()
            tenant = self._tenant(key)
            if self._busy[tenant] < self._most:
                return key
            self._held.setdefault(tenant, deque()).append(key)
        return None
