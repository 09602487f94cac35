"""The wall clock."""

from __future__ import annotations

import time


class SystemClock:
    """Implements Clock."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()
