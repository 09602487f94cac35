"""KEDA: an external metric for the HPA, and the way from and to zero of its own.

The HPA sees the sum of all requests, held ones included, as an external metric with an average value: ceil(total / target), nothing while
total / (target * wanted) is within 10 % of 1. From 0 to 1 as soon as there is a request, looked at every 30 s (pollingInterval); from any
number to 0 after 300 s without one (cooldownPeriod). It looks here every 15 s and at zero at every second look. With useCachedMetrics
the HPA is given what KEDA saw at its last poll.
Sources: https://keda.sh/docs/2.17/reference/scaledobject-spec/ (pollingInterval, cooldownPeriod,
useCachedMetrics) and
https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/podautoscaler/replica_calculator.go (GetExternalPerPodMetricReplicas).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llama_operator.simulate.policies.hpa import DOWN_SECONDS, SYNC_SECONDS, TOLERANCE, behave
from llama_operator.simulate.view import Ask, Sight, View

POLLING_SECONDS = 30.0
COOLDOWN_SECONDS = 300.0


class Remembered(NamedTuple):
    """The HPA's recommendations, when a request was last seen, and what was polled last, and when."""

    hpa: Any = None
    active: float = 0.0
    total: int = 0
    polled: float = -math.inf


@dataclass(frozen=True, kw_only=True)
class Keda:
    """`target` requests for each replica."""

    target: float
    down_seconds: float = DOWN_SECONDS
    """behavior.scaleDown.stabilizationWindowSeconds of the HPA that it makes."""
    cached_seconds: float = 0.0
    """pollingInterval with useCachedMetrics; 0: without."""
    name: str = field(default="keda", init=False)

    @property
    def sight(self) -> Sight:
        """The HPA's sync period."""
        return Sight(every=SYNC_SECONDS)

    def look(self, view: View, memory: Any) -> Ask:
        """One sync of the HPA, or one poll while there is no replica."""
        known: Remembered = memory or Remembered()
        if not view.scrapes:
            return Ask(None, known, "NoMetrics")
        if view.now - known.polled >= self.cached_seconds:
            known = known._replace(total=view.scrapes[-1].total, polled=view.now)
        total = known.total
        known = known._replace(active=view.now) if total else known
        if not view.wanted:
            return Ask(1 if total and view.now % POLLING_SECONDS < SYNC_SECONDS else None, known, "Activated")
        if not view.minimum and view.now - known.active >= COOLDOWN_SECONDS:
            return Ask(0, known._replace(hpa=None), "CooledDown")
        asked = behave(max(recommend(total, view.wanted, self.target), 1), view, known.hpa, self.down_seconds)
        return Ask(asked.replicas, known._replace(hpa=asked.memory), asked.reason)


def recommend(total: float, wanted: int, target: float) -> int:
    """Replicas for `total` requests."""
    return wanted if abs(1 - total / (target * wanted)) <= TOLERANCE else math.ceil(total / target)
