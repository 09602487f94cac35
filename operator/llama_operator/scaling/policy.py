"""The decision: how many replicas are wanted.

    votes        each signal as a demand in replicas; the highest counts                                      votes.py, service.py
    expectation  the demand within one load time, which is learned, at the quantile that the costs ask for    loads.py, forecast.py
    asked        that, rounded up, and one more while a load has stalled; within the bounds
    up           when more was asked for throughout the up window: to the least of it in that window          window.py
    down         when less was asked for throughout the down window: to the most of it in that window, and to no less than what runs now
    to zero      where that is allowed: when no request came for so long, and none is held                    idle.py
    from zero    a held request is the signal: up at once, without a window
    guards       nothing goes while a rollout or a repair is under way; replicas of several GPUs go one at a time, after those that did not
                 come, and come on what is measured alone while others of them still load; none is asked for that has no place
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

from llama_operator.api.duration import words
from llama_operator.scaling.costs import SIGHT_SECONDS, Costs, keep_seconds
from llama_operator.scaling.first_token import SETTLED_SECONDS, SHARE_SECONDS, Correction, check
from llama_operator.scaling.forecast import BUCKET_SECONDS, MOST_AHEAD, History, expect, expect_whole, lasted, level
from llama_operator.scaling.idle import UNKNOWN, clock, idle_since
from llama_operator.scaling.loads import Loads
from llama_operator.scaling.sane import recommend
from llama_operator.scaling.service import Service, learn, learned, recall
from llama_operator.scaling.signals import IN_HAND, Load, Missing, see_held
from llama_operator.scaling.votes import Demand, Vote, demand, lasting, patience
from llama_operator.scaling.window import Window

LEAST_DRAIN_SECONDS, DRAIN_LOADS = 60.0, 1.0
"""What will still wait when an order arrives should be gone after one load: more replicas than that takes would be idle sooner than
loaded. Twice as fast attained 1 to 6 points more in a crowd for 5 to 21 % more, and then peers were better in both (ADR 0008)."""


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
    scale_down_seconds: float | None = None
    """None: as the costs and the load time have it (costs.py)."""
    idle_seconds: float | None = None
    """Without a request for so long the last replica goes, where `min_replicas` is 0. None: it goes and comes as any other."""
    gpus: int = 1
    """Of one replica. Those of several are dear to move: one decision at a time."""
    costs: Costs = field(default_factory=Costs)
    bounded_by: tuple[str, str] = ("minReplicas", "maxReplicas")
    """The fields that say least and most, as messages name them."""

    @property
    def sleeps(self) -> bool:
        """It may go to zero, and comes back for a held request."""
        return self.min_replicas == 0 and self.idle_seconds is not None

    @property
    def least(self) -> int:
        """Fewest replicas while it does not sleep."""
        return max(self.min_replicas, 1) if self.sleeps else self.min_replicas

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
    newest: float | None = None
    """When the youngest of the ready became so, seconds since 1970; None: not known, or long ago."""
    leaving: int = 0
    """Those on their way out beside them."""
    unsettled: str = ""
    """Why none may be taken away now, as in "a rollout is under way"; empty where nothing speaks against it."""
    room: int | None = None
    """How many more the cluster has place for. None: not known, or it was not looked up."""
    no_room: str = ""
    """Where there is too little: why."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do and why. `replicas` is None for Hold: the wanted number stays what it is."""

    replicas: int | None
    reason: str
    message: str
    votes: Sequence[Vote] = ()
    expected: float | None = None
    """Replicas that should be needed within one load time, before rounding and bounds."""
    asked: int | None = None
    """Replicas that the demand asked for, before bounds and windows; None where it could not be seen."""
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
    absent: int
    """Of the wanted ones those that do not serve, and not just since a moment."""
    asked: int
    measured: int
    """Asked for by what is measured, without what is only expected."""
    bounded: int
    wanted: int
    window: Window
    idle: float | None
    """No request since; None: there was one, or it cannot be seen."""
    now: float

    @property
    def loading(self) -> bool:
        """Some are on their way and have not stalled."""
        return max(self.replicas.wanted - self.replicas.ready, 0) > self.stalled


