"""What the recommendations were, as far back as the windows reach, in a form small enough to live in a status.

Times are kept in buckets of a tenth of the down window (at least 5 s), and of each bucket the largest recommendation: the maximum over the
window is exact in value and late by at most one bucket, on the side of keeping replicas. Memory changes once a bucket at most, so that a
status is not written with every look; while the load asks for no more than the least number there may be, there is nothing to remember
at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MIN_BUCKET_SECONDS = 5.0
BUCKETS = 10
GAP_BUCKETS = 3
GAP_SECONDS = 30.0
"""So many buckets, and at least so many seconds, without a look, and nobody can say what the load was in between. A pass that waits
for a busy head takes ten seconds or more; that alone must not start the window anew."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Recommendations seen. Times in seconds since 1970, bucketed."""

    up_seconds: float
    down_seconds: float
    since: float | None = None
    """Looks were continuous from then on."""
    points: Sequence[tuple[float, int]] = ()
    """Bucket start and largest recommendation in it, oldest first."""
    above_since: float | None = None
    above_least: int = 0
    """The least recommendation since it rose above the wanted number."""

    @property
    def bucket(self) -> float:
        """Seconds of one bucket."""
        return max(MIN_BUCKET_SECONDS, self.down_seconds / BUCKETS)

    @classmethod
    def of(cls, memory: Mapping[str, Any], up_seconds: float, down_seconds: float) -> Window:
        """Read what `memory()` wrote; anything else counts as no memory."""
        empty = cls(up_seconds=up_seconds, down_seconds=down_seconds)
        try:
            points = tuple((float(time), int(value)) for time, value in memory.get("points", ()))
            since = memory.get("since")
            above = memory.get("aboveSince")
            return replace(
                empty,
                points=points,
                since=None if since is None else float(since),
                above_since=None if above is None else float(above),
                above_least=int(memory.get("aboveLeast", 0)),
            )
        except (TypeError, ValueError, OverflowError):
            return empty

    def memory(self) -> dict[str, Any]:
        """JSON-ready; empty when there is nothing to remember."""
        kept: dict[str, Any] = {}
        if self.points:
            kept["points"] = [[time, value] for time, value in self.points]
        if self.since is not None:
            kept["since"] = self.since
        if self.above_since is not None:
            kept["aboveSince"] = self.above_since
            kept["aboveLeast"] = self.above_least
        return kept

    def gap(self, now: float) -> bool:
        """Nobody looked for long before `now`, or the clock jumped back. False where nothing is remembered.

        From the last bucket's start: the last look may have been any time after it, so a gap is taken for a bucket longer than it was,
        never for shorter.
        """
        if not self.points:
            return False
        newest = self.points[-1][0]
        return now - now % self.bucket < newest or now - newest > max(GAP_SECONDS, GAP_BUCKETS * self.bucket)

    def add(self, now: float, value: int, wanted: int) -> Window:
        """The window after a look at `now` that recommended `value` while `wanted` replicas were wanted. What is remembered of a time to
        come was written by a clock that ran ahead: it begins now, or is forgotten.
        """
        start = now - now % self.bucket
        # What lies before a gap is kept for the maximum, but continuity starts anew.
        broken = not self.points or self.gap(now)
        since = now if broken or self.since is None or self.since > now else self.since
        # Aligned to buckets, so that the oldest point goes in the same look in which a new one comes.
        horizon = start - self.down_seconds - self.bucket
        points = [(time, seen) for time, seen in self.points if horizon <= time <= start]
        if points and points[-1][0] == start:
            points[-1] = (start, max(points[-1][1], value))
        else:
            points.append((start, value))
        above, least = self.above_since, self.above_least
        if above is None or above > now:
            above, least = now, value
        if value <= wanted:
            return replace(self, since=since, points=tuple(points), above_since=None, above_least=0)
        return replace(self, since=since, points=tuple(points), above_since=above, above_least=min(least, value))

    def up_covered(self, now: float) -> bool:
        """The need for more has lasted long enough."""
        return self.above_since is not None and now - self.above_since >= self.up_seconds

    def down_covered(self, now: float) -> bool:
        """The whole down window was looked at."""
        return self.down_left(now) <= 0

    def down_left(self, now: float) -> float:
        """Seconds until the whole down window was looked at."""
        return self.down_seconds if self.since is None else self.down_seconds - (now - self.since)

    def most(self, now: float, seconds: float) -> int:
        """The largest recommendation within the last `seconds`."""
        return max((value for time, value in self.points if time + self.bucket > now - seconds), default=0)

    def settled(self, wanted: int, target: int, least: int, latest: int, now: float) -> Window:
        """The window to remember after going from `wanted` to `target`: nothing, while the least number is wanted and asked for.

        After a step up that was smaller than the latest need, the need for still more is timed anew: the least need of the time before
        the step is what was just granted.
        """
        if target <= least and latest <= least:
            return Window(up_seconds=self.up_seconds, down_seconds=self.down_seconds)
        if self.above_since is None:
            return self
        if target >= latest:
            return replace(self, above_since=None, above_least=0)
        return replace(self, above_since=now, above_least=latest) if target > wanted else self
