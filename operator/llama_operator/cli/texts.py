"""Texts of a cluster or an endpoint, whoever wrote them: read in bounded depth, and written so that they move no terminal. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
"""What a text could move a terminal's cursor, title or clipboard with: CSI and OSC sequences (ECMA-48) and control characters."""
UNESCAPED = re.compile(r"[\x7f-\x9f]")
"""Control characters that JSON lets stand for themselves (https://www.rfc-editor.org/rfc/rfc8259#section-7); 9b is a CSI."""
DEEPEST = 64
"""Objects and lists within each other; a pod has a dozen."""


class TooDeep(ValueError):
    """JSON that is deeper than DEEPEST."""


def plain(text: str) -> str:
    """A text as a terminal may be shown it: without control characters, but with its lines and tabs."""
    return CONTROL.sub("", text)


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON without any control character."""
    return UNESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, indent=indent, ensure_ascii=False))


def read_json(text: str | bytes) -> Any:
    """A value from JSON. Raises ValueError for what is none, and TooDeep for what is deeper than DEEPEST: a stack is not."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise TooDeep("it is too deep") from None
    if not is_shallow(value):
        raise TooDeep("it is too deep")
    return value


def is_shallow(value: Any) -> bool:
    """Whether a value of JSON is at most DEEPEST deep. Looks at one level after the other, and so never goes deep itself."""
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = [list(item.values()) if isinstance(item, Mapping) else item for item in level if isinstance(item, Mapping | list)]
        level = [item for items in inner for item in items]
        if not level:
            return True
    return False
