"""The operator's own metrics.

Those of one LlamaDeployment carry its namespace and name under labels of their own, which no scrape can overwrite: the label `namespace` of
a scraped series is that of the operator's pod. Rules and dashboards turn them into the labels that the serving pods' series have
(`rules.expressions.operator`).

Bounded: outcomes, verbs, kinds, codes, reasons from fixed sets; per LlamaDeployment some twenty series and one or two for each replica.
What a user wrote (the model's name, the accelerator's) is a label's value in one info series only.
"""

from __future__ import annotations

from llama_operator.telemetry import names
from llama_operator.telemetry.metric import Kind, Metric

SEEN = "llama-operator 0.1.0"
LABEL_NAMESPACE = "llama_operator_dev_namespace"
OWNER = (LABEL_NAMESPACE, names.LABEL_DEPLOYMENT)

REPLICA = ("revision", "gang")

TTFT, ITL, SUCCESS = "time_to_first_token", "inter_token", "success"
"""Values of the label `objective`."""


def _metric(name: str, kind: Kind, unit: str, meaning: str, *labels: str, optional: str = "") -> Metric:
    return Metric(name=name, kind=kind, unit=unit, labels=labels, meaning=meaning, source="operator", seen=SEEN, optional=optional)


def _owned(name: str, kind: Kind, unit: str, meaning: str, *labels: str, optional: str = "") -> Metric:
    return _metric(name, kind, unit, meaning, *OWNER, *labels, optional=optional)


RECONCILE_DURATION = _metric("llama_operator_reconcile_duration_seconds", "histogram", "seconds", "time of a pass, by outcome", "outcome")
PASSES = _metric(
    "llama_operator_reconcile_passes_total",
    "counter",
    "passes",
    "passes over a LlamaDeployment: ok, error (the API server or a step failed), or fault (a mistake in the operator)",
    "outcome",
)
QUEUE_DEPTH = _metric("llama_operator_queue_depth", "gauge", "deployments", "LlamaDeployments that wait for a pass")
QUEUE_OLDEST = _metric(
    "llama_operator_queue_oldest_seconds", "gauge", "seconds", "how long the oldest of them has waited; 0 where none does"
)
WRITES = _metric("llama_operator_api_writes_total", "counter", "requests", "writes to the API server", "verb", "kind")
API_ERRORS = _metric(
    "llama_operator_api_errors_total",
    "counter",
    "requests",
    "requests that the API server refused (404 and 409 are answers, and not counted) or did not answer (code 0)",
    "method",
    "code",
)
LEADING = _metric("llama_operator_leading", "gauge", "info", "1 while this process holds the Lease, and has been given what it begins with")
DECISIONS = _metric("llama_operator_autoscaler_decisions_total", "counter", "decisions", "decisions of the autoscaler", "reason")
HOLDS = _metric(
    "llama_operator_autoscaler_holds_total",
    "counter",
    "decisions",
    "decisions to change nothing for want of signals, by what was missing",
    "reason",
)