def decide(policy: Policy, signals: Load | Missing, replicas: Replicas, memory: Mapping[str, Any], now: float) -> Decision:
    """How many replicas are wanted, from what is seen `now` (seconds since 1970) and what `memory` keeps of before.

    Numbers are a tenant's, and must not end the operator of all: whatever else they may do, they hold, and the memory begins anew.
    """
    try:
        return _decide(policy, signals, replicas, memory, now)
    except (ArithmeticError, ValueError) as error:
        return _hold(replicas, f"what is measured cannot be reckoned with ({type(error).__name__}: {error})", {})


def _decide(policy: Policy, signals: Load | Missing, replicas: Replicas, memory: Mapping[str, Any], now: float) -> Decision:
    asleep = policy.sleeps and replicas.wanted == 0
    if isinstance(signals := see_held(signals) if asleep else signals, Missing):
        kept = {name: value for name, value in memory.items() if name != "correction"}
        return _hold(replicas, signals.message, kept | Correction.of(memory.get("correction")).unseen().memory(now))
    loads = Loads.of(memory.get("loads")).see(replicas.wanted, replicas.ready, now, replicas.newest)
    young = replicas.newest is not None and now - replicas.newest <= SETTLED_SECONDS
    service = learn(recall(policy.service, memory.get("service")), signals, replicas.ready, young=young) if policy.service else None
    if asleep and not signals.total:
        return _asleep(signals, {**loads.ordered(0, 0, now).memory(), **({"service": learned(service)} if service else {})})
    load_seconds = loads.seconds(policy.load_seconds)
    seen = demand(signals, replicas.ready, policy.in_flight_per_replica, service, policy.ttft_seconds, policy.percentile)
    signals_now = {vote.signal: vote.replicas for vote in seen.votes if vote.replicas is not None} if len(seen.votes) > 1 else {}
    window = Window.of(memory, policy.scale_up_seconds, _down_seconds(policy, loads))
    correction = Correction.of(memory.get("correction")).as_of(now)
    correction = correction.unseen() if window.gap(now) else correction
    if policy.ttft_seconds is not None:
        since = now if signals.first_tokens_since is None else signals.first_tokens_since
        settled = replicas.ready >= replicas.wanted and (replicas.newest is None or replicas.newest + SHARE_SECONDS <= since)
        told = {"ttft": policy.ttft_seconds, "percentile": policy.percentile}
        seen, correction = check(seen, signals, correction, **told, ready=replicas.ready, settled=settled, now=now)
    ahead = min(max(math.ceil((load_seconds + SIGHT_SECONDS) / BUCKET_SECONDS), 1), MOST_AHEAD)
    history = History.of(memory.get("history")).add(now, seen.replicas, ahead, signals_now)
    if policy.in_flight_per_replica is None:
        slack = patience(service, policy.ttft_seconds)
        expected = expect_whole(history, ahead, policy.costs.share, policy.costs.whole_share, slack)
    else:  # the user's number holds at every look, not on average
        expected = max(expect(history, ahead, policy.costs.share, 0.0), seen.replicas)
    queue = 0.0
    if seen.backlog:
        rate = max(level(history), lasted(history)) if seen.overdue else level(history)
        left = loads.backlog(seen.backlog, rate, replicas.ready, policy.load_seconds, now)
        queue = rate + left / max(LEAST_DRAIN_SECONDS, DRAIN_LOADS * load_seconds)
    expected, measured = max(expected, queue), max(seen.replicas, queue)
    stalled = loads.stalled(now)
    asked = recommend(expected)
    asked += 1 if stalled and asked > replicas.ready else 0
    bounded = min(max(asked, policy.least), policy.max_replicas)
    wanted = min(max(replicas.wanted, policy.min_replicas), policy.max_replicas)
    look = _Look(
        policy=policy,
        load=signals,
        replicas=replicas,
        demand=seen,
        expected=expected,
        load_seconds=load_seconds,
        stalled=stalled,
        absent=loads.absent(now),
        asked=asked,
        measured=min(recommend(measured), policy.max_replicas),
        bounded=bounded,
        wanted=wanted,
        window=window.add(now, bounded, wanted),
        idle=idle_since(memory.get("idleSince"), signals, now) if policy.sleeps else None,
        now=now,
    )
    target = _target(look)
    kept = look.window.settled(wanted, target, policy.least, bounded, now).memory()
    if not (target <= policy.least and history.fits(policy.least)):
        kept["history"] = history.memory()
    if look.idle is not None:
        kept["idleSince"] = look.idle
    kept |= loads.ordered(target - replicas.wanted, target, now).memory() | correction.memory(now)
    if service:
        kept["service"] = learned(service)
    return Decision(
        replicas=target,
        reason=_reason(look, target),
        message="; ".join([_describe(look), *_notes(look, target)]),
        votes=seen.votes,
        expected=expected,
        asked=asked,
        memory=kept,
    )


