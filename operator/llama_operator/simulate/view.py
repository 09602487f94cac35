"""What a scaler may look at: scrapes as Prometheus would have them by now, and the replicas as Kubernetes shows them. Never the future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Sample(NamedTuple):
    """One ready or draining replica at one scrape. Requests, tokens; those that grow are counters since the replica's start."""

    replica: str
    running: int
    waiting: int
    kv_used: float
    prompt_tokens: float
    output_tokens: float
    finished: int = 0
    last_request: float = 0.0
    """When a request last came to it or left it, in seconds of the simulation; now, while it has any."""
    first_tokens: tuple[int, ...] = ()
    """First tokens since its start, by the time that they took from when the replica had the request: in each of `FIRST_TOKEN_BOUNDS`."""


class Scrape(NamedTuple):
    """All replicas at one moment, `time` in seconds of the simulation; `held` requests wait at the router because no replica takes them."""

    time: float
    samples: tuple[Sample, ...]
    held: int

    @property
    def in_flight(self) -> int:
        """Requests in replicas, running and waiting."""
        return sum(sample.running + sample.waiting for sample in self.samples)

    @property
    def total(self) -> int:
        """Requests that somebody waits for."""
        return self.in_flight + self.held


class ReadyReplica(NamedTuple):
    """A replica that takes requests, and since when."""

    name: str
    since: float


@dataclass(frozen=True, kw_only=True)
class View:
    """One look. `scrapes` are those that have arrived, oldest first, as far back as the scaler asked for with `Sight.history`."""

    now: float
    scrapes: Sequence[Scrape]
    wanted: int
    ready: tuple[ReadyReplica, ...]
    loading: int
    draining: tuple[str, ...]
    minimum: int
    maximum: int
    bounded_by: tuple[str, str] = ("minReplicas", "maxReplicas")
    """What sets the two, as messages name it."""
    room: int | None = None
    """How many more replicas there is place for; None: no limit is known."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How a scaler is looked at and what it sees. Seconds. `scrape` None: the run's own interval, as of a Prometheus that all share."""

    every: float
    scrape: float | None = None
    history: float = 0.0


class Ask(NamedTuple):
    """What a scaler wants; None: whatever is wanted now. `memory` comes back at the next look."""

    replicas: int | None
    memory: Any = None
    reason: str = ""
    message: str = ""


class Scaler(Protocol):
    """Ours, or a peer's."""

    @property
    def name(self) -> str:
        """As `--policy` names it."""

    @property
    def sight(self) -> Sight:
        """Its own cadence."""

    def look(self, view: View, memory: Any) -> Ask:
        """One decision. `memory` is None at first. The engine keeps the answer within the bounds."""


def replica_window(view: View, seconds: float) -> list[Scrape]:
    """The scrapes of the last `seconds`, this moment included."""
    return [scrape for scrape in view.scrapes if scrape.time > view.now - seconds]


def in_flight_of_ready(view: View) -> list[int]:
    """Requests in each ready replica that the newest scrape has; empty without a scrape."""
    names = {replica.name for replica in view.ready}
    samples = view.scrapes[-1].samples if view.scrapes else ()
    return [sample.running + sample.waiting for sample in samples if sample.replica in names]
