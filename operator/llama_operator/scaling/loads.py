"""How long a replica takes to load, learned from orders and arrivals, and which loads have stalled.

An order is remembered with its time; when a replica becomes ready the oldest order is done, and the time between them is one sample. The
newest KEPT samples are the distribution; before the first of them, what the policy was told, or DEFAULT_SECONDS.

A load that lasts longer than STALL_FACTOR times the longest sample is stalled: it is no longer counted as capacity to come. Before the
first sample nothing is: where no replica ever became ready, more of them are no remedy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llama_operator.scaling.sane import numbers, past

KEPT = 16
DEFAULT_SECONDS = 120.0
"""Minutes, as docs/figures.md has for large models; the first load corrects it."""
STALL_FACTOR = 3.0
STALL_LEAST_SECONDS = 60.0
MOST_ORDERS = 32
"""Orders remembered; of more only the newest, so that no status grows without end."""
ABSENT_SECONDS = 90.0
"""A replica that does not serve for so long did not just miss a probe."""
MOST_SECONDS = 7200.0
"""No sample is longer: 487 GB of weights over 1 Gbit/s take 65 minutes."""
LATE_SHARE = 0.8
"""Loads are planned with this quantile of what was seen: one of the slow ones, not the slowest."""


@dataclass(frozen=True, kw_only=True)
class Loads:
    """Times of orders that are not yet ready, oldest first, seconds since 1970; and the newest load times in seconds."""

    wanted: int | None = None
    orders: Sequence[float] = ()
    samples: Sequence[float] = ()

    @classmethod
    def of(cls, memory: object) -> Loads:
        """Read what `memory()` wrote; anything else counts as no memory."""
        if not isinstance(memory, Mapping):
            return cls()
        orders, samples = numbers(memory.get("orders", ())), numbers(memory.get("samples", ()))
        if orders is None or samples is None or min(samples, default=0.0) < 0:
            return cls()
        wanted = memory.get("wanted")
        return cls(
            wanted=wanted if isinstance(wanted, int) else None,
            orders=orders[-MOST_ORDERS:],
            samples=tuple(min(value, MOST_SECONDS) for value in samples[-KEPT:]),
        )

    def memory(self) -> dict[str, Any]:
        """For the status; nothing where nothing is known and nothing is on its way."""
        if not self.orders and not self.samples:
            return {}
        return {"loads": {"wanted": self.wanted, "orders": list(self.orders), "samples": list(self.samples)}}

    def see(self, wanted: int, ready: int, now: float, newest: float | None = None) -> Loads:
        """`ready` of `wanted` replicas serve `now`. Fewer that are missing than before: the oldest orders arrived, when the `newest` of the
        ready became so, or now where that is not known: nobody may have looked, or seen, for hours since.

        A number that somebody else lowered takes the newest orders with it first: they did not arrive. An order of a time to come, written
        by a clock that ran ahead, is one of now, and no sample where it arrived.
        """
        missing = min(max(wanted - ready, 0), MOST_ORDERS)
        lowered = 0 if self.wanted is None else max(self.wanted - wanted, 0)
        orders, samples = list(self.orders[: max(len(self.orders) - lowered, 0)]), list(self.samples)
        while len(orders) > missing:
            order = orders.pop(0)
            if order > past(order, now):
                continue
            arrived = newest if newest is not None and order < newest < now else now
            samples.append(min(round(max(arrived - order, 0.0)), MOST_SECONDS))
        orders += [round(now)] * (missing - len(orders))
        return replace(self, orders=tuple(past(order, now) for order in orders), samples=tuple(samples[-KEPT:]))

    def ordered(self, change: int, wanted: int, now: float) -> Loads:
        """After `wanted` was changed by `change`: so many more orders, or the newest of them given up."""
        if change >= 0:
            return replace(self, wanted=wanted, orders=(*self.orders, *([round(now)] * change))[-MOST_ORDERS:])
        return replace(self, wanted=wanted, orders=self.orders[: max(len(self.orders) + change, 0)])

    def seconds(self, told: float | None) -> float:
        """The load time to plan with."""
        if not self.samples:
            return DEFAULT_SECONDS if told is None else told
        ranked = sorted(self.samples)
        return max(ranked[math.ceil(LATE_SHARE * len(ranked)) - 1], 1.0)

    def stalled(self, now: float) -> int:
        """Loads that last so long that they are not counted any more."""
        limit = max(STALL_FACTOR * max(self.samples, default=math.inf), STALL_LEAST_SECONDS)
        return sum(now - order > limit for order in self.orders)

    def absent(self, now: float) -> int:
        """Replicas that do not serve since longer than a moment, as far as it was seen."""
        return sum(now - order > ABSENT_SECONDS for order in self.orders)

    def backlog(self, work: float, rate: float, ready: int, told: float | None, now: float) -> float:
        """Of `work` (replica-seconds) what will wait once a load that begins now is done, while `rate` replicas' worth arrives.

        The `ready` work it off, and those on their way from the moment that each is expected; a stalled one never.
        """
        seconds = self.seconds(told)
        due = sorted(max(order + seconds - now, 0.0) for order in self.orders[self.stalled(now) :])
        time, replicas = 0.0, ready
        for moment in (*(moment for moment in due if moment < seconds), seconds):
            work = max(work + (rate - replicas) * (moment - time), 0.0)
            time, replicas = moment, replicas + 1
        return work
