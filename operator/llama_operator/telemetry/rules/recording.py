"""The recording rules: what dashboards and alerts read instead of summing over pods each time."""

from __future__ import annotations

from collections.abc import Mapping

from llama_operator.telemetry import names, recorded
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry.metric import Metric
from llama_operator.telemetry.rules.expressions import SERVERS, by, operator, ours, summed
from llama_operator.telemetry.rules.rule import Group, Pace, Recording, seconds_of

POSTS = 'method="POST"'
"""Requests of users; GETs are probes and lists of models."""
FAILED = 'status_code=~"5.."'

_STATE = ("phase", "accepted", "available", "progressing", "scaling", "metrics", "degraded")


def groups(pace: Pace) -> list[Group]:
    """Every recording rule."""
    return [
        Group(name="llama-traffic", interval=30, rules=traffic(pace)),
        Group(name="llama-operator-view", interval=30, rules=operator_view(pace)),
        Group(name="llama-objectives", interval=60, rules=objectives(pace)),
    ]


def _make(metric: Metric, expr: str) -> Recording:
    return Recording(metric=metric, expr=expr)


def traffic(pace: Pace) -> list[Recording]:
    """What the engines and proxies do."""
    window = pace.duration(300)
    rules = [
        _make(recorded.IN_FLIGHT, summed(ours(names.REQUESTS_IN_FLIGHT))),
        _make(recorded.HELD, summed(ours(names.SERVE_QUEUED, SERVERS))),
        _make(recorded.RUNNING, summed(ours(names.VLLM_RUNNING))),
        _make(recorded.WAITING, summed(ours(names.VLLM_WAITING))),
        _make(recorded.REQUEST_RATE, summed(f"rate({ours(names.HTTP_REQUESTS, POSTS)}[{window}])", "status_code")),
        _make(recorded.GENERATION_RATE, summed(f"rate({ours(names.VLLM_OUTPUT_TOKENS)}[{window}])")),
        _make(recorded.PROMPT_RATE, summed(f"rate({ours(names.VLLM_PROMPT_TOKENS)}[{window}])")),
        _make(recorded.KV_USE_MAX, f"max by {by()} ({ours(names.VLLM_KV_USE)})"),
        _make(recorded.KV_USE_AVG, f"avg by {by()} ({ours(names.VLLM_KV_USE)})"),
        _make(recorded.PREFILL_SECONDS, summed(f"rate({ours(f'{names.VLLM_PREFILL_TIME}_sum')}[{window}])")),
        _make(recorded.DECODE_SECONDS, summed(f"rate({ours(f'{names.VLLM_DECODE_TIME}_sum')}[{window}])")),
    ]
    for quantiles, family in ((recorded.TTFT_QUANTILES, names.VLLM_TTFT), (recorded.ITL_QUANTILES, names.VLLM_ITL)):
        buckets = summed(f"rate({ours(f'{family}_bucket')}[{window}])", "le")
        rules += [_make(metric, f"histogram_quantile({recorded.QUANTILES[short]}, {buckets})") for short, metric in quantiles.items()]
    return rules


def operator_view(pace: Pace) -> list[Recording]:
    """The operator's metrics under the LlamaDeployment's own namespace."""
    half_an_hour = pace.duration(1800)
    return [
        _make(recorded.STATE, operator(own.STATE, *_STATE)),
        _make(recorded.INFO, operator(own.INFO, "revision", "accelerator", "engine", "model")),
        _make(recorded.DESIRED, operator(own.DESIRED)),
        _make(recorded.READY, operator(own.READY)),
        _make(recorded.MINIMUM, operator(own.MINIMUM)),
        _make(recorded.MAXIMUM, operator(own.MAXIMUM)),
        _make(recorded.GPUS_HELD, f"{operator(own.READY)} * {operator(own.REPLICA_GPUS)}"),
        _make(recorded.OBJECTIVE_RATIO, operator(own.OBJECTIVE_RATIO, "objective")),
        _make(recorded.OBJECTIVE_SECONDS, operator(own.OBJECTIVE_BUCKET, "objective")),
        _make(recorded.PLAN_RATIO, operator(own.PLAN_RATIO, "quantity")),
        _make(recorded.VOTES, operator(own.VOTES, "signal")),
        _make(recorded.EXPECTED, operator(own.EXPECTED)),
        _make(recorded.REPLICA_PHASE, operator(own.REPLICA_PHASE, "revision", "gang", "phase")),
        _make(recorded.REPLICA_PROGRESS, operator(own.REPLICA_PROGRESS, "revision", "gang")),
        _make(recorded.RESTARTS, _rise(own.RESTARTS, half_an_hour)),
        _make(recorded.STREAMS_CUT, _rise(own.STREAMS_CUT, half_an_hour)),
        _make(recorded.CANARY_TTFT, operator(own.CANARY_TTFT)),
    ]


def _rise(counter: Metric, window: str) -> str:
    """Summed, not the highest: after a change of leader two processes have counted within the window."""
    moved = f'label_replace(increase({counter.name}[{window}]), "namespace", "$1", "{own.LABEL_NAMESPACE}", "(.+)")'
    return summed(moved, "cause")


def objectives(pace: Pace) -> list[Recording]:
    """Shares that missed the objective, for each window of the burn rates."""
    rules = []
    for window in recorded.WINDOWS:
        length = pace.duration(seconds_of(window))
        rules += [
            _make(recorded.TTFT_ERRORS[window], misses(names.VLLM_TTFT, own.TTFT, length)),
            _make(recorded.ITL_ERRORS[window], misses(names.VLLM_ITL, own.ITL, length)),
            _make(recorded.SUCCESS_ERRORS[window], failures(length)),
        ]
    return rules


def misses(family: str, objective: str, window: str) -> str:
    """Share of observations above the objective. The objective's series names the bucket, so that each LlamaDeployment has its own; no
    objective, no series.
    """
    bucket = operator(own.OBJECTIVE_BUCKET, "le", matchers=f'{{objective="{objective}"}}')
    buckets = summed(f"rate({ours(f'{family}_bucket')}[{window}])", "le")
    every = summed(f"rate({ours(f'{family}_count')}[{window}])")
    good = summed(f"{buckets} and on {by('le')} {bucket}")
    return f"1 - {good} / ({every} > 0)"


def failures(window: str) -> str:
    """Share of requests that ended with a 5xx status at the pods' proxies. Where none failed there is no series of failures: that is 0."""
    every = summed(f"rate({ours(names.HTTP_REQUESTS, POSTS)}[{window}])")
    failed = summed(f"rate({ours(names.HTTP_REQUESTS, POSTS, FAILED)}[{window}])")
    return f"({failed} or 0 * {every}) / ({every} > 0)"


def expressions(pace: Pace) -> Mapping[str, str]:
    """Every recording rule's expression by the name of what it records."""
    return {rule.metric.name: rule.expr for group in groups(pace) for rule in group.rules if isinstance(rule, Recording)}
