"""Cron expressions in a time zone, and when they were last due. Five fields, as in crontab(5): minute, hour, day, month, weekday.

Daylight saving, as Debian's cron has it (https://manpages.debian.org/bookworm/cron/cron.8.en.html): what is due in the hour that is left
out comes right after it; what is due in the hour that comes twice comes the first time. Expressions with a star for minute or hour follow
the clock through both. cronsim does that, and the time zones are those of the PyPI package tzdata, where the system has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = 5
AROUND_A_SHIFT = timedelta(hours=3)
"""No zone's clock is moved by more."""
SOME = 100
"""Moments of an expression that are looked at, to say that something never happens."""
SOME_SECONDS = 5 * 366 * 24 * 3600.0
"""No moment is looked for after one that is further than this, which holds a 29 February: to find those of expressions that are due
once in decades takes longer than a pass may."""
KEPT = 1024
"""Answers that are remembered: the same specs are checked in every pass."""
_ANY = datetime(2026, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo | None:
    """The time zone of an IANA name; None where there is none."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError where no file of that name could be looked for
        return None
    except KeyError:
        return None


@lru_cache(maxsize=KEPT)
def is_cron(text: str) -> bool:
    """It can be read, and is due at some time within 50 years."""
    if len(text.split()) != FIELDS:
        return False
    try:
        return next(CronSim(text, _ANY), None) is not None
    except (CronSimError, AssertionError):  # the latter of steps such as L-2/3
        return False


def due(expression: str, place: ZoneInfo, since: float) -> Iterator[float]:
    """The moments after `since`, seconds since 1970."""
    return map(datetime.timestamp, CronSim(expression, datetime.fromtimestamp(math.floor(since), place)))


def last_due(expression: str, place: ZoneInfo, now: float) -> float | None:
    """The latest moment that is not after `now`, seconds since 1970; None where there was none within 50 years."""
    here = datetime.fromtimestamp(math.floor(now), place)
    # Near a shift of the clock the order of the wall's times is not that of the moments: begin late, and pass over what is yet to come.
    shifts = (here - AROUND_A_SHIFT).utcoffset() != (here + AROUND_A_SHIFT).utcoffset()
    begin = datetime.fromtimestamp(math.floor(now) + (AROUND_A_SHIFT.total_seconds() if shifts else 0), place)
    # With a microsecond, the moment itself counts as past.
    backwards = (moment.timestamp() for moment in CronSim(expression, begin.replace(microsecond=1), reverse=True))
    return next((moment for moment in backwards if moment <= now), None)


@lru_cache(maxsize=KEPT)
def ever_apart(first: str, second: str, place: ZoneInfo) -> bool:
    """There is a moment of `first` at which `second` is not due too, as far as the next SOME of them, or SOME_SECONDS, tell."""
    begin = _ANY.timestamp()
    for moment in islice(due(first, place, begin), SOME):
        if last_due(second, place, moment) != moment:
            return True
        if moment - begin > SOME_SECONDS:
            break
    return False
