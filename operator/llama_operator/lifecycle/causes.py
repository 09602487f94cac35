"""What a pod's agent, or its Serve, says in words of its own. What runs in a pod is its tenant's and may say anything, at any length."""

from __future__ import annotations

import re

KNOWN_CAUSES = frozenset(
    {
        *("ModelNotFound", "ModelUnreadable", "DiskFull", "NotLlama", "CheckpointTruncated", "ShapeNotDivisible"),
        *("HubUnauthorized", "HubNotFound", "HubRateLimited", "HubUnreachable"),
        *("OutOfMemory", "EngineFailed", "RayFailed", "VersionUnsupported", "PodLost"),
    }
)
"""Root causes of docs/contracts.md. All else is `Other`, so that labels stay few, and a condition's reason is one of ours."""
OTHER = "Other"
WORDS_LIMIT = 600
"""Characters of a message: as many as our own agent gives."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def bounded(cause: str) -> str:
    """A root cause as a reason, or a label's value."""
    return cause if cause in KNOWN_CAUSES else OTHER


def words(text: str) -> str:
    """A message of at most WORDS_LIMIT characters, without those that move a terminal."""
    plain = CONTROL.sub("", text)
    return plain if len(plain) <= WORDS_LIMIT else f"{plain[: WORDS_LIMIT - 1]}…"