def _down_seconds(policy: Policy, loads: Loads) -> float:
    given = policy.scale_down_seconds
    return keep_seconds(policy.costs, loads, policy.load_seconds) if given is None else given


def _hold(replicas: Replicas, why: str, memory: Mapping[str, Any]) -> Decision:
    waits = "" if replicas.wanted else "; a request that comes now is held until it can be seen"
    return Decision(replicas=None, reason="Holding", message=f"holding at {replicas.wanted}: {why}{waits}", memory=memory)


def _asleep(load: Load, memory: Mapping[str, Any]) -> Decision:
    """Nothing runs and nothing is held: it stays so."""
    message = "no request came: none is wanted; the next one is held, and brings a replica"
    none = Vote(signal="requests", replicas=0.0, age_seconds=load.age_of(*IN_HAND))
    return Decision(replicas=0, reason="ScaledToZero", message=message, asked=0, votes=(none,), memory=memory)


def _target(look: _Look) -> int:
    """The number to go to, each guard in its turn."""
    if look.bounded > look.wanted:
        return _up(look)
    if _sleeps(look):
        return 0
    if look.bounded < look.wanted and look.window.down_covered(look.now) and look.demand.sure:
        return _down(look)
    return look.wanted


def _up(look: _Look) -> int:
    if look.wanted == 0:
        target = look.bounded  # somebody waits already, and nothing serves
    elif look.window.up_covered(look.now):
        target = max(look.wanted, look.window.above_least)
    else:
        return look.wanted
    if look.policy.gpus > 1 and look.loading:
        # Those on their way were ordered for what was expected: more come for what is there, not for another guess.
        target = min(target, max(look.measured, look.wanted))
    return min(target, look.wanted + _room(look))


def _room(look: _Look) -> int:
    """How many more may be asked for. The first, and the least number, wait in the scheduler's queue: nothing else would ever serve."""
    free = look.replicas.room
    return look.policy.max_replicas if free is None else max(free, look.policy.least - look.wanted)


def _down(look: _Look) -> int:
    if look.replicas.unsettled:
        return look.wanted
    most = max(look.window.most(look.now, look.window.down_seconds), recommend(look.demand.replicas), look.policy.least)
    if look.policy.gpus > 1 and most < look.wanted:
        # What did not come goes first: it serves nobody, and may hold what others wait for.
        if (left := max(most, look.replicas.ready, look.wanted - look.absent)) < look.wanted:
            return left
        # One at a time: the next only when the former is gone and those that stay are seen to do.
        alone = not look.replicas.leaving and look.replicas.ready >= look.wanted
        most = look.wanted - 1 if alone else look.wanted
    return min(look.wanted, most)


def _sleeps(look: _Look) -> bool:
    """No request came for as long as the user said, the first has loaded, and nothing is being mended. Others may still not have come."""
    after, replicas = look.policy.idle_seconds, look.replicas
    if after is None or look.idle is None or replicas.unsettled or not replicas.ready or not look.wanted:
        return False
    return look.now - look.idle >= after


