"""What the demand will be one load time from now: a level, a trend, and how wrong that has been before.

    level       mean of the newest LEVEL_BUCKETS buckets of demand
    trend       of the slopes between all pairs of TREND_POINTS points over the last horizon the one that 1 - TREND_SHARE of them exceed: as
                Theil-Sen's median a step does not move it, and below the median so that noise is no trend
    forecast    level + trend upward over the horizon; a falling trend is not believed: letting go takes no time, ordering does. The
                highest of the demand's and of each signal's alone: one that climbs below another is seen before it is the highest
    error       of each past forecast: the highest demand that then came within its horizon, minus the forecast
    answer      forecast + the quantile of the errors that the costs ask for, and never above what was seen, unless the trend says so
    whole       of that answer, rounded up, the last replica only where what would be missing without it, on the average of the errors,
                is more than the costs allow: rounding pays for a whole one wherever a part may be missing, be it a hundredth

The quantile is the newsvendor's: with a cost of `short` for a replica too few and `spare` for one too many, the number to have is the
quantile short / (short + spare) of the demand (Arrow, Harris, Marschak 1951, https://doi.org/10.2307/1906813). Theil-Sen: Sen 1968,
https://doi.org/10.1080/01621459.1968.10480934. Which method, and the numbers below: measured, docs/adr/0008-scaling-policy.md.

Demand is in replicas. Fewer errors than MIN_ERRORS count as if the missing ones had been 0: one surprise is not yet a habit.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean
from typing import Any

from llama_operator.scaling.sane import number, numbers, recommend

BUCKET_SECONDS = 15.0
"""A usual scrape interval: finer buckets would hold the same sample twice."""
KEPT, KEPT_ERRORS = 120, 240
"""Buckets of demand and errors that are remembered: half an hour and an hour."""
MOST_AHEAD = 60
"""Buckets in the longest horizon, a quarter of an hour: what loads longer is forecast no further."""
LEVEL_BUCKETS, LASTING_BUCKETS = 4, 2
TREND_POINTS, TREND_SHARE = 16, 0.3
MIN_ERRORS = 40
MOST_SIGNALS = 4
"""There are no more votes."""
GAP_BUCKETS = 8
"""So many buckets without a look end the memory: what came in between was not seen."""
DIGITS = 3
"""Significant digits that are remembered: the memory lies in a status."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Demand seen, in replicas, the last of each bucket: closed ones, oldest first, the open one, forecasts not yet judged, past errors.

    A scrape seldom comes twice in a bucket, so the last is a fair sample; and under a constant load the memory changes once a bucket.
    """

    begun: float = -math.inf
    """Start of the open bucket, seconds since 1970."""
    open: float | None = None
    """The newest demand in the open bucket; None: no bucket is open."""
    seen: Sequence[float] = ()
    forecasts: Sequence[float] = ()
    errors: Sequence[float] = ()
    signals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Of each signal, where there are several, the demand in the newest buckets, the open one last. Not seen, it stays as it was."""

    @classmethod
    def of(cls, memory: object) -> History:
        """Read what `memory()` wrote; anything else counts as no memory."""
        if not isinstance(memory, Mapping):
            return cls()
        begun, latest = number(memory.get("begun")), number(memory.get("open"))
        seen, forecasts, errors = (numbers(memory.get(name)) for name in ("seen", "forecasts", "errors"))
        if begun is None or latest is None or seen is None or forecasts is None or errors is None:
            return cls()
        told = memory.get("signals")
        signals = {str(name): numbers(values) or () for name, values in told.items()} if isinstance(told, Mapping) else {}
        return cls(
            begun=begun,
            open=latest,
            seen=seen[-KEPT:],
            forecasts=forecasts[-MOST_AHEAD:],
            errors=errors[-KEPT_ERRORS:],
            signals={name: values[-MOST_AHEAD:] for name, values in sorted(signals.items())[:MOST_SIGNALS] if values},
        )

    def memory(self) -> dict[str, Any]:
        """For the status: JSON values, bounded in number."""
        return {
            "begun": self.begun,
            "open": self.open,
            "seen": list(self.seen),
            "forecasts": list(self.forecasts),
            "errors": list(self.errors),
            **({"signals": {name: list(values) for name, values in self.signals.items()}} if self.signals else {}),
        }

    def add(self, now: float, demand: float, ahead: int, signals: Mapping[str, float] | None = None) -> History:
        """The history after a look; `ahead` is the horizon in buckets, `signals` what each of several asks for."""
        start = now - now % BUCKET_SECONDS
        demand, latest = short(demand), {name: short(value) for name, value in sorted((signals or {}).items())}
        if start == self.begun:
            return replace(self, open=demand, signals=_latest(self.signals, latest))
        fresh = History(begun=start, open=demand, signals={name: (value,) for name, value in latest.items()})
        missed = (start - self.begun) / BUCKET_SECONDS
        if self.open is None or missed < 0 or missed > GAP_BUCKETS:
            return fresh
        closed = self
        for _ in range(round(missed)):
            closed = closed.close(ahead)
        return replace(fresh, seen=closed.seen, forecasts=closed.forecasts, errors=closed.errors, signals=_latest(closed.signals, latest))

    def close(self, ahead: int) -> History:
        """The open bucket is over: a forecast from here, and a verdict on the one whose horizon ends here."""
        seen = (*self.seen, self.open or 0.0)[-KEPT:]
        forecasts = (*self.forecasts, short(self.ahead(ahead)))[-MOST_AHEAD - 1 :]
        errors = self.errors
        if len(forecasts) > ahead and len(seen) > ahead:
            errors = (*errors, short(max(seen[-ahead:]) - forecasts[-1 - ahead]))[-KEPT_ERRORS:]
        signals = {name: (*values, values[-1])[-MOST_AHEAD:] for name, values in self.signals.items()}
        return replace(self, seen=seen, forecasts=forecasts[-MOST_AHEAD:], errors=errors, signals=signals)

    def ahead(self, ahead: int) -> float:
        """The forecast: demand in so many buckets, if it goes on as it does."""
        return max(straight(each, ahead) for each in (self.now, *self.signals.values()))

    def fits(self, replicas: int) -> bool:
        """Nothing in it, nor what is expected of it, ever needed more than `replicas`."""
        return all(value <= replicas for value in self.now)

    @property
    def now(self) -> Sequence[float]:
        """All buckets, the open one last."""
        return self.seen if self.open is None else (*self.seen, self.open)


