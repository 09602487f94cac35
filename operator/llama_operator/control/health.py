"""What the operator says of itself at /readyz and /healthz.

starts            not ready      healthy
stands by, leads  ready          healthy
cannot begin      not ready      healthy: the API server refuses what a leader begins with, and a restart would not change that
led, does not     ready          not healthy: it has a few seconds to end, and the kubelet ends one that hangs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class Health:
    """How far the process has come. `held` says whether it holds the Lease now."""

    held: Callable[[], bool]
    standby: bool = False
    led: bool = False
    trouble: str = ""
    """Why leading cannot begin yet."""

    def ready(self) -> Mapping[str, Any] | None:
        """None once it can be the next to lead, else what it waits for."""
        if self.trouble:
            return {"status": f"leading cannot begin: {self.trouble}"}
        return None if self.standby else {"status": "starting"}

    def healthy(self) -> Mapping[str, Any] | None:
        """None unless it led and does not any more."""
        return {"status": "the Lease is lost and the process has not ended"} if self.led and not self.held() else None
