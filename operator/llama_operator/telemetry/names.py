"""The metrics that the autoscaler reads, as Prometheus has them after scraping a Ray pod. Seen with Ray 2.60.0 and vLLM 0.29.0.

Labels that say whose series it is come from the scrape, not from the pod: see docs/contracts.md.
"""

from __future__ import annotations

LABEL_NAMESPACE = "namespace"
LABEL_POD = "pod"
LABEL_DEPLOYMENT = "llama_operator_dev_deployment"
LABEL_REVISION = "llama_operator_dev_revision"

REQUESTS_IN_FLIGHT = "ray_llama_requests_in_flight"
"""Gauge, requests: in a replica, counted by our server class from the moment the replica exists."""
SERVE_PROCESSING = "ray_serve_replica_processing_queries"
"""Gauge, requests: in a replica, as Serve counts them, those of the direct path included. There once the replica is up."""
VLLM_RUNNING = "ray_vllm_num_requests_running"
"""Gauge, requests: in the engine's batch. Absent on a fresh replica, and again when the engine is idle: it is written only with a step."""
VLLM_WAITING = "ray_vllm_num_requests_waiting"
"""Gauge, requests: in the engine's queue. Absent when VLLM_RUNNING is."""
LAST_REQUEST = "ray_llama_last_request_timestamp_seconds"
"""Gauge, seconds since 1970: when a request last came to a replica or left it; the start of the engine's server before the first."""
SERVE_QUEUED = "ray_serve_deployment_queued_queries"
"""Gauge, requests, for each proxy's or router's handle: held because no replica runs. Sum them. There, and 0, while nothing is held."""

VLLM_PROMPT_TOKENS = "ray_vllm_prompt_tokens_total"
"""Counter, tokens: of prompts that were computed."""
VLLM_OUTPUT_TOKENS = "ray_vllm_generation_tokens_total"
"""Counter, tokens: generated."""
VLLM_FINISHED = "ray_vllm_request_success_total"
"""Counter, requests: answered whole, for each reason to end. Sum them."""
VLLM_KV_USE = "ray_vllm_kv_cache_usage_perc"
"""Gauge, share from 0 to 1 (whatever its name says): of the KV cache that is in use."""

VLLM_FIRST_TOKEN = "ray_vllm_time_to_first_token_seconds_bucket"  # noqa: S105 - a metric's name
"""Histogram, requests: whose first token came within `le` seconds (`vllm:time_to_first_token_seconds` in vllm/v1/metrics/loggers.py)."""
LABEL_BOUND = "le"

SERVE_IN_FLIGHT = (REQUESTS_IN_FLIGHT, SERVE_PROCESSING)
ENGINE_IN_FLIGHT = (VLLM_RUNNING, VLLM_WAITING)
REPLICA_FAMILIES = (*SERVE_IN_FLIGHT, *ENGINE_IN_FLIGHT)
HELD_FAMILIES = (SERVE_QUEUED,)
WORK_FAMILIES = (VLLM_PROMPT_TOKENS, VLLM_OUTPUT_TOKENS, VLLM_FINISHED, VLLM_KV_USE)
AUTOSCALING_FAMILIES = (*REPLICA_FAMILIES, *HELD_FAMILIES, *WORK_FAMILIES)
MEANINGS = {
    VLLM_PROMPT_TOKENS: "number of tokens",
    VLLM_OUTPUT_TOKENS: "number of tokens",
    VLLM_KV_USE: "share of a cache",
    LAST_REQUEST: "moment",
}
"""What a value of these families is; of all others it is a number of requests."""


SERVER_DEPLOYMENTS = "LLMServer:.*"
"""The Serve deployments that hold engines. `LLMRouter` exports Serve's families too; a request in it is counted in its engine."""


def selector(namespace: str, deployment: str, lookback_seconds: int, *, first_tokens: bool = False, zero: bool = False) -> str:
    """The PromQL range selector of everything that the autoscaler reads about one deployment.

    The trailing `|` lets series without a Serve deployment pass: vLLM's have none. Kubernetes names hold no character that PromQL would
    have to escape; the API server refuses others before they come here. A histogram is many series: it is asked for where it is needed.
    """
    families = "|".join((*AUTOSCALING_FAMILIES, *((VLLM_FIRST_TOKEN,) if first_tokens else ()), *((LAST_REQUEST,) if zero else ())))
    labels = f'{LABEL_NAMESPACE}="{namespace}",{LABEL_DEPLOYMENT}="{deployment}",deployment=~"{SERVER_DEPLOYMENTS}|"'
    return f'{{__name__=~"{families}",{labels}}}[{lookback_seconds}s]'


TRAFFIC_FAMILIES = (VLLM_FINISHED, VLLM_PROMPT_TOKENS, VLLM_OUTPUT_TOKENS)
"""What says how much was asked in the past."""


def rise_query(family: str, namespace: str, deployment: str, step_seconds: int) -> str:
    """What a counter of one deployment rose by within a step, over all pods. Vanished pods count; a step without samples has no value."""
    return f'sum(increase({family}{{{LABEL_NAMESPACE}="{namespace}",{LABEL_DEPLOYMENT}="{deployment}"}}[{step_seconds}s]))'


TARGET_LABELS = (LABEL_NAMESPACE, LABEL_POD, LABEL_DEPLOYMENT, LABEL_REVISION, "llama_operator_dev_component")
"""What the scrape adds to every series of a serving pod."""

VLLM_TTFT = "ray_vllm_time_to_first_token_seconds"
VLLM_ITL = "ray_vllm_inter_token_latency_seconds"
VLLM_E2E = "ray_vllm_e2e_request_latency_seconds"
VLLM_QUEUE_TIME = "ray_vllm_request_queue_time_seconds"
VLLM_PREFILL_TIME = "ray_vllm_request_prefill_time_seconds"
VLLM_DECODE_TIME = "ray_vllm_request_decode_time_seconds"
VLLM_PROMPT_LENGTH = "ray_vllm_request_prompt_tokens"
VLLM_OUTPUT_LENGTH = "ray_vllm_request_generation_tokens"
VLLM_PREEMPTIONS = "ray_vllm_num_preemptions_total"
VLLM_PREFIX_QUERIES = "ray_vllm_prefix_cache_queries_total"
VLLM_PREFIX_HITS = "ray_vllm_prefix_cache_hits_total"

HTTP_REQUESTS = "ray_serve_num_http_requests_total"
HTTP_ONGOING = "ray_serve_num_ongoing_http_requests"
SERVE_REQUESTS = "ray_serve_deployment_request_counter_total"
SERVE_REPLICA_HEALTHY = "ray_serve_deployment_replica_healthy"
SERVE_REPLICA_STARTS = "ray_serve_deployment_replica_starts_total"
