"""AIBrix' KPA, at its defaults where nothing else is said: Knative's windows, with tolerances and limits of its own.

Every 10 s: all requests in flight, averaged over an observation window of 180 s and a panic window of 60 s. ceil(average / target), within
[floor(replicas / 2), ceil(replicas * 2)], `replicas` being the scale's spec. An average within 10 % of the target of ONE replica changes
nothing: that is what the source compares. Panic while the panic window's average is more than twice the other's; then the larger of both
counts, and nothing is remembered of it. Up and down as AIBrix' APA.
Sources, read at commit e3e10f9e (August 2026) of https://github.com/vllm-project/aibrix, pkg/controller/podautoscaler: algorithm/kpa.go
(shouldEnterPanicMode, computeTargetReplicas), context/context.go (NewBaseScalingContext: panic threshold 2, GetMaxPanicPods 0),
autoscaler.go (metricWindowDurations), metrics/client.go (DefaultStableWindowDuration 180 s, DefaultPanicWindowDuration 60 s).

It is given the total as an external metric. Of metrics of pods the source takes the average, and would divide that by the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from llama_operator.simulate.policies.aibrix import LOOP_SECONDS, OBSERVE_SECONDS, RATE, TOLERANCE, stabilize
from llama_operator.simulate.view import Ask, Sight, View, replica_window

PANIC_SHARE = 1 / 3
"""Of the observation window: 60 s of 180 s."""
PANIC_THRESHOLD = 2.0


@dataclass(frozen=True, kw_only=True)
class AibrixKpa:
    """`target` requests in flight for each replica."""

    target: float
    observe_seconds: float = OBSERVE_SECONDS
    """spec.observeWindowSeconds; spec.panicWindowSeconds is PANIC_SHARE of it."""
    name: str = field(default="aibrix-kpa", init=False)

    @property
    def sight(self) -> Sight:
        """It reads the metric itself."""
        return Sight(every=LOOP_SECONDS, scrape=LOOP_SECONDS, history=self.observe_seconds)

    def look(self, view: View, memory: Any) -> Ask:
        """One reconcile. The memory is what was recommended."""
        windows = [replica_window(view, seconds) for seconds in (self.observe_seconds, PANIC_SHARE * self.observe_seconds)]
        if not all(windows):
            return Ask(None, memory, "NoMetrics")
        stable, panicked = (fmean(scrape.total for scrape in window) for window in windows)
        return stabilize(recommend(stable, panicked, view.wanted, self.target), view, memory)


def recommend(stable: float, panicked: float, replicas: int, target: float) -> int:
    """Replicas for the averages of both windows."""
    by_stable, by_panic = (_within(average, replicas, target) for average in (stable, panicked))
    return max(by_stable, by_panic) if stable <= 0 or panicked / stable > PANIC_THRESHOLD else by_stable


def _within(average: float, replicas: int, target: float) -> int:
    near = (1 - TOLERANCE) * target <= average <= (1 + TOLERANCE) * target
    asked = replicas if near else math.ceil(average / target)
    return min(max(asked, math.floor(replicas / RATE)), max(1, math.ceil(replicas * RATE)))
