"""What being wrong costs, and what follows from it: how much demand to be ready for, and how long to keep what nothing asks for.

demand      the quantile short / (short + spare) of it: the newsvendor's rule                                          forecast.py
whole       replicas are whole, demand is not: `short` is for one too few, of which PART is needed on average; so a whole one's worth of
            demand without a replica costs short / PART, and one more is had only where it saves more of that than it is idle
keeping     a replica that is let go and wanted again is one too few for as long as it takes to see that and to load: that costs
            short * (load + SIGHT_SECONDS). Keeping it costs `spare` a second. So it is kept until keeping has cost as much as letting
            it go in error would: whatever comes, no more than twice is paid of what one who knew would pay (the ski-rental rule:
            Karlin, Manasse, Rudolph, Sleator 1988, https://doi.org/10.1007/BF01762111)
at most     1.5 loads, within 400 and 900 s, as was measured for loads of 100 and 300 s (ADR 0008): where a load takes minutes, the
            rule alone would keep a peak for longer than it pays
"""

from __future__ import annotations

from dataclasses import dataclass

from llama_operator.scaling.loads import Loads

SIGHT_SECONDS = 20.0
"""From a request's arrival to a decision that knows of it: a scrape interval and a look, added to the load time."""
LEAST_DOWN_SECONDS, UNKNOWN_DOWN_SECONDS, MOST_DOWN_SECONDS = 400.0, 600.0, 900.0
"""Bounds of 1.5 loads, and the down window before it is known how long it takes to get a replica back; 600 s is Ray Serve's default."""
DOWN_LOADS = 1.5
PART = 0.5
"""Of the last replica that is needed what is needed of it, on average: demand knows nothing of where one replica ends."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What being wrong costs, in any unit above 0: only the ratio counts. One replica too few for a while, against one too many."""

    short: float = 4.0
    spare: float = 1.0

    @property
    def share(self) -> float:
        """The quantile of demand to be ready for."""
        return self.short / (self.short + self.spare)

    @property
    def whole_share(self) -> float:
        """The same of a whole replica's worth of demand: at most the rest of one may be missing on average."""
        return self.short / (self.short + PART * self.spare)


@dataclass(frozen=True, kw_only=True)
class DownWindow:
    """How long the need for fewer replicas must have lasted, in seconds, and where that is from."""

    seconds: float
    why: str


def down_window(given: float | None, costs: Costs, loads: Loads, told: float | None) -> DownWindow:
    """What the user gave, else the rule of `keep_seconds`. `told`: the load time as far as it is known before the first load."""
    if given is not None:
        return DownWindow(seconds=given, why="as scaleDownStabilizationSeconds says")
    if loads.samples:
        of = f"at loads of {loads.seconds(told):.0f} s"
    elif told is not None:
        of = f"at loads of {told:.0f} s as planned; none was seen yet"
    else:
        of = "and no load was seen yet"
    return DownWindow(seconds=keep_seconds(costs, loads, told), why=f"by what being wrong costs, {of}")


def keep_seconds(costs: Costs, loads: Loads, told: float | None) -> float:
    """The down window where the user gave none, in seconds. `told`: the load time as far as it is known before the first load."""
    if not loads.samples and told is None:
        return UNKNOWN_DOWN_SECONDS
    load = loads.seconds(told)
    even = costs.short * (load + SIGHT_SECONDS) / costs.spare
    return min(even, max(DOWN_LOADS * load, LEAST_DOWN_SECONDS), MOST_DOWN_SECONDS)
