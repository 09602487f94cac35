"""The phases of a serving pod and the values that travel between the engine, the agent and the operator.

Pure: no I/O, no clock. The names are those of docs/contracts.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Phase = Literal["Starting", "Downloading", "LoadingWeights", "WarmingUp", "Ready", "Draining", "Failed"]
PHASES: tuple[Phase, ...] = get_args(Phase)

Reason = Literal[
    "ModelNotFound",
    "ModelUnreadable",
    "DiskFull",
    "NotLlama",
    "CheckpointTruncated",
    "ShapeNotDivisible",
    "HubUnauthorized",
    "HubNotFound",
    "HubRateLimited",
    "HubUnreachable",
    "OutOfMemory",
    "EngineFailed",
    "RayFailed",
    "VersionUnsupported",
]


@dataclass(frozen=True, kw_only=True)
class RootCause:
    """Why a pod failed, in words. `retryable` says whether the same pod may succeed when it is made again."""

    reason: Reason
    message: str
    retryable: bool = True


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a download or a load is; `done` and `total` in bytes."""

    done: int
    total: int

    @property
    def percent(self) -> float:
        """0 to 100, one decimal; 0 when the total is not known."""
        return round(min(100.0, 100.0 * self.done / self.total), 1) if self.total > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The `progress` of the agent's status."""
        return {"percent": self.percent, "done": self.done, "total": self.total, "unit": "bytes"}


@dataclass(frozen=True, kw_only=True)
class EngineState:
    """What the Serve replica writes to `engine.json`; times are seconds since the epoch."""

    phase: Phase
    since: float
    pid: int
    started_at: float
    kv_cache_tokens: int | None = None
    in_flight: int = 0
    root_cause: RootCause | None = None

    def enter(self, phase: Phase, now: float, root_cause: RootCause | None = None) -> EngineState:
        """The state after a step to `phase`."""
        return replace(self, phase=phase, since=now, root_cause=root_cause)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `engine.json`."""
        return {
            "phase": self.phase,
            "since": self.since,
            "pid": self.pid,
            "startedAt": self.started_at,
            "kvCacheTokens": self.kv_cache_tokens,
            "inFlight": self.in_flight,
            "rootCause": asdict(self.root_cause) if self.root_cause else None,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> EngineState:
        """Read what `to_dict` wrote.

        Raises KeyError, TypeError or ValueError when the value is not such a state.
        """
        if raw["phase"] not in PHASES:
            raise ValueError(f"phase {raw['phase']!r} is none of {', '.join(PHASES)}")
        cause = raw.get("rootCause")
        return cls(
            phase=raw["phase"],
            since=float(raw["since"]),
            pid=int(raw["pid"]),
            started_at=float(raw["startedAt"]),
            kv_cache_tokens=raw.get("kvCacheTokens"),
            in_flight=int(raw.get("inFlight", 0)),
            root_cause=RootCause(**cause) if cause else None,
        )


def human_bytes(count: int) -> str:
    """A size in words, in powers of ten: 269 MB, 410.1 GB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
