"""Waiting, always on a condition and always with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from .errors import NotReady

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T | None], *, seconds: float, every: float = 0.1, hint: str = "") -> T:
    """Poll `condition` until it gives something true, and return that.

    Raises:
        NotReady: it gave nothing true for `seconds`. The message names what was waited for, and `hint` says where to look.

    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise NotReady(f"{what}: not so after {seconds:g} s" + (f". {hint}" if hint else ""))
        time.sleep(every)  # noqa: TID251 - the pause between two looks at the condition; the deadline is above
