"""The decision: how many replicas are wanted.

    votes        each signal as a demand in replicas; the highest counts                                      votes.py, service.py
    expectation  the demand within one load time, which is learned, at the quantile that the costs ask for    loads.py, forecast.py
    asked        that, rounded up, and one more while a load has stalled; within the bounds
    up           when more was asked for throughout the up window: to the least of it in that window          window.py
    down         when less was asked for throughout the down window: to the most of it in that window, and to no less than what runs now
    blind        nothing changes, and nothing is forgotten or learned

The wanted number already contains replicas that still load, so a queue that waits for them asks for no further ones: 16 requests at 8 a
replica want 2, however many of the 2 are up. A gap in what was seen, after a restart or an outage, starts the down window anew: a
scale-down is never decided on a time nobody looked at, nor while a signal that the objective needs cannot be seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.scaling.forecast import BUCKET_SECONDS, MOST_AHEAD, History, expect, level
from llama_operator.scaling.loads import Loads
from llama_operator.scaling.service import Service, learn, learned, recall
from llama_operator.scaling.signals import Load, Missing
from llama_operator.scaling.votes import Demand, Vote, demand, patience
from llama_operator.scaling.window import Window

SIGHT_SECONDS = 20.0
"""From a request's arrival to a decision that knows of it: a scrape interval and a look, added to the load time."""
LEAST_DOWN_SECONDS, UNKNOWN_DOWN_SECONDS, MOST_DOWN_SECONDS = 400.0, 600.0, 900.0
"""Bounds of the down window where none is given, and its length before it is known how long it takes to get a replica back. With 150 s,
peers that wait longer were better in both on traffic that only fluctuates (ADR 0008); 600 s is Ray Serve's default."""
LEAST_DRAIN_SECONDS, DRAIN_LOADS = 60.0, 1.0
"""What will still wait when an order arrives should be gone after one load: more replicas than that takes would be idle sooner than
loaded. Twice as fast attained 1 to 6 points more in a crowd for 5 to 21 % more, and then peers were better in both (ADR 0008)."""
DOWN_LOADS = 1.5
"""The down window where none is given, in load times: what is let go and wanted again costs one."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What being wrong costs, in any unit: only the ratio counts. One replica too few for a while, against one too many."""

    short: float = 4.0
    spare: float = 1.0

    @property
    def share(self) -> float:
        """The quantile of demand to be ready for."""
        return self.short / (self.short + self.spare)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the user set, and what the planner says. Times in seconds.

    The objective is `in_flight_per_replica`, or `ttft_seconds` for `percentile` (0 to 1) of the requests; the latter needs `service`, and
    the former uses it where it is given.
    """

    min_replicas: int
    max_replicas: int
    in_flight_per_replica: float | None = None
    ttft_seconds: float | None = None
    percentile: float = 0.95
    service: Service | None = None
    load_seconds: float | None = None
    """From order to ready, as far as it is known before the first load. None: not at all."""
    scale_up_seconds: float = 0.0
    scale_down_seconds: float | None = 300.0
    """None: DOWN_LOADS times a load, within LEAST_DOWN_SECONDS and MOST_DOWN_SECONDS."""
    costs: Costs = field(default_factory=Costs)

    def __post_init__(self) -> None:
        """Raises ValueError where there is not one objective, or not what it needs: a rule must have refused that before."""
        if (self.in_flight_per_replica is None) == (self.ttft_seconds is None):
            raise ValueError("a policy has one objective: in_flight_per_replica or ttft_seconds")
        if self.ttft_seconds is not None and self.service is None:
            raise ValueError("ttft_seconds needs a service: what a replica can do")


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """What there is: `wanted` by the last decision, of which `ready` serve and the rest is on its way."""

    wanted: int
    ready: int


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do and why. `replicas` is None for Hold: the wanted number stays what it is."""

    replicas: int | None
    reason: str
    message: str
    votes: Sequence[Vote] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """The decision is to change nothing because nothing can be known."""
        return self.replicas is None


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What one look came to, for the target and for the words."""

    policy: Policy
    load: Load
    replicas: Replicas
    demand: Demand
    expected: float
    load_seconds: float
    stalled: int
    asked: int
    bounded: int
    wanted: int
    window: Window
    now: float


def recommend(demand: float) -> int:
    """Whole replicas for a demand. A float sum such as 2.000000001 must not ask for one more: it is rounded at 1e-6 first."""
    return math.ceil(round(demand, 6))


def decide(policy: Policy, signals: Load | Missing, replicas: Replicas, memory: Mapping[str, Any], now: float) -> Decision:
    """How many replicas are wanted, from what is seen `now` (seconds since 1970) and what `memory` keeps of before."""
    if isinstance(signals, Missing):
        return Decision(replicas=None, reason="Holding", message=f"holding at {replicas.wanted}: {signals.message}", memory=memory)
    loads = Loads.of(memory.get("loads")).see(replicas.wanted, replicas.ready, now)
    load_seconds = loads.seconds(policy.load_seconds)
    service = learn(recall(policy.service, memory.get("service")), signals, replicas.ready) if policy.service else None
    seen = demand(signals, replicas.ready, policy.in_flight_per_replica, service, policy.ttft_seconds, policy.percentile)
    ahead = min(max(math.ceil((load_seconds + SIGHT_SECONDS) / BUCKET_SECONDS), 1), MOST_AHEAD)
    history = History.of(memory.get("history")).add(now, seen.replicas, ahead)
    spare = patience(service, policy.ttft_seconds)
    expected = expect(history, ahead, policy.costs.share, spare)
    if policy.in_flight_per_replica is not None:
        expected = max(expected, seen.replicas)  # the user's number holds at every look, not on average
    if seen.backlog:
        rate = level(history)
        left = loads.backlog(seen.backlog, rate, replicas.ready, policy.load_seconds, now)
        expected = max(expected, rate + left / max(LEAST_DRAIN_SECONDS, DRAIN_LOADS * load_seconds))
    stalled = loads.stalled(now)
    asked = recommend(expected)
    asked += 1 if stalled and asked > replicas.ready else 0
    bounded, wanted = (min(max(number, policy.min_replicas), policy.max_replicas) for number in (asked, replicas.wanted))
    look = _Look(
        policy=policy,
        load=signals,
        replicas=replicas,
        demand=seen,
        expected=expected,
        load_seconds=load_seconds,
        stalled=stalled,
        asked=asked,
        bounded=bounded,
        wanted=wanted,
        window=Window.of(memory, policy.scale_up_seconds, _down_seconds(policy, loads)).add(now, bounded, wanted),
        now=now,
    )
    target = _target(look)
    kept = look.window.settled(wanted, target, policy.min_replicas, bounded, now).memory()
    if not (target <= policy.min_replicas and history.fits(policy.min_replicas)):
        kept["history"] = history.memory()
    kept |= loads.ordered(target - replicas.wanted, target, now).memory()
    if service:
        kept["service"] = learned(service)
    return Decision(
        replicas=target,
        reason=_reason(look, target),
        message="; ".join([_describe(look), *_notes(look, target)]),
        votes=seen.votes,
        memory=kept,
    )


def _down_seconds(policy: Policy, loads: Loads) -> float:
    if policy.scale_down_seconds is not None:
        return policy.scale_down_seconds
    if not loads.samples and policy.load_seconds is None:
        return UNKNOWN_DOWN_SECONDS
    return min(max(DOWN_LOADS * loads.seconds(policy.load_seconds), LEAST_DOWN_SECONDS), MOST_DOWN_SECONDS)


def _target(look: _Look) -> int:
    if look.bounded > look.wanted:
        return max(look.wanted, look.window.above_least) if look.window.up_covered(look.now) else look.wanted
    if look.bounded < look.wanted and look.window.down_covered(look.now) and look.demand.sure:
        most = max(look.window.most(look.now, look.window.down_seconds), recommend(look.demand.replicas))
        return min(look.wanted, max(most, look.policy.min_replicas))
    return look.wanted


def _reason(look: _Look, target: int) -> str:
    if target > look.replicas.wanted:
        return "ScaledUp"
    if target < look.replicas.wanted:
        return "ScaledDown"
    if look.asked > look.policy.max_replicas and target == look.policy.max_replicas:
        return "AtMaximum"
    return "Steady" if look.bounded == look.wanted else "Stabilizing"


def _describe(look: _Look) -> str:
    load, each = look.load, look.policy.in_flight_per_replica
    held = f", {load.held:.0f} of them held at the proxies" if load.held else ""
    said = f"{load.total:.0f} requests in hand{held}"
    if each is not None:
        said += f", at {each:g} a replica that is {recommend(load.total / each)}"
    highest = max((vote for vote in look.demand.votes if vote.replicas is not None), key=lambda vote: vote.replicas or 0.0)
    if each is None or highest.signal != "requests":
        said += f", {highest.signal} ask for {highest.replicas:.2f} replicas"
    if recommend(look.expected) > recommend(look.demand.replicas):
        said += f"; up to {recommend(look.expected)} are expected to be needed within the {look.load_seconds:.0f} s that a load takes"
    return said


def _notes(look: _Look, target: int) -> Sequence[str]:
    policy, window, wanted, before = look.policy, look.window, look.wanted, look.replicas.wanted
    notes = []
    if look.stalled and look.asked > recommend(look.expected):
        notes.append(f"one more, because {look.stalled} of the loads take far longer than those before")
    if look.bounded != look.asked:
        notes.append(f"bounded to {look.bounded} by {'maxReplicas' if look.asked > look.bounded else 'minReplicas'}")
    if target != before:
        notes.append(f"from {before} to {target}")
    elif look.bounded > wanted:
        notes.append(f"waiting until the need has lasted {policy.scale_up_seconds:g} s")
    elif look.bounded < wanted:
        left, seconds = window.down_left(look.now), window.down_seconds
        if left > 0:
            notes.append(f"{wanted} stay until {seconds:g} s were seen without a gap")
        elif not look.demand.sure:
            unseen = ", ".join(vote.signal for vote in look.demand.votes if vote.replicas is None)
            notes.append(f"{wanted} stay: what {unseen} ask for cannot be seen")
        else:
            notes.append(f"{wanted} stay: the need was {window.most(look.now, seconds)} within the last {seconds:g} s")
    if before > look.replicas.ready:
        notes.append(f"{before - look.replicas.ready} of {before} still load and are counted")
    return notes
