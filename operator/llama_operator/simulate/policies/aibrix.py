"""AIBrix' APA at its defaults.

ceil(replicas * average in flight of a ready pod / target), outside a tolerance of 10 % both ways, at most twice and at least half the
replicas. `replicas` holds those that still load, which is how it asks again for what is on its way.
Sources: https://github.com/vllm-project/aibrix/blob/main/pkg/controller/podautoscaler/algorithm/apa.go (computeTargetReplicas),
https://github.com/vllm-project/aibrix/blob/main/pkg/controller/podautoscaler/context/context.go (NewBaseScalingContext: rates 2 and 2,
tolerances 0.1, cooldown 0 s up and 300 s down).

Not verified, and so assumed: that it looks every 10 s with metrics of its own just as often, and that the cooldown is the time since the
last change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from llama_operator.simulate.view import Ask, Sight, View, in_flight_of_ready

LOOP_SECONDS = 10.0
TOLERANCE = 0.1
RATE = 2.0
DOWN_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Aibrix:
    """`target` requests in flight for each replica."""

    target: float
    name: str = field(default="aibrix", init=False)

    @property
    def sight(self) -> Sight:
        """It reads the pods itself."""
        return Sight(every=LOOP_SECONDS, scrape=LOOP_SECONDS)

    def look(self, view: View, memory: Any) -> Ask:
        """One reconcile. The memory is the time of the last change."""
        values = in_flight_of_ready(view)
        if not values:
            return Ask(None, memory, "NoMetrics")
        wanted = min(max(recommend(fmean(values), view.wanted, self.target), view.minimum), view.maximum)
        if wanted < view.wanted and memory is not None and view.now - memory < DOWN_SECONDS:
            return Ask(None, memory, "CoolingDown")
        return Ask(wanted, memory if wanted == view.wanted else view.now, "Recommended")


def recommend(average: float, replicas: int, target: float) -> int:
    """Replicas for an `average` in each of the present ones."""
    use = average / target
    if use > 1 + TOLERANCE:
        return min(math.ceil(replicas * use), math.ceil(RATE * replicas))
    if use < 1 - TOLERANCE:
        return max(math.ceil(replicas * use), math.floor(replicas / RATE))
    return replicas
