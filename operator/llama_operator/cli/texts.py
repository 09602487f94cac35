"""Texts of a cluster or an endpoint, whoever wrote them, written so that they move no terminal. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
"""What a text could move a terminal's cursor, title or clipboard with: CSI and OSC sequences (ECMA-48) and control characters."""
UNESCAPED = re.compile(r"[\x7f-\x9f]")
"""Control characters that JSON lets stand for themselves (https://www.rfc-editor.org/rfc/rfc8259#section-7); 9b is a CSI."""


def plain(text: str) -> str:
    """A text as a terminal may be shown it: without control characters, but with its lines and tabs."""
    return CONTROL.sub("", text)


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON without any control character."""
    return UNESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, indent=indent, ensure_ascii=False))
