"""What the agent is told by its environment, and the places that tests on a bare host put elsewhere.

| variable | in a pod | for |
|---|---|---|
| LLAMA_ROLE, LLAMA_CONFIG, LLAMA_GANG, LLAMA_RANK, LLAMA_HEAD, LLAMA_POD_NAME, LLAMA_POD_IP, LLAMA_RUN_DIR | see docs/contracts.md | |
| RAY_AUTH_TOKEN | the Ray token; also guards `POST /drain` | |
| LLAMA_AGENT_PORT, LLAMA_HTTP_PORT, LLAMA_METRICS_PORT, LLAMA_GCS_PORT, LLAMA_DASHBOARD_PORT | unset | several pods on one host |
| LLAMA_GCS_DIR | `/data/gcs` | where the head's RocksDB store lies; empty: no store |
| LLAMA_RAY_TEMP_DIR | `/tmp/ray` | Ray's session directories |
| LLAMA_RAY_ARGS | unset | further arguments of `ray start`, separated by blanks |
| LLAMA_HEAD_TIMEOUT_SECONDS | 900 | how long a replica waits for its head |
| LLAMA_ALLOW_UNTESTED_VERSIONS | unset | `1`: start with a Ray or vLLM that this package was not tested with |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llama_serving.config import AGENT_PORT, DASHBOARD_PORT, GCS_PORT, HTTP_PORT, METRICS_PORT, RUN_DIR, ConfigError, ServingConfig

Role = Literal["head", "replica"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One pod's part. `gang` and `rank` are 0 on a head; `head` is `host:port` of the GCS, empty on the head itself."""

    role: Role
    config: ServingConfig
    gang: int
    rank: int
    head: str
    pod_name: str
    pod_ip: str
    run_dir: Path
    token: str
    agent_port: int = AGENT_PORT
    http_port: int = HTTP_PORT
    metrics_port: int = METRICS_PORT
    gcs_port: int = GCS_PORT
    dashboard_port: int = DASHBOARD_PORT
    gcs_dir: str = "/data/gcs"
    ray_temp_dir: str = "/tmp/ray"  # noqa: S108 -- Ray's own default; an emptyDir in a pod
    ray_args: tuple[str, ...] = ()
    head_timeout_seconds: float = 900.0
    allow_untested_versions: bool = False

    @property
    def gcs_address(self) -> str:
        """`host:port` of the GCS, whatever the role."""
        return self.head or f"{self.pod_ip}:{self.gcs_port}"


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises ConfigError naming the variable, what was given and what is allowed."""
    role = environment.get("LLAMA_ROLE", "")
    if role not in ("head", "replica"):
        raise ConfigError(f"LLAMA_ROLE: {role!r} is neither head nor replica")
    if not (config := environment.get("LLAMA_CONFIG")):
        raise ConfigError("LLAMA_CONFIG: not set; the operator writes it")
    head = environment.get("LLAMA_HEAD", "")
    if role == "replica" and ":" not in head:
        raise ConfigError(f"LLAMA_HEAD: {head!r} is not host:port; a replica must know its head")
    return Settings(
        role="head" if role == "head" else "replica",
        config=ServingConfig.from_json(config),
        gang=_number(environment, "LLAMA_GANG", 0),
        rank=_number(environment, "LLAMA_RANK", 0),
        head=head if role == "replica" else "",
        pod_name=environment.get("LLAMA_POD_NAME", ""),
        pod_ip=environment.get("LLAMA_POD_IP", "127.0.0.1"),
        run_dir=Path(environment.get("LLAMA_RUN_DIR", RUN_DIR)),
        token=environment.get("RAY_AUTH_TOKEN", ""),
        agent_port=_number(environment, "LLAMA_AGENT_PORT", AGENT_PORT),
        http_port=_number(environment, "LLAMA_HTTP_PORT", HTTP_PORT),
        metrics_port=_number(environment, "LLAMA_METRICS_PORT", METRICS_PORT),
        gcs_port=_number(environment, "LLAMA_GCS_PORT", GCS_PORT),
        dashboard_port=_number(environment, "LLAMA_DASHBOARD_PORT", DASHBOARD_PORT),
        gcs_dir=environment.get("LLAMA_GCS_DIR", "/data/gcs"),
        ray_temp_dir=environment.get("LLAMA_RAY_TEMP_DIR", "/tmp/ray"),  # noqa: S108 -- see the field
        ray_args=tuple(environment.get("LLAMA_RAY_ARGS", "").split()),
        head_timeout_seconds=float(_number(environment, "LLAMA_HEAD_TIMEOUT_SECONDS", 900)),
        allow_untested_versions=environment.get("LLAMA_ALLOW_UNTESTED_VERSIONS") == "1",
    )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise ConfigError(f"{name}: {text!r} is not a whole number of at least 0")
    return int(text)
