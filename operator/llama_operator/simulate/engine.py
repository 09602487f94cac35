"""The run: requests in, a scaler that looks now and then, and what came of it. Deterministic: the same seed, the same answer.

At one moment things happen in this order: a replica's prefill or decode ends, a replica becomes ready, a request arrives, Prometheus
scrapes, the scaler looks. A request goes to a ready replica (`routing`: which); where none takes it, it is held
at the router and goes first-come, first-served to the next that does. Where places are limited, a replica that finds none waits for
one, and neither costs nor loads until then.
"""

from __future__ import annotations

import heapq
import math
import random
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llama_operator.scaling.bounds import Bounds
from llama_operator.simulate.replica import NEVER, Job, Rates, Replica, State
from llama_operator.simulate.routing import LEAST, ROUTERS, Router, Routing
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.view import Ask, ReadyReplica, Sample, Scaler, Scrape, View
from llama_operator.simulate.windows import Windows

REPLICA, READY, SCRAPE, LOOK = 0, 1, 3, 4
ARRIVAL = 2
NO_ROOM = "NoRoom"
"""Our policy's reason where it asks for no more because there is no place."""


@dataclass(frozen=True, kw_only=True)
class LoadTime:
    """From order to ready: log-normal with this median in seconds; `spread` is the standard deviation of the logarithm, 0 for none."""

    seconds: float
    spread: float = 0.0

    def draw(self, random_source: random.Random) -> float:
        """One load, in seconds."""
        return self.seconds * math.exp(self.spread * random_source.gauss(0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The world in which scalers are compared. Seconds. `initial` replicas are ready at 0."""

    service: Service
    load: LoadTime
    initial: int = 1
    minimum: int = 1
    maximum: int = 24
    scrape: float = 15.0
    lag: float = 0.0
    """From a scrape to its being there for a query."""
    grace: float = 600.0
    """After the last arrival, for what is still in hand; what is not served by then counts as unserved."""
    seed: int = 0
    windows: Windows | None = None
    """In which other bounds count than `minimum` and `maximum`."""
    places: int | None = None
    """Replicas that the cluster holds at once, those that drain included. None: any number."""
    routing: Routing = LEAST

    def bounds(self, now: float) -> tuple[Bounds, float]:
        """What counts at `now`, and until when it surely does."""
        if self.windows is None:
            return Bounds(least=self.minimum, most=self.maximum), math.inf
        return self.windows.at(now, self.minimum, self.maximum)


class Change(NamedTuple):
    """The wanted number was changed. `message` is the scaler's own, where it gives one."""

    time: float
    before: int
    after: int
    reason: str
    message: str = ""


class Point(NamedTuple):
    """For a plot: at `time`, replicas by state, and requests in replicas and held."""

    time: float
    ready: int
    loading: int
    draining: int
    in_flight: int
    held: int


@dataclass(kw_only=True)
class Outcome:
    """What came of a run. `ttft` in seconds, one for each request in order of arrival; not a number: it never had a first token."""

    policy: str
    ttft: array[float] = field(default_factory=lambda: array("d"))
    served: int = 0
    refused: int = 0
    """Too long for the KV cache of an empty replica."""
    replica_seconds: float = 0.0
    """Of replicas that load, serve or drain."""
    busy_seconds: float = 0.0
    """Of replicas with a sequence in the batch."""
    request_seconds: float = 0.0
    """From arrival to the last token, over all that were served."""
    prompted: float = 0.0
    generated: float = 0.0
    cramped: float = 0.0
    """Seconds in which the scaler wanted more replicas than there was place for."""
    end: float = 0.0
    changes: list[Change] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many arrived."""
        return len(self.ttft)

    @property
    def unserved(self) -> int:
        """Arrived and not wholly answered, refused ones included."""
        return self.requests - self.served


def simulate(requests: Iterable[Request], scaler: Scaler, setup: Setup, router: Router | None = None) -> Outcome:
    """One run. `requests` in order of arrival; they are taken as they come, so a stream of any length will do.

    `router`: one of the caller's own instead of the setup's.

    Raises ValueError where an arrival lies before the one before it: readers and generators never give such.
    """
    return _Run(scaler, setup, router).run(requests)


class _Run:
    def __init__(self, scaler: Scaler, setup: Setup, router: Router | None) -> None:
        self.scaler, self.setup = scaler, setup
        self.random = random.Random(setup.seed)
        self.outcome = Outcome(policy=scaler.name)
        self.events: list[tuple[float, int, int, Any]] = []
        self.order = 0
        self.replicas: list[Replica] = []
        self.serving: list[Replica] = []
        self.held: deque[Job] = deque()
        self.in_system = 0
        self.bounds, self.bounded_until = setup.bounds(0.0)
        self.wanted = min(max(setup.initial, self.bounds.least), self.bounds.most)
        self.places = math.inf if setup.places is None else setup.places
        self.unplaced = 0
        self.memory: Any = None
        self.scrapes: deque[Scrape] = deque()
        self.made = 0
        self.rates = Rates(setup.service)
        accepts = math.inf if setup.service.accepts is None else setup.service.accepts
        self.router = router or ROUTERS[setup.routing](accepts, setup.seed)

    def run(self, requests: Iterable[Request]) -> Outcome:
        self.unplaced = max(self.wanted - int(min(self.places, self.wanted)), 0)
        for _ in range(self.wanted - self.unplaced):
            replica = self._order(0.0, ready_at=0.0)
            self._ready(replica)
        self._put(0.0, SCRAPE, None)
        self._put(self.scaler.sight.every, LOOK, None)
        arrivals = iter(requests)
        following = next(arrivals, None)
        last, events, end = 0.0, self.events, 0.0
        while following is not None or self.in_system:
            time, kind, _, what = events[0]
            if following is not None:
                arrival = following.arrival
                if arrival < time or (arrival == time and kind > ARRIVAL):
                    if arrival < last:
                        raise ValueError(f"arrivals go backwards: {arrival} s after {last} s")
                    last = end = arrival
                    self._arrive(following)
                    following = next(arrivals, None)
                    continue
            if following is None and time > last + self.setup.grace:
                end = last + self.setup.grace
                break
            heapq.heappop(events)
            if kind == REPLICA:
                replica, version, prefilled = what
                if version == replica.version:
                    end = time
                    self._progress(replica, prefilled, time)
            elif kind == READY:
                if what.state is State.LOADING:
                    self._ready(what)
                    self._dispatch(time)
            elif kind == SCRAPE:
                self._scrape(time)
            else:
                self._look(time)
        return self._close(end)

    def _put(self, time: float, kind: int, what: Any) -> None:
        self.order += 1
        heapq.heappush(self.events, (time, kind, self.order, what))

    def _changed(self, replica: Replica) -> None:
        time, prefilled = replica.changed()
        if time < NEVER:
            # As `_put`, without the call: nothing happens more often.
            self.order += 1
            heapq.heappush(self.events, (time, REPLICA, self.order, (replica, replica.version, prefilled)))

    def _arrive(self, request: Request) -> None:
        index = len(self.outcome.ttft)
        self.outcome.ttft.append(math.nan)
        if not self.setup.service.fits(request):
            self.outcome.refused += 1
            return
        self.in_system += 1
        self.held.append(Job(index, request))
        self._dispatch(request.arrival)

    def _dispatch(self, now: float) -> None:
        while self.held:
            chosen = self.router.choose(self.serving, now)
            if chosen is None:
                return
            chosen.advance(now)
            chosen.take(self.held.popleft())
            self._changed(chosen)

    def _progress(self, replica: Replica, prefilled: bool, now: float) -> None:
        replica.advance(now)
        first, ended = replica.happen(prefilled)
        if first is not None:
            self.outcome.ttft[first.index] = now - first.arrival
        if ended:
            self.in_system -= len(ended)
            self.outcome.served += len(ended)
            for job in ended:
                self.outcome.request_seconds += now - job.arrival
        self._changed(replica)
        if replica.state is State.DRAINING:
            if not replica.in_hand:
                self._gone(replica, now)
        elif ended:
            self._dispatch(now)

    def _order(self, now: float, ready_at: float | None = None) -> Replica:
        self.made += 1
        replica = Replica(f"replica-{self.made}", self.rates, now)
        replica.ready_at = now + self.setup.load.draw(self.random) if ready_at is None else ready_at
        self.replicas.append(replica)
        return replica

    def _ready(self, replica: Replica) -> None:
        replica.state = State.READY
        replica.advance(replica.ready_at)
        self.serving.append(replica)

    def _gone(self, replica: Replica, now: float) -> None:
        replica.state, replica.gone_at = State.GONE, now
        self._count(replica, now)
        self.replicas.remove(replica)
        self._place(now)

    def _place(self, now: float) -> None:
        """Those that wait for a place begin to load, as far as there is any."""
        while self.unplaced and len(self.replicas) < self.places:
            self.unplaced -= 1
            replica = self._order(now)
            self._put(replica.ready_at, READY, replica)

    def _count(self, replica: Replica, now: float) -> None:
        self.outcome.replica_seconds += now - replica.ordered
        self.outcome.busy_seconds += replica.busy
        self.outcome.prompted += replica.prompted
        self.outcome.generated += replica.generated

    def _scrape(self, now: float) -> None:
        samples = []
        for replica in self.replicas:
            if replica.state is State.LOADING:
                continue
            replica.advance(now)
            counters = (replica.kv_used, replica.prompted, replica.generated, replica.finished)
            samples.append(
                Sample(replica.name, replica.running, replica.waiting, *counters, replica.last_request, tuple(replica.first_tokens))
            )
        scrape = Scrape(now, tuple(samples), len(self.held))
        self.scrapes.append(scrape)
        points = self.outcome.points
        if not points or now - points[-1].time >= self.setup.scrape:
            draining = sum(replica.state is State.DRAINING for replica in self.replicas)
            ready = len(self.serving)
            points.append(Point(now, ready, len(self.replicas) - ready - draining, draining, scrape.in_flight, scrape.held))
        self._put(now + (self.scaler.sight.scrape or self.setup.scrape), SCRAPE, None)

    def _look(self, now: float) -> None:
        sight = self.scaler.sight
        if now >= self.bounded_until:
            self.bounds, self.bounded_until = self.setup.bounds(now)
        bounds = self.bounds
        seen = now - self.setup.lag
        while len(self.scrapes) > 1 and self.scrapes[1].time <= seen and self.scrapes[0].time < seen - sight.history:
            self.scrapes.popleft()
        draining = tuple(replica.name for replica in self.replicas if replica.state is State.DRAINING)
        ready = tuple(ReadyReplica(replica.name, replica.ready_at) for replica in self.serving)
        view = View(
            now=now,
            scrapes=[scrape for scrape in self.scrapes if scrape.time <= seen],
            wanted=self.wanted,
            ready=ready,
            loading=len(self.replicas) - len(ready) - len(draining) + self.unplaced,
            draining=draining,
            minimum=bounds.least,
            maximum=bounds.most,
            bounded_by=(bounds.least_by, bounds.most_by),
            room=None if self.setup.places is None else max(self.setup.places - len(self.replicas) - self.unplaced, 0),
        )
        asked = self.scaler.look(view, self.memory)
        self.memory = asked.memory
        # Who says nothing keeps what is wanted, but not beyond bounds that moved.
        wanted = self.wanted if asked.replicas is None else asked.replicas
        self._want(min(max(wanted, bounds.least), bounds.most), asked, now)
        if self.unplaced or asked.reason == NO_ROOM:
            self.outcome.cramped += sight.every
        self._put(now + sight.every, LOOK, None)

    def _want(self, wanted: int, asked: Ask, now: float) -> None:
        if wanted == self.wanted:
            return
        self.outcome.changes.append(Change(now, self.wanted, wanted, asked.reason, asked.message))
        self.unplaced += max(wanted - self.wanted, 0)
        self._place(now)
        for _ in range(self.wanted - wanted):
            self._drain(now)
        self.wanted = wanted

    def _drain(self, now: float) -> None:
        """One without a place, the newest that loads, or of the ready ones the emptiest and of those the newest. No stream is cut."""
        if self.unplaced:
            self.unplaced -= 1
            return
        loading = [replica for replica in self.replicas if replica.state is State.LOADING]
        if loading:
            self._gone(loading[-1], now)
            return
        victim = min(self.serving, key=lambda replica: (replica.in_hand, -replica.ready_at))
        self.serving.remove(victim)
        victim.state = State.DRAINING
        if not victim.in_hand:
            self._gone(victim, now)

    def _close(self, end: float) -> Outcome:
        self.outcome.end = end
        for replica in self.replicas:
            replica.advance(end)
            self._count(replica, end)
        return self.outcome
