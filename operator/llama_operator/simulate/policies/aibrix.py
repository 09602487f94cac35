"""AIBrix' APA, at its defaults where nothing else is said.

Every 10 s: the average in flight of the pods that answer, over an observation window of 180 s; ceil(replicas * average / target) outside a
tolerance of 10 % both ways, at most twice and at least half the replicas. `replicas` is the scale's spec: it holds those that still load,
which is how it asks again for what is on its way. Up at once. Down to the least that was recommended in the last 300 s: the setting is
called a cooldown, but takes the minimum over its window, so it delays nothing.
Sources, read at commit e3e10f9e (August 2026) of https://github.com/vllm-project/aibrix, pkg/controller/podautoscaler:
algorithm/apa.go (computeTargetReplicas), context/context.go (NewBaseScalingContext: rates 2 and 2, tolerances 0.1, cooldown 0 s up and
300 s down), metrics/client.go (DefaultStableWindowDuration 180 s, UpdateMetrics), podautoscaler_controller.go (DefaultResyncInterval 10 s,
stabilizeRecommendation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from llama_operator.simulate.view import Ask, Sight, View, replica_window

LOOP_SECONDS = 10.0
OBSERVE_SECONDS = 180.0
TOLERANCE = 0.1
RATE = 2.0
DOWN_SECONDS = 300.0

Recommendations = tuple[tuple[float, int], ...]


@dataclass(frozen=True, kw_only=True)
class Aibrix:
    """`target` requests in flight for each replica."""

    target: float
    observe_seconds: float = OBSERVE_SECONDS
    """spec.observeWindowSeconds"""
    name: str = field(default="aibrix", init=False)

    @property
    def sight(self) -> Sight:
        """It reads the pods itself."""
        return Sight(every=LOOP_SECONDS, scrape=LOOP_SECONDS, history=self.observe_seconds)

    def look(self, view: View, memory: Any) -> Ask:
        """One reconcile. The memory is what was recommended."""
        scrapes = replica_window(view, self.observe_seconds)
        averages = [fmean(sample.running + sample.waiting for sample in scrape.samples) for scrape in scrapes if scrape.samples]
        if not averages:
            return Ask(None, memory, "NoMetrics")
        return stabilize(recommend(fmean(averages), view.wanted, self.target), view, memory)


def stabilize(recommended: int, view: View, memory: Any) -> Ask:
    """Up at once; down to the least of what was recommended within DOWN_SECONDS."""
    recommended = min(max(recommended, view.minimum), view.maximum)
    past: Recommendations = tuple(item for item in memory or () if item[0] > view.now - DOWN_SECONDS)
    past = (*past, (view.now, recommended))
    if recommended < view.wanted:
        return Ask(min(number for _, number in past), past, "Recommended")
    return Ask(recommended, past, "Recommended")


def recommend(average: float, replicas: int, target: float) -> int:
    """Replicas for an `average` in each of the present ones."""
    use = average / target
    if use > 1 + TOLERANCE:
        return min(math.ceil(replicas * use), math.ceil(RATE * replicas))
    if use < 1 - TOLERANCE:
        return max(math.ceil(replicas * use), math.floor(replicas / RATE))
    return replicas
