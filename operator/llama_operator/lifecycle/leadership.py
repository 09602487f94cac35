"""Who may write: the rules of the Lease, without a clock of their own.

Another holder's Lease counts as alive for its duration after we last saw it *change*, by our own monotonic clock. The times inside the
Lease are never compared with our clock: nodes' clocks differ and jump. We ourselves stop writing when the last renewal that the API
server confirmed was begun longer ago than the duration less a margin: a process that was frozen finds itself out of time before its next
write, while a standby waits the whole duration. So at no time do two write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What we last saw of the Lease. `changed_at` is monotonic seconds."""

    holder: str = ""
    version: str = ""
    changed_at: float = 0.0
    duration: float = 15.0

    def seen(self, lease: Mapping[str, Any], now: float) -> Observation:
        """The observation after reading the Lease at monotonic `now`."""
        version = lease["metadata"].get("resourceVersion", "")
        spec = lease.get("spec") or {}
        if version == self.version:
            return self
        duration = float(spec.get("leaseDurationSeconds") or self.duration)
        return replace(self, holder=spec.get("holderIdentity") or "", version=version, changed_at=now, duration=duration)


def may_take(observation: Observation, identity: str, now: float) -> bool:
    """The Lease is free, ours, or its holder has not renewed it for its whole duration."""
    return observation.holder in ("", identity) or now - observation.changed_at >= observation.duration


def may_write(renewed_at: float | None, duration: float, margin: float, now: float) -> bool:
    """Our last confirmed renewal, begun at monotonic `renewed_at`, is young enough."""
    return renewed_at is not None and now - renewed_at < duration - margin