def _latest(signals: Mapping[str, Sequence[float]], seen: Mapping[str, float]) -> Mapping[str, Sequence[float]]:
    """The series with what is seen now in the open bucket; a signal that is new begins here."""
    known = {name: (*values[:-1], seen.get(name, values[-1])) for name, values in signals.items()}
    return {**known, **{name: (value,) for name, value in seen.items() if name not in signals}}


def short(value: float) -> float:
    """The value in DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")


def straight(seen: Sequence[float], ahead: int) -> float:
    """Level and upward trend, `ahead` buckets on."""
    return steady(seen) + max(trend(seen, ahead), 0.0) * ahead


def steady(seen: Sequence[float]) -> float:
    """The level: of the last minute, or what there is now where that is less. The down window remembers the rest."""
    return min(fmean(seen[-LEVEL_BUCKETS:]), seen[-1])


def level(history: History) -> float:
    """Present demand, in replicas."""
    return steady(history.now) if history.now else 0.0


def lasted(history: History) -> float:
    """What demand did not fall below in the newest two buckets, in replicas; 0 before there are two.

    The level takes a minute to follow a jump. One bucket may be chance; what stands in two, while more wait than can in time, is none.
    """
    seen = history.now[-LASTING_BUCKETS:]
    return min(seen) if len(seen) == LASTING_BUCKETS else 0.0


def trend(seen: Sequence[float], ahead: int) -> float:
    """Slope in replicas per bucket over about the last horizon; 0 while there is too little to tell."""
    span = seen[-max(ahead, TREND_POINTS) :]
    if len(span) < TREND_POINTS:
        return 0.0
    step = len(span) / TREND_POINTS
    points = [(index, span[index]) for index in (int(step * number) for number in range(TREND_POINTS))]
    slopes = sorted([(high - low) / (later - earlier) for (earlier, low), (later, high) in combinations(points, 2)])
    return slopes[int(TREND_SHARE * len(slopes))]


def quantile(errors: Sequence[float], share: float) -> float:
    """The `share` quantile of the errors, at least 0."""
    padded = sorted([*errors, *([0.0] * (MIN_ERRORS - len(errors)))])
    return max(padded[min(math.ceil(share * len(padded)), len(padded)) - 1], 0.0)


def expect(history: History, ahead: int, share: float, patience: float) -> float:
    """The demand to be ready for, in replicas. `patience` is the share by which a peak may exceed it."""
    seen = history.now
    if not seen:
        return 0.0
    forecast = history.ahead(ahead)
    peak = max(seen[-1], min(forecast + quantile(history.errors, share), max(forecast, *seen)))
    return max(forecast, peak / (1 + patience))


def expect_whole(history: History, ahead: int, share: float, whole_share: float, patience: float) -> float:
    """As `expect`, but no whole replica for little of one: never more than `expect`, and no more than the forecast needs, or than the least
    whole number without which at most 1 - `whole_share` (Costs) of a replica is missing on the average of the errors.

    That is the newsvendor's rule where what is had comes in whole units and what is wanted does not: what one more is expected to save.
    The quantile stays the bound: a surprise that was rare is no habit, however large it was (the errors of one crowd last an hour).
    """
    enough = expect(history, ahead, share, patience)
    if not history.now:
        return enough
    forecast = history.ahead(ahead)
    latest, most = history.now[-1], max(forecast, *history.now)
    errors = [*history.errors, *([0.0] * (MIN_ERRORS - len(history.errors)))]
    peaks = [max(latest, min(forecast + max(error, 0.0), most)) / (1 + patience) for error in errors]

    def suffices(whole: int) -> bool:
        return whole >= enough or fmean(min(max(peak - whole, 0.0), 1.0) for peak in peaks) <= 1 - whole_share

    # Halved, not counted: a tenant's metric may ask for a million.
    among = range(recommend(forecast), recommend(enough) + 1)
    whole = among.start + bisect_left(among, True, key=suffices)
    return min(enough, max(forecast, float(whole)))
