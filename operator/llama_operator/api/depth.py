"""How deep a value of JSON may go: objects and lists within each other. Looked at level by level, and so never going deep itself. Pure.

The API server takes ten thousand levels where a schema keeps unknown fields. Copying, comparing and rendering go one call deeper with each
level, so what comes from a tenant is cut before any of these sees it, and a spec is refused long before it would be cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DEEPEST = 64
"""Levels that a spec, or any text from elsewhere, may have; a pod has a dozen."""
CUT = 128
"""Levels that are kept of an object of the API server. Far more than DEEPEST, since a ControllerRevision holds what a spec gave some levels
deeper, and what was cut must still be refused.
"""
TOO_DEEP = "(nested too deeply to be read)"
"""Stands where something was cut."""


class TooDeep(ValueError):
    """JSON that is deeper than `DEEPEST`."""


def read_json(text: str | bytes) -> Any:
    """A value from JSON. Raises ValueError for what is none, and TooDeep for what is deeper than DEEPEST: a stack is not."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise TooDeep("it is too deep") from None
    if not is_shallow(value):
        raise TooDeep("it is too deep")
    return value


def is_shallow(value: Any, deepest: int = DEEPEST) -> bool:
    """Whether a value of JSON has at most so many levels, its own counted."""
    level = [value]
    for _ in range(deepest + 1):
        inner = [list(item.values()) if isinstance(item, Mapping) else item for item in level if isinstance(item, Mapping | list)]
        level = [item for items in inner for item in items]
        if not level:
            return True
    return False


def shallow_copy(value: Any, cut: int = CUT) -> Any:
    """A copy of plain dicts and lists with at most so many levels; TOO_DEEP stands for each object or list that lies deeper."""
    holder: list[Any] = [value]
    level: list[Any] = [holder]
    for _ in range(cut):
        deeper: list[Any] = []
        for place in level:
            for key, item in list(place.items() if isinstance(place, dict) else enumerate(place)):
                if isinstance(item, Mapping):
                    place[key] = dict(item)
                elif isinstance(item, list | tuple):
                    place[key] = list(item)
                else:
                    continue
                deeper.append(place[key])
        level = deeper
    for place in level:
        for key, item in list(place.items() if isinstance(place, dict) else enumerate(place)):
            if isinstance(item, Mapping | list | tuple):
                place[key] = TOO_DEEP
    return holder[0]