def _reason(look: _Look, target: int) -> str:
    if target > look.replicas.wanted:
        return "ScaledUp"
    if target < look.replicas.wanted:
        return "ScaledDown"
    if look.asked > look.policy.max_replicas and target == look.policy.max_replicas:
        return "AtMaximum"
    if look.bounded > target and not _room(look) and look.window.up_covered(look.now):
        return "NoRoom"
    return "Steady" if look.bounded == look.wanted else "Stabilizing"


def _describe(look: _Look) -> str:
    load, each = look.load, look.policy.in_flight_per_replica
    held = f", {load.held:.0f} of them held at the proxies" if load.held else ""
    said = f"{load.total:.0f} requests in hand{held}"
    if each is not None:
        said += f", at {each:g} a replica that is {(asked := recommend(load.total / each))}"
        said += ", if the next scrape says so too" if asked > recommend(lasting(load, each) / each) else ""
    highest = max((vote for vote in look.demand.votes if vote.replicas is not None), key=lambda vote: vote.replicas or 0.0)
    if each is None or highest.signal != "requests":
        said += f", {highest.signal} ask for {highest.replicas:.2f} replicas"
    if recommend(look.expected) > recommend(look.demand.replicas):
        said += f"; up to {recommend(look.expected)} are expected to be needed within the {look.load_seconds:.0f} s that a load takes"
    return said


def _notes(look: _Look, target: int) -> Sequence[str]:
    policy, wanted, before = look.policy, look.wanted, look.replicas.wanted
    notes = []
    if look.stalled and look.asked > recommend(look.expected):
        notes.append(f"one more, because {look.stalled} of the loads take far longer than those before")
    if look.bounded != look.asked and not (policy.sleeps and look.asked < look.bounded):
        notes.append(f"bounded to {look.bounded} by {policy.bounded_by[look.asked > look.bounded]}")
    if target != before:
        slept = policy.sleeps and not target
        notes.append(f"from {before} to {target}" + (f": no request came for {words(policy.idle_seconds or 0)}" if slept else ""))
    if look.bounded > max(target, wanted):
        notes.append(_why_not_up(look))
    elif target == before and look.bounded < wanted:
        notes.append(_why_not_down(look))
    elif target == before and look.idle is not None:
        notes.append(f"no request since {clock(look.idle)}, the last replica goes {words(policy.idle_seconds or 0)} after")
    if policy.sleeps and not look.load.total and look.load.replicas_seen and look.load.last_request is None:
        notes.append(UNKNOWN)
    if before > look.replicas.ready:
        notes.append(f"{before - look.replicas.ready} of {before} still load and are counted")
    return notes


def _why_not_up(look: _Look) -> str:
    if look.wanted and not look.window.up_covered(look.now):
        return f"waiting until the need has lasted {look.policy.scale_up_seconds:g} s"
    if look.replicas.room is not None and look.bounded > look.wanted + _room(look):
        return f"no more are asked for: {look.replicas.no_room or 'there is no place for them'}"
    if look.policy.gpus > 1 and look.loading:
        return f"more than {look.measured} are only expected to be needed, and wait for those that load"
    return f"going on to {look.bounded} when the need has lasted {look.policy.scale_up_seconds:g} s"


def _why_not_down(look: _Look) -> str:
    window, wanted = look.window, look.wanted
    left, seconds = window.down_left(look.now), window.down_seconds
    if left > 0:
        return f"{wanted} stay until {seconds:g} s were seen without a gap"
    if not look.demand.sure:
        unseen = ", ".join(vote.signal for vote in look.demand.votes if vote.replicas is None)
        return f"{wanted} stay: what {unseen} ask for cannot be seen"
    most = window.most(look.now, seconds)
    if most >= wanted:
        return f"{wanted} stay: the need was {most} within the last {seconds:g} s"
    if look.replicas.unsettled:
        return f"{wanted} stay: {look.replicas.unsettled}"
    return f"{wanted} stay until the replica before is gone and all others serve: they go one at a time"
