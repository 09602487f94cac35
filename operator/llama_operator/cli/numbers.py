"""Numbers and times of options, read in one way."""

from __future__ import annotations

import re

from llama_operator.api.problems import Problem
from llama_operator.cli.refusals import BadInput, quoted

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = 366 * 86_400
"""Seconds of the longest window that is looked back."""
LAST_PORT = 65_535
_WINDOW = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)


def read_window(text: str) -> int | None:
    """Seconds of a time such as 7d or 2w; None where it is none."""
    match = _WINDOW.fullmatch(text)
    return int(match[1]) * {**UNITS, "w": 7 * UNITS["d"]}[match[2]] if match else None


def whole(field: str, given: str, least: int, most: int) -> int:
    """A whole number. Raises BadInput."""
    if re.fullmatch(r"[0-9]{1,12}", given) is None or not least <= int(given) <= most:
        allowed = f"a whole number from {least} to {most}"
        raise BadInput.of(Problem(field=field, given=quoted(given), allowed=allowed, remedy="Correct it."))
    return int(given)


def seconds(field: str, given: str, most_days: int = 365) -> int:
    """A time as in 90s, 10m, 2h or 7d. Raises BadInput."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", given)
    found = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < found <= most_days * UNITS["d"]:
        allowed = f"a time as in 90s, 10m, 2h or 7d, at most {most_days}d"
        raise BadInput.of(Problem(field=field, given=quoted(given), allowed=allowed, remedy="Correct it."))
    return found
