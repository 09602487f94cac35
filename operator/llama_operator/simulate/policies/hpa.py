"""Kubernetes' HorizontalPodAutoscaler v2, at its defaults where nothing else is said.

Every 15 s: ceil(ready pods * average / target), nothing while that ratio is within 10 % of 1. Pods without the metric, which a replica that
loads does not export, count as using nothing on the way up and as using the target on the way down, and a ratio that this turns around
changes nothing. Up at once, by the larger of 100 % and 4 pods in 15 s; down to the
most that was recommended in the last 300 s, by 100 % in 15 s.
Sources: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ (algorithm details, default behavior) and
https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/podautoscaler/replica_calculator.go (calcPlainMetricReplicas).

Simplified: the limits of a step are counted from the number wanted at the look, which is the same while the period is the sync period.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from llama_operator.simulate.view import Ask, Sight, View, in_flight_of_ready

SYNC_SECONDS = 15.0
TOLERANCE = 0.1
DOWN_SECONDS = 300.0
UP_PODS = 4
UP_FACTOR = 2

Recommendations = tuple[tuple[float, int], ...]


@dataclass(frozen=True, kw_only=True)
class Hpa:
    """On the pods metric "requests in flight", at `target` for each pod. What the router holds is in no pod, and is not seen."""

    target: float
    down_seconds: float = DOWN_SECONDS
    """behavior.scaleDown.stabilizationWindowSeconds"""
    name: str = field(default="hpa", init=False)

    @property
    def sight(self) -> Sight:
        """The sync period."""
        return Sight(every=SYNC_SECONDS)

    def look(self, view: View, memory: Any) -> Ask:
        """One sync."""
        if not view.wanted:
            return Ask(None, memory, "NoMetrics")
        values = in_flight_of_ready(view)
        if not values:
            return Ask(None, memory, "NoMetrics")
        recommended = recommend(sum(values), len(values), view.wanted - len(values), view.wanted, self.target)
        return behave(recommended, view, memory, self.down_seconds)


def recommend(total: float, seen: int, unseen: int, wanted: int, target: float) -> int:
    """Replicas for `total` in `seen` pods, while `unseen` more of the `wanted` have no metric."""
    ratio = total / (seen * target)
    if not unseen:
        return wanted if abs(1 - ratio) <= TOLERANCE else math.ceil(ratio * seen)
    filled = (total + (unseen * target if ratio < 1 else 0.0)) / ((seen + unseen) * target)
    if abs(1 - filled) <= TOLERANCE or (ratio < 1) != (filled < 1):
        return wanted
    return math.ceil(filled * (seen + unseen))


def behave(recommended: int, view: View, memory: Any, down_seconds: float = DOWN_SECONDS) -> Ask:
    """The default behaviour: the window down, and the limits of a step up."""
    past: Recommendations = tuple(item for item in memory or () if item[0] > view.now - down_seconds)
    if not memory:
        past = ((view.now - SYNC_SECONDS, view.wanted),)  # a controller that starts takes the present number as its first recommendation
    past = (*past, (view.now, recommended))
    if recommended > view.wanted:
        return Ask(min(recommended, max(view.wanted * UP_FACTOR, view.wanted + UP_PODS)), past, "Recommended")
    return Ask(min(view.wanted, max(number for _, number in past)), past, "Recommended")
