"""Ray Serve's own autoscaler, at its defaults where nothing else is said: requests in replicas and queues, averaged over 30 s, pushed
every 10 s.

ceil(total / target); only once that has been above the target number for 30 s, or below it for 600 s, without a break. With no replica
there, one request asks for one at once.
Sources: https://github.com/ray-project/ray/blob/master/python/ray/serve/autoscaling_policy.py (_apply_delay_logic,
_core_replica_queue_length_policy) and https://docs.ray.io/en/latest/serve/advanced-guides/advanced-autoscaling.html (look_back_period_s,
metrics_interval_s, upscale_delay_s, downscale_delay_s).

Simplified: it looks every second, not every 0.1 s. Its default target of 2 ongoing requests is not used: the target is the run's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from llama_operator.simulate.view import Ask, Sight, View, replica_window

LOOP_SECONDS = 1.0
PUSH_SECONDS = 10.0
LOOK_BACK_SECONDS = 30.0
UP_SECONDS = 30.0
DOWN_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class RayServe:
    """`target` ongoing requests for each replica."""

    target: float
    up_seconds: float = UP_SECONDS
    """upscale_delay_s"""
    down_seconds: float = DOWN_SECONDS
    """downscale_delay_s"""
    name: str = field(default="ray", init=False)

    @property
    def sight(self) -> Sight:
        """Its control loop, and the interval at which replicas push."""
        return Sight(every=LOOP_SECONDS, scrape=PUSH_SECONDS, history=LOOK_BACK_SECONDS)

    def look(self, view: View, memory: Any) -> Ask:
        """One turn of the control loop."""
        counter: int = memory or 0
        scrapes = replica_window(view, LOOK_BACK_SECONDS)
        if not scrapes:
            return Ask(None, counter, "NoMetrics")
        total = fmean(scrape.total for scrape in scrapes)
        if not view.ready:
            return Ask(max(1, view.wanted) if total else None, counter, "ColdStart")
        desired = min(max(math.ceil(total / self.target), view.minimum), view.maximum)
        wanted, counter = delay(desired, view.wanted, counter, self.up_seconds, self.down_seconds)
        return Ask(wanted, counter, "Delayed" if counter else "Decided")


def delay(desired: int, wanted: int, counter: int, up_seconds: float = UP_SECONDS, down_seconds: float = DOWN_SECONDS) -> tuple[int, int]:
    """The number to go to, and for how many turns in a row it has been asked for; below 0 for fewer replicas."""
    if desired > wanted:
        counter = max(counter, 0) + 1
        return (desired, 0) if counter > up_seconds / LOOP_SECONDS else (wanted, counter)
    if desired < wanted:
        counter = min(counter, 0) - 1
        lower = desired if wanted == 1 else max(1, desired)
        return (lower, 0) if counter < -down_seconds / LOOP_SECONDS else (wanted, counter)
    return wanted, 0
