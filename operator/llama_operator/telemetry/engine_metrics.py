"""The metrics of the serving pods: Ray Serve's, vLLM's through Ray, our server class's, and the agent's.

Prometheus scrapes Ray's port alone (docs/contracts.md); the agent's metrics are read by the operator's eyes and by hand.
Bucket bounds are those of vLLM 0.29.0, `vllm/v1/metrics/loggers.py` (https://github.com/vllm-project/vllm); the contract test compares them
with what an engine exports.
"""

from __future__ import annotations

from llama_operator.telemetry import names
from llama_operator.telemetry.metric import Kind, Metric

RAY, VLLM, OWN = "ray 2.60.0", "vllm 0.29.0 under ray 2.60.0", "llama-operator 0.1.0"

RAY_LABELS = (
    "Component",
    "NodeAddress",
    "SessionName",
    "Version",
    "WorkerId",
    "otel_scope_name",
    "otel_scope_schema_url",
    "otel_scope_version",
)
"""What Ray puts on every series, none of which a query uses."""

_ENGINE = ("model_name", "engine", "ReplicaId")
_HTTP = ("application", "route", "method", "status_code")

TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
ITL_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
LATENCY_BUCKETS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)


def _vllm(name: str, kind: Kind, unit: str, meaning: str, *labels: str, buckets: tuple[float, ...] = (), optional: str = "") -> Metric:
    return Metric(
        name=name,
        kind=kind,
        unit=unit,
        labels=(*_ENGINE, *labels),
        meaning=meaning,
        source="vllm",
        seen=VLLM,
        buckets=buckets,
        optional=optional,
    )


def _serve(name: str, kind: Kind, unit: str, labels: tuple[str, ...], meaning: str, optional: str = "") -> Metric:
    return Metric(name=name, kind=kind, unit=unit, labels=labels, meaning=meaning, source="serve", seen=RAY, optional=optional)


def _agent(name: str, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind="gauge", unit=unit, labels=labels, meaning=meaning, source="agent", seen=OWN)


_IDLE = "Ray drops a gauge that is not set again: vLLM writes it only with a step, so that it is gone while the engine is idle"

SERVER = (
    Metric(
        name=names.REQUESTS_IN_FLIGHT,
        kind="gauge",
        unit="requests",
        labels=("application", "deployment", "replica"),
        meaning="requests in a replica, running and queued, from their first byte to their last; there from the replica's first moment",
        source="server",
        seen=OWN,
    ),
    Metric(
        name=names.LAST_REQUEST,
        kind="gauge",
        unit="seconds",
        labels=("application", "deployment", "replica"),
        meaning="when a request last came to a replica or left it, in seconds since 1970; before the first the start of its server",
        source="server",
        seen=OWN,
    ),
)

SERVE = (
    _serve(
        names.SERVE_PROCESSING,
        "gauge",
        "requests",
        ("application", "deployment", "replica"),
        "requests in a replica, as Serve counts them",
    ),
    _serve(
        names.SERVE_QUEUED,
        "gauge",
        "requests",
        ("application", "deployment", "handle", "actor_id"),
        "requests held by a proxy because no replica runs; one series a handle: sum them",
    ),
    _serve(
        names.HTTP_REQUESTS,
        "counter",
        "requests",
        _HTTP,
        "requests that a pod's proxy ended, by status code; 499 where the client went away. A stream that broke after its first byte "
        "counts by the code that it began with",
    ),
    _serve(names.HTTP_ONGOING, "gauge", "requests", ("node_id", "node_ip_address"), "requests open at a pod's proxy"),
    _serve(
        names.SERVE_REQUESTS,
        "counter",
        "requests",
        ("application", "deployment", "replica", "route"),
        "requests that a replica ended",
    ),
    _serve(
        names.SERVE_REPLICA_HEALTHY,
        "gauge",
        "info",
        ("application", "deployment", "replica"),
        "1 where Serve's last health check of a replica went well; exported by the controller, at the head",
    ),
    _serve(
        names.SERVE_REPLICA_STARTS,
        "counter",
        "starts",
        ("application", "deployment", "replica"),
        "starts of a replica's process",
    ),
)

