"""What the agent knows at one moment, and what it says of it: the status, the readiness, the metrics. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llama_serving.agent.settings import Role
from llama_serving.status import PHASES, EngineState, Phase, Progress, RootCause, human_bytes

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that the agent's answers are made of. Times are seconds since the epoch."""

    role: Role
    rank: int
    pod: str
    versions: Mapping[str, str | None]
    now: float
    agent_phase: Phase = "Starting"  # Starting, Downloading, Draining or Failed: what the agent itself is doing
    agent_since: float = 0.0
    message: str = ""
    root_cause: RootCause | None = None
    download: Progress | None = None
    load: Progress | None = None
    weight_bytes: int | None = None
    memory_bytes: int | None = None
    engine: EngineState | None = None
    engine_alive: bool = False
    ray_joined: bool = False
    node_id: str | None = None
    proxy_ok: bool = False
    gcs_ok: bool = False
    dashboard_ok: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


def phase_of(snap: Snapshot) -> tuple[Phase, float]:
    """The pod's phase and since when.

    A failure is final until the operator replaces the gang, so it outranks a drain; otherwise the agent's own doings come before
    Ray has joined, and the engine's after.
    """
    if snap.root_cause is not None:
        return "Failed", snap.agent_since
    if snap.engine is not None and snap.engine.phase == "Failed":
        return "Failed", snap.engine.since
    if snap.agent_phase in ("Draining", "Downloading"):
        return snap.agent_phase, snap.agent_since
    if snap.role == "head":
        ready = snap.gcs_ok and snap.dashboard_ok and snap.proxy_ok
        return ("Ready" if ready else "Starting"), snap.agent_since
    if snap.rank > 0:
        return _follower_phase(snap)
    if snap.engine is None or not snap.engine_alive:
        return "Starting", snap.agent_since
    return snap.engine.phase, snap.engine.since


def _follower_phase(snap: Snapshot) -> tuple[Phase, float]:
    """A rank without the Serve replica: ready as soon as Ray has joined, loading while weights go in."""
    if snap.load is not None and snap.load.done < snap.load.total:
        return "LoadingWeights", snap.agent_since
    return ("Ready" if snap.ray_joined else "Starting"), snap.agent_since


def cause_of(snap: Snapshot) -> RootCause | None:
    """The root cause of a failure, the agent's own before the engine's."""
    return snap.root_cause or (snap.engine.root_cause if snap.engine else None)


def status(snap: Snapshot) -> dict[str, Any]:
    """The body of `GET /status`."""
    phase, since = phase_of(snap)
    progress = {"Downloading": snap.download, "LoadingWeights": snap.load}.get(phase)
    cause = cause_of(snap)
    engine = snap.engine if snap.engine_alive else None
    return {
        "schemaVersion": SCHEMA_VERSION,
        "role": snap.role,
        "pod": snap.pod,
        "phase": phase,
        "since": since,
        "progress": progress.to_dict() if progress else None,
        "message": message_of(snap, phase, progress),
        "rootCause": asdict(cause) if cause else None,
        "ray": {"joined": snap.ray_joined, "nodeId": snap.node_id},
        "engine": {
            "pid": engine.pid,
            "startedAt": engine.started_at,
            "kvCacheTokens": engine.kv_cache_tokens,
            "inFlight": engine.in_flight,
        }
        if engine
        else None,
        "weightBytesPerRank": snap.weight_bytes,
        "memoryBytesPerRank": snap.memory_bytes,
        "versions": dict(snap.versions),
    }


def message_of(snap: Snapshot, phase: Phase, progress: Progress | None) -> str:
    """One line for a person."""
    if cause := cause_of(snap):
        return cause.message
    if phase == "Downloading" and progress:
        return f"downloading the model: {progress.percent:.0f} % of {human_bytes(progress.total)}"
    if phase == "LoadingWeights" and progress:
        return f"loading weights: {progress.percent:.0f} % of {human_bytes(progress.total)}"
    if phase == "LoadingWeights":
        return "the engine starts; no weights read yet"
    if phase == "WarmingUp":
        return "the weights are in; waiting for the first token"
    if phase == "Ready":
        return "serving" if snap.rank == 0 and snap.role == "replica" else "ready"
    return snap.message


def readiness(snap: Snapshot) -> tuple[bool, str]:
    """Whether traffic may come here, and if not, why: in the order in which the parts come up."""
    phase, _ = phase_of(snap)
    if cause := cause_of(snap):
        return False, f"{cause.reason}: {cause.message}"
    if phase == "Draining":
        return False, "draining"
    if snap.role == "head":
        missing = [name for name, ok in (("GCS", snap.gcs_ok), ("dashboard", snap.dashboard_ok), ("proxy", snap.proxy_ok)) if not ok]
        return not missing, f"not answering: {', '.join(missing)}" if missing else "ready"
    if not snap.ray_joined:
        return False, snap.message or "Ray has not joined"
    if snap.rank > 0:
        return True, "ready"
    if phase != "Ready":
        return False, message_of(snap, phase, snap.load)
    return (True, "ready") if snap.proxy_ok else (False, "the pod's HTTP proxy does not answer yet")


def metrics(snap: Snapshot) -> str:
    """The agent's own metrics in Prometheus's text format."""
    phase, since = phase_of(snap)
    progress = snap.download if phase == "Downloading" else snap.load
    lines = ["# HELP llama_agent_phase The pod's phase: 1 for the present one.", "# TYPE llama_agent_phase gauge"]
    lines += [f'llama_agent_phase{{phase="{name}"}} {int(name == phase)}' for name in PHASES]
    numbers = [
        ("llama_agent_phase_seconds", "Seconds in the present phase.", max(0.0, snap.now - since)),
        ("llama_agent_ready", "Whether the pod is ready for traffic.", int(readiness(snap)[0])),
        ("llama_agent_ray_joined", "Whether the pod's Ray node is in the cluster.", int(snap.ray_joined)),
        (
            "llama_agent_requests_in_flight",
            "Requests in this pod's replica.",
            snap.engine.in_flight if snap.engine and snap.engine_alive else 0,
        ),
    ]
    if progress:
        numbers.append(
            ("llama_agent_progress_ratio", "Share of the download or of the weights that is in, 0 to 1.", progress.percent / 100)
        )
    for name, text, value in numbers:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value}"]
    return "\n".join(lines) + "\n"
