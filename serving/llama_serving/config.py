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

# Seconds: the bounds of vLLM 0.29.0's time to first token (vllm/v1/metrics/loggers.py).
FIRST_TOKEN_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)


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
    tracing_endpoint: str | None = None

    @property
    def traces_url(self) -> str | None:
        """Where spans are sent, over OTLP/HTTP; None where no traces are wanted.

        An endpoint without a path is a collector's base URL, below which traces have this path
        (https://opentelemetry.io/docs/specs/otlp/#otlphttp-request).
        """
        endpoint = self.tracing_endpoint
        if not endpoint:
            return None
        return endpoint if urlsplit(endpoint).path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"

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
        values = asdict(self)
        if self.tracing_endpoint is None:
            del values["tracing_endpoint"]  # what is rendered for an object without it stays as it was before there was such a field
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

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


class ShapeError(ValueError):
    """A config.json that is not a Llama's. The message names the field, what was given and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a Llama that decide how it can be split, as its config.json gives them."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    max_positions: int | None = None
    tied: bool = False

    @property
    def parameters(self) -> int:
        """Weights of the whole model: embeddings, output head unless tied, and per layer attention, MLP and two norms."""
        attention = self.hidden * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden

    @classmethod
    def from_config(cls, config: object) -> ModelShape:
        """Read a parsed config.json.

        Raises ShapeError where it is not one of a `LlamaForCausalLM`, or a size is missing or not a positive whole number.
        """
        if not isinstance(config, dict):
            raise ShapeError(f"config.json holds {type(config).__name__}, not an object")
        architectures = config.get("architectures")
        if architectures != ["LlamaForCausalLM"]:
            raise ShapeError(f'config.json: architectures is {json.dumps(architectures)[:200]}; allowed is ["LlamaForCausalLM"]')
        heads, hidden = _size(config, "num_attention_heads"), _size(config, "hidden_size")
        if config.get("head_dim") is None and hidden % heads:
            raise ShapeError(
                f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}, and head_dim is not given"
            )
        return cls(
            layers=_size(config, "num_hidden_layers"),
            hidden=hidden,
            intermediate=_size(config, "intermediate_size"),
            heads=heads,
            kv_heads=_size(config, "num_key_value_heads", heads),
            head_size=_size(config, "head_dim", hidden // heads),
            vocabulary=_size(config, "vocab_size"),
            max_positions=_max_positions(config),
            tied=config.get("tie_word_embeddings") is True,
        )

    def allows_tensor(self, tensor: int) -> bool:
        """Whether vLLM can split every layer over so many ranks: whole query heads, KV heads split or copied evenly, even MLP slices.

        As the constructors of `LlamaAttention` and of the parallel linear layers assert it in vLLM 0.29.0.
        """
        kv_even = self.kv_heads % tensor == 0 if self.kv_heads >= tensor else tensor % self.kv_heads == 0
        return self.heads % tensor == 0 and kv_even and self.intermediate % tensor == 0

    def splits(self, limit: int = 64) -> list[int]:
        """Every tensor parallelism up to `limit` that the model allows."""
        return [tensor for tensor in range(1, limit + 1) if self.allows_tensor(tensor)]


SIZE_MAX = 2**31 - 1
"""Largest size believed in a config.json; the largest real one, 405B's MLP, is 53,248."""


def _size(config: dict[str, Any], name: str, default: int | None = None) -> int:
    value = config.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= SIZE_MAX:
        raise ShapeError(f"config.json: {name} is {json.dumps(value, default=str)[:200]}; allowed is a whole number from 1 to {SIZE_MAX}")
    return value


def _max_positions(config: dict[str, Any]) -> int | None:
    """The longest sequence, or None where it is not given or where a rope type other than Llama 3's stretches it."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = (rope.get("rope_type") or rope.get("type")) if isinstance(rope, dict) else "unknown"
    given = config.get("max_position_embeddings")
    return _size(config, "max_position_embeddings") if given is not None and kind in {None, "default", "llama3"} else None
