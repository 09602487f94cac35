"""The decision: how many replicas are wanted.

    recommendation   requests in hand / requests per replica, rounded up, within the bounds
    up               when the recommendation was above the wanted number throughout the up window: to the least of it in that window
    down             when it was below throughout the down window: to the most of it in that window
    blind            nothing changes, and nothing is forgotten or learned

The wanted number already contains replicas that still load, so a queue that waits for them asks for no further ones: 16 requests at 8 a
replica want 2, however many of the 2 are up. A gap in what was seen, after a restart or an outage, starts the down window anew: a
scale-down is never decided on a time nobody looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.scaling.signals import Load, Missing
from llama_operator.scaling.window import Window


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the user set. Times in seconds."""

    min_replicas: int
    max_replicas: int
    in_flight_per_replica: float
    scale_up_seconds: float = 0.0
    scale_down_seconds: float = 300.0


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
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """The decision is to change nothing because nothing can be known."""
        return self.replicas is None


def recommend(policy: Policy, load: Load) -> int:
    """Replicas that the load asks for, without bounds.

    A float sum such as 16.000000001 must not ask for one more: the quotient is rounded at 1e-6 first.
    """
    return math.ceil(round(load.total / policy.in_flight_per_replica, 6))


def decide(policy: Policy, signals: Load | Missing, replicas: Replicas, memory: Mapping[str, Any], now: float) -> Decision:
    """How many replicas are wanted, from what is seen `now` (seconds since 1970) and what `memory` keeps of before."""
    if isinstance(signals, Missing):
        return Decision(replicas=None, reason="Holding", message=f"holding at {replicas.wanted}: {signals.message}", memory=memory)
    asked = recommend(policy, signals)
    bounded = min(max(asked, policy.min_replicas), policy.max_replicas)
    wanted = min(max(replicas.wanted, policy.min_replicas), policy.max_replicas)
    window = Window.of(memory, policy.scale_up_seconds, policy.scale_down_seconds).add(now, bounded, wanted)
    target = _target(policy, window, bounded, wanted, now)
    said = _describe(policy, signals, asked)
    notes = _notes(policy, window, asked, bounded, wanted, target, replicas, now)
    reason = _reason(asked, bounded, wanted, target, replicas.wanted, policy)
    return Decision(
        replicas=target,
        reason=reason,
        message="; ".join([said, *notes]),
        memory=window.settled(wanted, target, policy.min_replicas, bounded, now).memory(),
    )


def _target(policy: Policy, window: Window, bounded: int, wanted: int, now: float) -> int:
    if bounded > wanted:
        return max(wanted, window.above_least) if window.up_covered(now) else wanted
    if bounded < wanted and window.down_covered(now):
        return min(wanted, window.most(now, policy.scale_down_seconds))
    return wanted


def _reason(asked: int, bounded: int, wanted: int, target: int, before: int, policy: Policy) -> str:
    if target > before:
        return "ScaledUp"
    if target < before:
        return "ScaledDown"
    if asked > policy.max_replicas and target == policy.max_replicas:
        return "AtMaximum"
    return "Steady" if bounded == wanted else "Stabilizing"


def _describe(policy: Policy, load: Load, asked: int) -> str:
    held = f", {load.held:.0f} of them held at the proxies" if load.held else ""
    return f"{load.total:.0f} requests in hand{held}, at {policy.in_flight_per_replica:g} a replica that is {asked}"


def _notes(
    policy: Policy, window: Window, asked: int, bounded: int, wanted: int, target: int, replicas: Replicas, now: float
) -> Sequence[str]:
    notes = []
    if bounded != asked:
        notes.append(f"bounded to {bounded} by {'maxReplicas' if asked > bounded else 'minReplicas'}")
    if target != replicas.wanted:
        notes.append(f"from {replicas.wanted} to {target}")
    elif bounded > wanted:
        notes.append(f"waiting until the need has lasted {policy.scale_up_seconds:g} s")
    elif bounded < wanted:
        left, seconds = window.down_left(now), policy.scale_down_seconds
        if left > 0:
            notes.append(f"{wanted} stay until {seconds:g} s were seen without a gap")
        else:
            notes.append(f"{wanted} stay: the need was {window.most(now, seconds)} within the last {seconds:g} s")
    if replicas.wanted > replicas.ready:
        notes.append(f"{replicas.wanted - replicas.ready} of {replicas.wanted} still load and are counted")
    return notes
