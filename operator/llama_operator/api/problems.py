"""What is wrong with a field, in the one form in which every check of this project says it: field, given, allowed, remedy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

GIVEN_LIMIT = 80
"""Characters of a given value that a message repeats."""

Severity = Literal["error", "warning"]
"""An error is refused. A warning is accepted, and whoever shows problems shows it too."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One field, and why it is refused, or with severity `warning` why somebody should look at it.

    `field` is the path as users write it (`spec.parallelism.tensor`), `given` the value as YAML shows it, `allowed` completes "allowed is",
    `remedy` is a whole sentence.
    """

    field: str
    given: str
    allowed: str
    remedy: str
    severity: Severity = "error"

    @property
    def message(self) -> str:
        """All of it in one line."""
        wanted = "allowed" if self.severity == "error" else "advised"
        return f"{self.field}: {self.given} is given; {wanted} is {self.allowed}. {self.remedy}"


def show(value: Any) -> str:
    """A value from a YAML or JSON file as a message repeats it: JSON, cut at GIVEN_LIMIT characters; `nothing` for an absent one."""
    if value is None:
        return "nothing"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python turns no whole number of more than 4300 digits into text
        return "a number of thousands of digits"
    return text if len(text) <= GIVEN_LIMIT else text[: GIVEN_LIMIT - 1] + "…"
