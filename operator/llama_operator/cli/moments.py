"""Moments as users write and read them: RFC 3339, a time of day, or how long ago. All in UTC, as the cluster writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from llama_operator.api.duration import seconds_of, words

_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)


def read_moment(text: str, now: float) -> float | None:
    """Seconds since 1970 of 2026-11-21T15:02:03Z, of 15:02 (the last one before `now`) or of 10m (so long before `now`).

    None of anything else. A date without a zone is one in UTC.
    """
    if (seconds := seconds_of(text)) is not None:
        return now - seconds
    here = datetime.fromtimestamp(now, UTC)
    if (clock := _DAY.fullmatch(text)) is not None:
        moment = here.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=0)
        return (moment if moment <= here else moment - timedelta(days=1)).timestamp()
    try:
        moment = datetime.fromisoformat(text)
        read = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return read if read >= 0 else None
    except (ValueError, OverflowError):
        return None


def seconds_at(text: object) -> float | None:
    """Seconds since 1970 of a time as the API server writes it; None where there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def stamp(moment: float) -> str:
    """A moment as the API server writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(moment: float, now: float) -> str:
    """A moment as a sentence tells it: the time of day, with its date where that is not today's, and how long ago it was."""
    when, here = datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(now, UTC)
    form = "%H:%M:%S" if when.date() == here.date() else "%Y-%m-%d %H:%M:%S"
    return f"{when.strftime(form)} UTC ({ago(now - moment)})"


def ago(seconds: float) -> str:
    """How long ago, in at most two units."""
    if seconds < 0:
        return "in the future"
    if seconds >= 2 * 86_400:
        return f"{int(seconds // 86_400)} days ago"
    if seconds >= 3600:
        return f"{words(seconds // 60 * 60)} ago"
    return f"{words(int(seconds))} ago"