VLLM_METRICS = (
    _vllm(names.VLLM_RUNNING, "gauge", "requests", "requests in the engine's batch", optional=_IDLE),
    _vllm(names.VLLM_WAITING, "gauge", "requests", "requests in the engine's queue", optional=_IDLE),
    _vllm(names.VLLM_KV_USE, "gauge", "ratio", "share of the KV cache in use, 0 to 1 whatever the name says", optional=_IDLE),
    _vllm(names.VLLM_PROMPT_TOKENS, "counter", "tokens", "tokens of prompts that were computed"),
    _vllm(names.VLLM_OUTPUT_TOKENS, "counter", "tokens", "tokens generated"),
    _vllm(names.VLLM_FINISHED, "counter", "requests", "requests ended, by reason: stop, length, abort, error", "finished_reason"),
    _vllm(names.VLLM_TTFT, "histogram", "seconds", "from a request's arrival in the engine to its first token", buckets=TTFT_BUCKETS),
    _vllm(names.VLLM_ITL, "histogram", "seconds", "between two tokens of one stream", buckets=ITL_BUCKETS),
    _vllm(names.VLLM_E2E, "histogram", "seconds", "from a request's arrival in the engine to its last token", buckets=LATENCY_BUCKETS),
    _vllm(names.VLLM_QUEUE_TIME, "histogram", "seconds", "a request's wait for a place in the batch", buckets=LATENCY_BUCKETS),
    _vllm(names.VLLM_PREFILL_TIME, "histogram", "seconds", "a request's time in prefill", buckets=LATENCY_BUCKETS),
    _vllm(names.VLLM_DECODE_TIME, "histogram", "seconds", "a request's time in decode", buckets=LATENCY_BUCKETS),
    _vllm(names.VLLM_PROMPT_LENGTH, "histogram", "tokens", "prompt tokens of a request; the bounds follow the longest context"),
    _vllm(names.VLLM_OUTPUT_LENGTH, "histogram", "tokens", "generated tokens of a request; the bounds follow the longest context"),
    _vllm(
        names.VLLM_PREEMPTIONS,
        "counter",
        "requests",
        "requests thrown out of the batch for want of KV cache, to be computed again",
        optional="a counter appears with its first event",
    ),
    _vllm(names.VLLM_PREFIX_QUERIES, "counter", "tokens", "prompt tokens looked up in the prefix cache"),
    _vllm(
        names.VLLM_PREFIX_HITS,
        "counter",
        "tokens",
        "prompt tokens found in the prefix cache",
        optional="a counter appears with its first event",
    ),
)

AGENT = (
    _agent("llama_agent_phase", "info", "1 for the pod's present phase", "phase"),
    _agent("llama_agent_phase_seconds", "seconds", "time in the present phase"),
    _agent("llama_agent_ready", "info", "1 where the pod is ready for traffic"),
    _agent("llama_agent_ray_joined", "info", "1 where the pod's Ray node is in the cluster"),
    _agent("llama_agent_requests_in_flight", "requests", "requests in this pod's replica"),
    _agent("llama_agent_progress_ratio", "ratio", "share of the download or of the weights that is in"),
)

SIMULATED = (
    *(names.VLLM_RUNNING, names.VLLM_WAITING, names.VLLM_KV_USE, names.VLLM_PROMPT_TOKENS, names.VLLM_OUTPUT_TOKENS, names.VLLM_FINISHED),
    *(names.VLLM_TTFT, names.VLLM_ITL, names.VLLM_E2E, names.VLLM_QUEUE_TIME, names.VLLM_PREFILL_TIME, names.VLLM_DECODE_TIME),
)
"""What the simulated engine exports of vLLM's families."""
