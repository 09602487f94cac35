"""What a serving pod is told: one frozen value, written as JSON by the operator and read by the agent, the app and the engines.

Standard library only. This is the one module of `llama_serving` that the operator imports, so that both sides share one definition
and neither drags the other's dependencies along.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

EngineType = Literal["vllm", "simulated"]

APP_NAME = "llama"
GANG_RESOURCE = "llama_gang"
AGENT_PORT = 8090
HTTP_PORT = 8000
METRICS_PORT = 8080
GCS_PORT = 6379
DASHBOARD_PORT = 8265

MODELS_DIR = "/models"
PVC_MOUNT = f"{MODELS_DIR}/pvc"
HUB_DIR = f"{MODELS_DIR}/hf"
CODE_DIR = "/opt/llama/serving"
RUN_DIR = "/run/llama"


class ConfigError(ValueError):
    """LLAMA_CONFIG cannot be read. The message names the field, what was given and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """One revision of one LlamaDeployment, as its pods see it.

    `world` GPUs hold one copy of the model: `tensor_parallel * pipeline_parallel`. `gpus_per_pod` of them lie in each pod of the gang;
    0 means that the engine runs on the CPU, where the whole world lies in one pod.
    """

    deployment: str
    namespace: str
    revision: str
    source: str
    served_name: str
    model_revision: str | None = None
    engine: EngineType = "vllm"
    engine_args: dict[str, Any] = field(default_factory=dict)
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    gpus_per_pod: int = 0
    max_model_len: int | None = None
    kv_cache_dtype: str = "auto"
    drain_seconds: int = 120

    @property
    def world(self) -> int:
        """Ranks of one replica."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def model_id(self) -> str:
        """The served name, fit for a Serve deployment's name and a metric label."""
        return re.sub(r"[^A-Za-z0-9._-]", "--", self.served_name)

    @property
    def serve_deployment(self) -> str:
        """The Serve deployment that is scaled."""
        return f"LLMServer:{self.model_id}"

    @property
    def pods_per_gang(self) -> int:
        """Pods of one gang: 1 on the CPU, else the world divided by the GPUs of a pod."""
        return 1 if self.gpus_per_pod == 0 else -(-self.world // self.gpus_per_pod)

    def model_path(self) -> str:
        """Where the model lies in the pod, whatever its source.

        Raises ConfigError for a source that is none of `file://`, `pvc://`, `hf://`.
        """
        url = urlsplit(self.source)
        if url.scheme == "file":
            return url.path
        if url.scheme == "pvc":
            return f"{PVC_MOUNT}/{url.path.lstrip('/')}".rstrip("/")
        if url.scheme == "hf":
            repo = (url.netloc + url.path).strip("/").replace("/", "--")
            return f"{HUB_DIR}/{repo}/{self.model_revision or 'main'}"
        raise ConfigError(f"source: {self.source!r} is not a file://, pvc:// or hf:// URL")

    def to_json(self) -> str:
        """The JSON of LLAMA_CONFIG: keys sorted, so that equal values give equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ServingConfig:
        """Read what `to_json` wrote.

        Raises ConfigError naming the field when the text is not such a value.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"LLAMA_CONFIG is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise ConfigError(f"LLAMA_CONFIG must be a JSON object, not {type(raw).__name__}")
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(raw) - known):
            raise ConfigError(f"LLAMA_CONFIG: unknown fields {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        try:
            return cls(**raw)
        except TypeError as error:
            raise ConfigError(f"LLAMA_CONFIG: {error}") from error
