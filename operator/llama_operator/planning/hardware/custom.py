"""Reads an accelerator as a file or a resource gives it: a name of the catalogue, or memory and bandwidth of one that is not in it.

```yaml
accelerator: nvidia-h100-80gb
accelerator: {name: my-gpu, memoryGiB: 79.1, bandwidthGBps: 3350, linkGBps: 450, computeCapability: "9.0", teraflops: {bfloat16: 989}}
```
A custom entry that bears a catalogue's name changes only what it gives.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from llama_operator.api.problems import Problem, show
from llama_operator.planning.facts import Precision
from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Accelerator, find_accelerator

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
LARGEST = 1e9
"""No memory in GiB, bandwidth in GB/s or rate in tera-operations comes near."""

_ALLOWED = {
    "name": "a text of lower-case letters, digits, dots and dashes, at most 63",
    "memoryGiB": "a number of GiB above 0",
    "bandwidthGBps": "a number of GB a second above 0",
    "linkGBps": "a number of GB a second above 0",
    "computeCapability": 'a text like "9.0"',
    "teraflops": f"numbers above 0 by {', '.join(Precision)}",
}


def read_accelerator(raw: object, field: str = "hardware.accelerator") -> Accelerator | list[Problem]:
    """The accelerator that a parsed YAML or JSON value names or describes, or every problem of it."""
    if isinstance(raw, str):
        found = find_accelerator(raw, field)
        return [found] if isinstance(found, Problem) else found
    if not isinstance(raw, Mapping):
        allowed = f"a name of the catalogue, or an object of {', '.join(_ALLOWED)}"
        return [Problem(field=field, given=show(raw), allowed=allowed, remedy="Name the accelerator.")]
    problems = [
        Problem(
            field=f"{field}.{show(name).strip(chr(34))}", given=show(value), allowed=f"one of {', '.join(_ALLOWED)}", remedy="Remove it."
        )
        for name, value in raw.items()
        if name not in _ALLOWED
    ]
    problems += [
        Problem(field=f"{field}.{name}", given=show(raw[name]), allowed=_ALLOWED[name], remedy="Correct it.")
        for name, fits in _FITS.items()
        if name in raw and not fits(raw[name])
    ]
    known = CATALOGUE.get(raw["name"]) if isinstance(raw.get("name"), str) else None
    needed = ("name",) if known is not None else ("name", "memoryGiB", "bandwidthGBps")
    problems += [
        Problem(field=f"{field}.{name}", given="nothing", allowed=_ALLOWED[name], remedy="Give it.") for name in needed if name not in raw
    ]
    return problems or _entry(raw, known)


def _entry(raw: Mapping[str, Any], known: Accelerator | None) -> Accelerator:
    """The entry of a value that passed every check."""
    given = {name: read(raw[key]) for key, (name, read) in _READ.items() if key in raw}
    if known is not None:
        return dataclasses.replace(known, **given)
    return Accelerator(name=raw["name"], **given)


def _positive(value: object) -> bool:
    """A number above 0 and no larger than LARGEST."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 < value <= LARGEST


def _rates(value: object) -> bool:
    return isinstance(value, Mapping) and all(name in set(Precision) and _positive(rate) for name, rate in value.items())


_FITS: Mapping[str, Callable[[object], bool]] = {
    "name": lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
    "memoryGiB": _positive,
    "bandwidthGBps": _positive,
    "linkGBps": _positive,
    "computeCapability": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}\.[0-9]", value) is not None,
    "teraflops": _rates,
}

_READ: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "memoryGiB": ("memory", lambda value: int(value * GIB)),
    "bandwidthGBps": ("bandwidth", lambda value: value * 1e9),
    "linkGBps": ("link", lambda value: value * 1e9),
    "computeCapability": ("capability", lambda value: tuple(map(int, value.split(".")))),
    "teraflops": ("flops", lambda value: MappingProxyType({Precision(name): rate * 1e12 for name, rate in value.items()})),
}
"""How the fields of a value that passed its checks become those of an Accelerator."""
