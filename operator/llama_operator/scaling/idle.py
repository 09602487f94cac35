"""Since when no request came.

The replicas say themselves when a request last came or went, so nothing need be remembered of them: an operator that was away, or blind,
asks and knows, and neither forgets idle time nor invents any. Remembered is only the latest moment that was ever told, for a replica that
went took its own with it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from llama_operator.scaling.sane import number
from llama_operator.scaling.signals import Load

UNKNOWN = "the last replica stays: not every replica says when a request last came; those that an earlier operator made do when replaced"


def idle_since(memory: object, load: Load, now: float) -> float | None:
    """Seconds since 1970, whole; None while requests run or are held, or where it cannot be seen."""
    if load.total or load.last_request is None or not load.holder_seen:
        return None
    kept = number(memory) or 0.0
    # A replica's clock that runs ahead must not keep it for ever, nor one of a status that somebody wrote.
    return min(float(math.ceil(max(kept, load.last_request))), float(math.ceil(now)))


def clock(moment: float) -> str:
    """The moment for a message that stays the same while nothing happens: 14:13:20Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%SZ")
