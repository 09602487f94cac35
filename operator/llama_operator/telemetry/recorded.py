"""The series that our recording rules make: `llama:what:how`. Labels of all: `namespace` and `llama_operator_dev_deployment`.

Dashboards and alerts use these where the raw query would be slow, and for all of the operator's metrics: their namespace is the
LlamaDeployment's here, not that of the operator's pod. `rules/recording.py` holds the expressions; a test compares the two.
"""

from __future__ import annotations

from llama_operator.telemetry import names
from llama_operator.telemetry.metric import Metric

GROUPED = (names.LABEL_NAMESPACE, names.LABEL_DEPLOYMENT)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Of the burn rates (https://sre.google/workbook/alerting-on-slos/, "Multiwindow, Multi-Burn-Rate Alerts")."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _recorded(name: str, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(
        name=name,
        kind="gauge",
        unit=unit,
        labels=(*GROUPED, *labels),
        meaning=meaning,
        source="recorded",
        seen="llama-operator 0.1.0",
        optional="made by our rules",
    )


IN_FLIGHT = _recorded("llama:requests_in_flight", "requests", "requests in all replicas, running and queued")
HELD = _recorded("llama:requests_held", "requests", "requests held by the proxies because no replica runs")
RUNNING = _recorded("llama:requests_running", "requests", "requests in the batches")
WAITING = _recorded("llama:requests_waiting", "requests", "requests in the engines' queues")
REQUEST_RATE = _recorded("llama:requests:rate5m", "requests per second", "requests that ended, by status code", "status_code")
GENERATION_RATE = _recorded("llama:generation_tokens:rate5m", "tokens per second", "tokens generated")
PROMPT_RATE = _recorded("llama:prompt_tokens:rate5m", "tokens per second", "prompt tokens computed")
KV_USE_MAX = _recorded("llama:kv_cache_use:max", "ratio", "KV cache in use in the fullest replica")
KV_USE_AVG = _recorded("llama:kv_cache_use:avg", "ratio", "KV cache in use, average of the replicas")
PREFILL_SECONDS = _recorded("llama:prefill_seconds:rate5m", "seconds per second", "time that requests spent in prefill")
DECODE_SECONDS = _recorded("llama:decode_seconds:rate5m", "seconds per second", "time that requests spent in decode")

TTFT_QUANTILES = {
    short: _recorded(f"llama:time_to_first_token_seconds:{short}_5m", "seconds", f"time to first token, {short} of five minutes")
    for short in QUANTILES
}
ITL_QUANTILES = {
    short: _recorded(f"llama:inter_token_latency_seconds:{short}_5m", "seconds", f"time between tokens, {short} of five minutes")
    for short in QUANTILES
}

TTFT_ERRORS = {
    window: _recorded(
        f"llama:time_to_first_token_misses:ratio_rate{window}", "ratio", f"share of requests later than the objective, {window}"
    )
    for window in WINDOWS
}
ITL_ERRORS = {
    window: _recorded(f"llama:inter_token_misses:ratio_rate{window}", "ratio", f"share of tokens later than the objective, {window}")
    for window in WINDOWS
}
SUCCESS_ERRORS = {
    window: _recorded(f"llama:failures:ratio_rate{window}", "ratio", f"share of requests that ended with a 5xx status, {window}")
    for window in WINDOWS
}

STATE = _recorded(
    "llama:state", "info", "1, with the phase and the reason of each condition",
    *("phase", "accepted", "available", "progressing", "scaling", "metrics", "degraded"),
)  # fmt: skip
INFO = _recorded("llama:info", "info", "1, with what runs", "revision", "accelerator", "engine", "model")
DESIRED = _recorded("llama:desired_replicas", "replicas", "replicas wanted")
READY = _recorded("llama:ready_replicas", "replicas", "replicas that serve")
MINIMUM = _recorded("llama:min_replicas", "replicas", "fewest replicas, where autoscaling is on")
MAXIMUM = _recorded("llama:max_replicas", "replicas", "most replicas, where autoscaling is on")
GPUS_HELD = _recorded("llama:gpus", "GPUs", "GPUs of the replicas that serve")
OBJECTIVE_RATIO = _recorded("llama:objective_ratio", "ratio", "share that must be good", "objective")
OBJECTIVE_SECONDS = _recorded("llama:objective_seconds", "seconds", "the latency objective", "objective")
PLAN_RATIO = _recorded("llama:plan_ratio", "ratio", "observed divided by planned", "quantity")
VOTES = _recorded("llama:autoscaler_vote_replicas", "replicas", "what each signal asks for", "signal")
EXPECTED = _recorded("llama:autoscaler_expected_replicas", "replicas", "what the forecast expects within one load time")
REPLICA_PHASE = _recorded(
    "llama:replica_phase_start_timestamp_seconds", "seconds", "when each replica's present phase began", "revision", "gang", "phase"
)
REPLICA_PROGRESS = _recorded("llama:replica_progress_ratio", "ratio", "share of the download or of the weights", "revision", "gang")
RESTARTS = _recorded("llama:restarts:increase30m", "restarts", "replicas that failed or were lost within 30 minutes", "cause")
STREAMS_CUT = _recorded("llama:streams_cut:increase30m", "requests", "requests cut within 30 minutes", "cause")
CANARY_TTFT = _recorded("llama:canary_time_to_first_token_seconds", "seconds", "time to first token from outside")

RECORDED = (
    *(
        IN_FLIGHT,
        HELD,
        RUNNING,
        WAITING,
        REQUEST_RATE,
        GENERATION_RATE,
        PROMPT_RATE,
        KV_USE_MAX,
        KV_USE_AVG,
        PREFILL_SECONDS,
        DECODE_SECONDS,
    ),
    *(*TTFT_QUANTILES.values(), *ITL_QUANTILES.values(), *TTFT_ERRORS.values(), *ITL_ERRORS.values(), *SUCCESS_ERRORS.values()),
    *(STATE, INFO, DESIRED, READY, MINIMUM, MAXIMUM, GPUS_HELD, OBJECTIVE_RATIO, OBJECTIVE_SECONDS, PLAN_RATIO, VOTES, EXPECTED),
    *(REPLICA_PHASE, REPLICA_PROGRESS, RESTARTS, STREAMS_CUT, CANARY_TTFT),
)
