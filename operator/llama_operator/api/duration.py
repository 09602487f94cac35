"""Durations as users write them: 90s, 30m, 1h30m."""

from __future__ import annotations

import re

PATTERN = "([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?"
"""Hours, minutes, seconds in this order, each at most once; of Go's durations, which CEL's `duration()` reads, those that people write."""

_SECONDS = {"h": 3600, "m": 60, "s": 1}


def seconds_of(text: str) -> int | None:
    """The duration in seconds; None where the text is none."""
    if not text or not re.fullmatch(PATTERN, text):
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall("([0-9]+)([hms])", text))


def words(seconds: float) -> str:
    """The duration in the largest units that say it whole: 1h30m, 90s becomes 1m30s."""
    left, said = round(seconds), ""
    for unit, size in _SECONDS.items():
        count, left = divmod(left, size)
        said += f"{count}{unit}" if count else ""
    return said or "0s"
