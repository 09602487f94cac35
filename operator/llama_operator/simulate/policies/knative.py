"""Knative's KPA, at its defaults where nothing else is said.

Every 2 s: ceil(average / target) over a stable window of 60 s and a panic window of a tenth of it, each within
[floor(ready / 2), ready * 1000]. Panic when the panic window asks for at least twice the ready pods; while it lasts, and until a stable
window after it was last so, the number only grows. The target is 70 % of what a pod is said to take.
Sources: https://github.com/knative/serving/blob/main/pkg/autoscaler/scaling/autoscaler.go (Scale) and
https://github.com/knative/serving/blob/main/config/core/configmaps/autoscaler.yaml; the settings:
https://knative.dev/docs/serving/autoscaling/kpa-specific/.

It scrapes its own proxies every second, and sees what its activator holds: so it does here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from llama_operator.simulate.view import Ask, Sight, View, replica_window

TICK_SECONDS = 2.0
SCRAPE_SECONDS = 1.0
STABLE_SECONDS = 60.0
PANIC_SHARE = 0.1
"""Of the stable window: panic-window-percentage."""
PANIC_THRESHOLD = 2.0
UTILISATION = 0.7
MOST_UP = 1000.0
MOST_DOWN = 2.0


class Panic(NamedTuple):
    """Since when it panics, None: it does not; and the most pods that it asked for since."""

    since: float | None = None
    most: int = 0


@dataclass(frozen=True, kw_only=True)
class Knative:
    """`target` requests in flight that a replica is said to take."""

    target: float
    stable_seconds: float = STABLE_SECONDS
    """autoscaling.knative.dev/window"""
    name: str = field(default="kpa", init=False)

    @property
    def sight(self) -> Sight:
        """Its tick, and its own scrapes."""
        return Sight(every=TICK_SECONDS, scrape=SCRAPE_SECONDS, history=self.stable_seconds)

    def look(self, view: View, memory: Any) -> Ask:
        """One tick."""
        stable, panicked = (replica_window(view, seconds) for seconds in (self.stable_seconds, PANIC_SHARE * self.stable_seconds))
        if not stable or not panicked:
            return Ask(None, memory, "NoMetrics")
        ready = len(view.ready)
        panic: Panic = memory or (Panic(view.now, ready) if ready > 1 else Panic())
        over_stable, over_panic = (fmean(scrape.total for scrape in window) for window in (stable, panicked))
        wanted, panic = scale(over_stable, over_panic, ready, self.target * UTILISATION, panic, view.now, self.stable_seconds)
        return Ask(wanted, panic, "Stable" if panic.since is None else "Panic")


def scale(
    stable: float, panicked: float, ready: int, target: float, panic: Panic, now: float, calm_seconds: float = STABLE_SECONDS
) -> tuple[int, Panic]:
    """Pods for the average concurrency of both windows. Panic ends `calm_seconds` after there was last a reason for it."""
    pods = max(1, ready)
    most, least = math.ceil(MOST_UP * pods), math.floor(pods / MOST_DOWN)
    in_panic = math.ceil(panicked / target)
    wanted, by_panic = (min(max(asked, least), most) for asked in (math.ceil(stable / target), in_panic))
    if in_panic / pods >= PANIC_THRESHOLD:
        panic = panic._replace(since=now)
    elif panic.since is not None and panic.since + calm_seconds < now:
        panic = Panic()
    if panic.since is None:
        return wanted, panic
    panic = panic._replace(most=max(panic.most, wanted, by_panic))
    return panic.most, panic