INFO = _owned(
    "llama_operator_deployment_info",
    "gauge",
    "info",
    "1, with what the LlamaDeployment runs: its revision, accelerator, engine and the model's served name",
    "revision",
    "accelerator",
    "engine",
    "model",
)
STATE = _owned(
    "llama_operator_deployment_state",
    "gauge",
    "info",
    "1, with the phase and the reason of each condition; a condition that is not given has the empty reason",
    *("phase", "accepted", "available", "progressing", "scaling", "metrics", "degraded"),
)
DESIRED = _owned("llama_operator_desired_replicas", "gauge", "replicas", "replicas wanted")
READY = _owned("llama_operator_ready_replicas", "gauge", "replicas", "replicas that serve")
MINIMUM = _owned("llama_operator_min_replicas", "gauge", "replicas", "spec.autoscaling.minReplicas", optional="only with autoscaling")
MAXIMUM = _owned("llama_operator_max_replicas", "gauge", "replicas", "spec.autoscaling.maxReplicas", optional="only with autoscaling")
REPLICA_GPUS = _owned("llama_operator_replica_gpus", "gauge", "GPUs", "GPUs of one replica; 0 on the CPU")
OBJECTIVE_RATIO = _owned(
    "llama_operator_objective_ratio", "gauge", "ratio", "share of requests, or of tokens, that must be good", "objective"
)
OBJECTIVE_BUCKET = _owned(
    "llama_operator_objective_bucket",
    "gauge",
    "seconds",
    "the latency objective in seconds, with the histogram bucket that stands for it: the smallest that is not below it. A whole number has "
    "two series, since Prometheus 2 stores what was scraped (le=1) and Prometheus 3 writes it as a float (le=1.0)",
    "objective",
    "le",
    optional="only where a latency objective is set",
)
PLAN_RATIO = _owned(
    "llama_operator_plan_ratio",
    "gauge",
    "ratio",
    "what the engine reports divided by what was planned: kv_cache (tokens) and memory (bytes in use on the fullest GPU)",
    "quantity",
    optional="only where a plan was made and an engine has answered",
)
VOTES = _owned(
    "llama_operator_autoscaler_vote_replicas",
    "gauge",
    "replicas",
    "what each signal asks for; the highest counts",
    "signal",
    optional="only with autoscaling, and while the signals can be seen",
)
EXPECTED = _owned(
    "llama_operator_autoscaler_expected_replicas",
    "gauge",
    "replicas",
    "what the forecast expects within one load time",
    optional="only with autoscaling, and while the signals can be seen",
)
RESTARTS = _owned(
    "llama_operator_restarts_total",
    "counter",
    "restarts",
    "replicas that failed, were lost, or whose engine started anew, by root cause; counted since this operator process began to lead",
    "cause",
    optional="a cause appears with its first restart",
)
STREAMS_CUT = _owned(
    "llama_operator_streams_cut_total",
    "counter",
    "requests",
    "requests that were open in a replica when it was ended at its drain deadline (drain_deadline), or was lost (replica_lost); as its "
    "agent last said it, which is up to 20 s before. At 0 from the start, or from the first drain on",
    "cause",
)
CANARY_TTFT = _owned(
    "llama_operator_canary_time_to_first_token_seconds",
    "gauge",
    "seconds",
    "time to first token of the last canary request that was answered, through the Service, from the operator's pod",
    optional="only with canary.intervalSeconds, and where minReplicas is not 0",
)
CANARY_REQUESTS = _owned(
    "llama_operator_canary_requests_total",
    "counter",
    "requests",
    "canary requests: answered, refused (an HTTP status that is not 200) or silent (no answer in time)",
    "outcome",
    optional="only with canary.intervalSeconds, and where minReplicas is not 0",
)
REPLICA_PHASE = _owned(
    "llama_operator_replica_phase_start_timestamp_seconds",
    "gauge",
    "seconds",
    "when the replica's present phase began, in seconds since 1970; the label says which phase it is",
    *REPLICA,
    "phase",
)
REPLICA_PROGRESS = _owned(
    "llama_operator_replica_progress_ratio",
    "gauge",
    "ratio",
    "share of the download or of the weights that is in",
    *REPLICA,
    optional="only while a replica downloads or loads, and its agent can tell",
)

PROCESS = (RECONCILE_DURATION, PASSES, QUEUE_DEPTH, QUEUE_OLDEST, WRITES, API_ERRORS, LEADING, DECISIONS, HOLDS)
PER_DEPLOYMENT = (
    *(INFO, STATE, DESIRED, READY, MINIMUM, MAXIMUM, REPLICA_GPUS, OBJECTIVE_RATIO, OBJECTIVE_BUCKET, PLAN_RATIO, VOTES, EXPECTED),
    *(RESTARTS, STREAMS_CUT, CANARY_TTFT, CANARY_REQUESTS, REPLICA_PHASE, REPLICA_PROGRESS),
)
OPERATOR = (*PROCESS, *PER_DEPLOYMENT)
