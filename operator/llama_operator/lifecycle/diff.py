"""Does what lives differ from what we want? Only in the fields that we set: the API server's defaults and other people's labels are
theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def first_difference(desired: Any, live: Any, path: str = "") -> str | None:
    """The first field of `desired` that `live` lacks or has otherwise, in words; None when there is none."""
    if desired == live:  # nearly always, and said at once: whole manifests are compared in every pass
        return None
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            return f"{path or 'it'} is {live!r}, wanted an object"
        for key, value in desired.items():
            here = f"{path}.{key}" if path else str(key)
            if key not in live:
                # An empty map or list that we ask for and the API server drops is no difference.
                if value in ({}, [], None):
                    continue
                return f"{here} is missing"
            difference = first_difference(value, live[key], here)
            if difference:
                return difference
        return None
    if isinstance(desired, list):
        if not isinstance(live, list) or len(live) != len(desired):
            return f"{path} has {len(live) if isinstance(live, list) else 'no'} items, wanted {len(desired)}"
        for index, (wanted, there) in enumerate(zip(desired, live, strict=True)):
            difference = first_difference(wanted, there, f"{path}[{index}]")
            if difference:
                return difference
        return None
    return f"{path} is {live!r}, wanted {desired!r}"
