"""The numbers among the options of `simulate`, as a table: what each allows, and all that is wrong told at once."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from llama_operator.api.problems import Problem
from llama_operator.api.scaling_rules import LEAST_IDLE_SECONDS, MOST_IDLE_SECONDS
from llama_operator.cli.refusals import quoted
from llama_operator.simulate.lineup import MOST_REPLICAS
from llama_operator.simulate.service import Service, check_service

_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})(e[+-]?[0-9]{1,2})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What one number may be."""

    least: float
    most: float
    whole: bool = False
    above: bool = False
    """More than `least`, not `least` itself."""

    @property
    def allowed(self) -> str:
        """In words."""
        what = "a whole number" if self.whole else "a number"
        return f"{what} above {self.least:g}, at most {self.most:g}" if self.above else f"{what} from {self.least:g} to {self.most:.15g}"

    def read(self, text: str) -> float | None:
        """The number; None where it is none, or not allowed."""
        if (_WHOLE if self.whole else _NUMBER).fullmatch(text) is None:
            return None
        value = int(text) if self.whole else float(text)
        good = self.least <= value <= self.most and not (self.above and value == self.least)
        return value if good else None


MOST_GPUS = 1_000_000
LATEST = 4_102_444_800.0
"""2100-01-01: a trace of a year after it still has dates that all libraries know."""
REPLICAS = Bound(least=0, most=MOST_REPLICAS, whole=True)
BOUNDS: Mapping[str, Bound] = {
    "copies": Bound(least=1, most=1000, whole=True),
    "hours": Bound(least=0, most=24 * 366, above=True),
    "step": Bound(least=5, most=86_400, whole=True),
    "seed": Bound(least=0, most=2**53, whole=True),
    "load_seconds": Bound(least=0, most=86_400),
    "load_spread": Bound(least=0, most=3),
    "slo_ttft": Bound(least=0, most=3600, above=True),
    "target": Bound(least=0, most=1_000_000, above=True),
    "min": REPLICAS,
    "max": replace(REPLICAS, least=1),
    "initial": REPLICAS,
    "idle": Bound(least=LEAST_IDLE_SECONDS, most=MOST_IDLE_SECONDS),
    "gpus": Bound(least=1, most=MOST_GPUS, whole=True),
    "scrape": Bound(least=1, most=3600),
    "lag": Bound(least=0, most=3600),
}


def read_numbers(arguments: argparse.Namespace, problems: list[Problem]) -> dict[str, Any]:
    """The numbers that are given, by option; what is wrong goes to `problems`."""
    found: dict[str, Any] = {}
    for name, bound in BOUNDS.items():
        text = getattr(arguments, name)
        if text is None:
            continue
        value = bound.read(text)
        if value is None:
            option = f"--{name.replace('_', '-')}"
            problems.append(Problem(field=option, given=quoted(text), allowed=bound.allowed, remedy="Correct it."))
        else:
            found[name] = value
    return found


def read_begin(text: str, problems: list[Problem]) -> float | None:
    """Seconds since 1970 of a time with its zone; what is none goes to `problems`."""
    try:
        moment = datetime.fromisoformat(text)
        seconds = moment.timestamp() if moment.tzinfo else -1.0
    except (ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds <= LATEST:
        allowed = "a time with its zone, as in 2026-11-23T06:00:00Z or 2026-11-23T06:00:00+01:00"
        problems.append(Problem(field="--begin", given=quoted(text), allowed=allowed, remedy="Write it in one of these forms."))
        return None
    return seconds


SERVICE = {item.name.replace("_", "-"): item.name for item in fields(Service)}
"""Names that --service takes, and those of the model."""
_COUNTS = {"slots", "accepts"}


def read_service(text: str, problems: list[Problem]) -> dict[str, Any]:
    """The numbers of `--service`, by the model's names; what is no number or has no such name goes to `problems`."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        field = SERVICE.get(name)
        if field is None or not equals:
            near = difflib.get_close_matches(name[:200], SERVICE, n=1)
            remedy = f"Did you mean {near[0]}=N?" if near else "Write it as in prefill=4900,slots=64,itl=0.1,kv=681000."
            allowed = f"NAME=N, NAME being one of {', '.join(SERVICE)}"
            problems.append(Problem(field="--service", given=quoted(part), allowed=allowed, remedy=remedy))
        elif field in found:
            problems.append(Problem(field="--service", given=quoted(part), allowed="every number once", remedy="Remove one of them."))
        elif (_WHOLE if field in _COUNTS else _NUMBER).fullmatch(number) is None:
            allowed = "a whole number, as in 64" if field in _COUNTS else "a number, as in 0.1"
            problems.append(Problem(field=f"--service {name}", given=quoted(number), allowed=allowed, remedy="Correct it."))
        else:
            found[field] = int(number) if field in _COUNTS else float(number)
    problems += check_service(replace(Service(), **found))
    return found
