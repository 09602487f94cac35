"""What Prometheus sees when an alert should fire, and when it should not: one case an alert.

`bad` and `good` give the series of one LlamaDeployment called `chat` in a namespace, as (series, values at one a minute).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Series = list[tuple[str, str]]
LONG = 240
"""Minutes that constant series last."""


def steady(value: float) -> str:
    """A gauge that does not move."""
    return f"{value:g}+0x{LONG}"


def rising(by: float, start: float = 100) -> str:
    """A counter."""
    return f"{start:g}+{by:g}x{LONG}"


def pod(namespace: str, name: str = "chat-0-g0-0", **labels: str) -> str:
    """Labels of a series of a serving pod."""
    extra = "".join(f',{key}="{value}"' for key, value in labels.items())
    return f'{{namespace="{namespace}",llama_operator_dev_deployment="chat",pod="{name}"{extra}}}'


def own(namespace: str, **labels: str) -> str:
    """Labels of one of the operator's series."""
    extra = "".join(f',{key}="{value}"' for key, value in labels.items())
    where = f'namespace="llama-system",pod="operator-1",llama_operator_dev_namespace="{namespace}"'
    return f'{{{where},llama_operator_dev_deployment="chat"{extra}}}'


def state(namespace: str, **reasons: str) -> tuple[str, str]:
    """The operator's state of it: all is well but for what is given."""
    well = {
        "phase": "Ready",
        "accepted": "Fits",
        "available": "Serving",
        "progressing": "Complete",
        "scaling": "Steady",
        "metrics": "Fresh",
        "degraded": "Healthy",
    }
    return f"llama_operator_deployment_state{own(namespace, **{**well, **reasons})}", steady(1)


def replicas(namespace: str, desired: int, ready: int) -> Series:
    """Wanted and serving."""
    return [
        (f"llama_operator_desired_replicas{own(namespace)}", steady(desired)),
        (f"llama_operator_ready_replicas{own(namespace)}", steady(ready)),
    ]


def engine(namespace: str, in_flight: float, tokens: float, ended: float = 0, name: str = "chat-0-g0-0") -> Series:
    """One replica: requests open, tokens and ended requests a minute."""
    return [
        (f"ray_llama_requests_in_flight{pod(namespace, name)}", steady(in_flight)),
        (f"ray_vllm_generation_tokens_total{pod(namespace, name)}", rising(tokens)),
        (f"ray_serve_deployment_request_counter_total{pod(namespace, name, deployment='LLMServer:chat')}", rising(ended)),
    ]


def phase(namespace: str, what: str, began: float) -> Series:
    """The phase of a replica since a minute of the test, which begins at 0."""
    labels = own(namespace, revision="0123456789", gang="0", phase=what)
    return [(f"llama_operator_replica_phase_start_timestamp_seconds{labels}", steady(began))]


def posts(namespace: str, **a_minute: float) -> Series:
    """Requests that ended at a proxy, a minute, by status code (`s200=60`)."""
    return [
        (f"ray_serve_num_http_requests_total{pod(namespace, method='POST', status_code=code[1:])}", rising(count))
        for code, count in a_minute.items()
    ]


def latencies(namespace: str, family: str, good: float, bad: float, le: str = "2.5") -> Series:
    """A histogram: observations a minute within the bound, and above it."""
    return [
        (f"ray_vllm_{family}_seconds_bucket{pod(namespace, le=le)}", rising(good)),
        (f"ray_vllm_{family}_seconds_bucket{pod(namespace, le='+Inf')}", rising(good + bad)),
        (f"ray_vllm_{family}_seconds_count{pod(namespace)}", rising(good + bad)),
    ]


def objective(namespace: str, which: str, ratio: float, le: tuple[str, ...] = ()) -> Series:
    """What the operator exports of an objective."""
    return [
        (f"llama_operator_objective_ratio{own(namespace, objective=which)}", steady(ratio)),
        *((f"llama_operator_objective_bucket{own(namespace, objective=which, le=bound)}", steady(2)) for bound in le),
    ]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One alert. `at` is the minute by which it must fire; `labels` are its own beside namespace, name and severity."""

    alert: str
    bad: Callable[[str], Series]
    good: Callable[[str], Series]
    at: int
    summary: str
    """As it is read, with the numbers; WHERE stands for namespace and name."""
    labels: dict[str, str] = field(default_factory=dict)


def _ttft(namespace: str, bad: float) -> Series:
    return [
        *latencies(namespace, "time_to_first_token", 60 - bad, bad),
        *objective(namespace, "time_to_first_token", 0.95, ("2.5",)),
    ]


def _itl(namespace: str, bad: float) -> Series:
    return [*latencies(namespace, "inter_token_latency", 600 - bad, bad, "0.1"), *objective(namespace, "inter_token", 0.95, ("0.1",))]


CASES = (
    Case(
        alert="LlamaNoTokens",
        bad=lambda ns: engine(ns, 3, 0),
        good=lambda ns: engine(ns, 3, 900, 2),
        at=15,
        summary="WHERE: 3 requests are open and no token comes out",
    ),
    Case(
        alert="LlamaEngineStalled",
        bad=lambda ns: [*engine(ns, 3, 0), *engine(ns, 2, 500, name="chat-0-g1-0")],
        good=lambda ns: [*engine(ns, 0, 0), *engine(ns, 2, 500, name="chat-0-g1-0")],
        at=15,
        summary="WHERE: pod chat-0-g0-0 has 3 requests open and gives no token",
        labels={"pod": "chat-0-g0-0"},
    ),
    Case(
        alert="LlamaKvCacheSaturated",
        bad=lambda ns: [
            (f"ray_vllm_kv_cache_usage_perc{pod(ns)}", steady(0.97)),
            (f"ray_vllm_num_requests_waiting{pod(ns)}", steady(4)),
        ],
        good=lambda ns: [
            (f"ray_vllm_kv_cache_usage_perc{pod(ns)}", steady(0.97)),
            (f"ray_vllm_num_requests_waiting{pod(ns)}", steady(0)),
        ],
        at=20,
        summary="WHERE: 97% of the KV cache is in use, and requests wait",
    ),
    Case(
        alert="LlamaQueueRejected",
        bad=lambda ns: posts(ns, s200=45, s503=15),
        good=lambda ns: posts(ns, s200=60, s400=20),
        at=15,
        summary="WHERE: 25% of requests are turned away with 429 or 503",
    ),
    Case(
        alert="LlamaStreamsCut",
        bad=lambda ns: [(f"llama_operator_streams_cut_total{own(ns, cause='replica_lost')}", "0+0x10 7+0x120")],
        good=lambda ns: [(f"llama_operator_streams_cut_total{own(ns, cause='replica_lost')}", steady(0))],
        at=15,
        summary="WHERE: about 7 requests were cut within 30 minutes (replica_lost)",
        labels={"cause": "replica_lost"},
    ),
    Case(
        alert="LlamaIdleGpus",
        bad=lambda ns: [*replicas(ns, 2, 2), (f"llama_operator_replica_gpus{own(ns)}", steady(8)), *engine(ns, 0, 0)],
        good=lambda ns: [*replicas(ns, 2, 2), (f"llama_operator_replica_gpus{own(ns)}", steady(8)), *engine(ns, 1, 9, 1)],
        at=130,
        summary="WHERE: 16 GPUs have served nobody for two hours",
    ),
    Case(
        alert="LlamaLoadStalled",
        bad=lambda ns: [
            *phase(ns, "LoadingWeights", 0),
            (f"llama_operator_replica_progress_ratio{own(ns, revision='0123456789', gang='0')}", steady(0.5)),
        ],
        good=lambda ns: [
            *phase(ns, "LoadingWeights", 0),
            (f"llama_operator_replica_progress_ratio{own(ns, revision='0123456789', gang='0')}", "0+0.01x100"),
        ],
        at=15,
        summary="WHERE: replica 0 has been LoadingWeights for 15m 0s without progress",
        labels={"revision": "0123456789", "gang": "0", "phase": "LoadingWeights"},
    ),
    Case(
        alert="LlamaRetriesExhausted",
        bad=lambda ns: [*replicas(ns, 2, 1), state(ns, progressing="RetriesExhausted")],
        good=lambda ns: [*replicas(ns, 2, 1), state(ns, progressing="BackingOff")],
        at=5,
        summary="WHERE: 1 replicas are missing, and the operator tries no more",
    ),
    Case(
        alert="LlamaReplicaFlapping",
        bad=lambda ns: [(f"llama_operator_restarts_total{own(ns, cause='PodLost')}", "1+0x5 2+0x5 3+0x5 5+0x200")],
        good=lambda ns: [(f"llama_operator_restarts_total{own(ns, cause='PodLost')}", "1+0x5 2+0x200")],
        at=20,
        summary="WHERE: replicas were lost or failed about 4 times within 30 minutes",
    ),
    Case(
        alert="LlamaGangIncomplete",
        bad=lambda ns: phase(ns, "Broken", 0),
        good=lambda ns: phase(ns, "Terminating", 0),
        at=4,
        summary="WHERE: the pods of replica 0 have been Broken for 4m 0s",
        labels={"revision": "0123456789", "gang": "0", "phase": "Broken"},
    ),
    Case(
        alert="LlamaPlacementBlocked",
        bad=lambda ns: [*replicas(ns, 3, 1), state(ns, progressing="WaitingForGpus")],
        good=lambda ns: [*replicas(ns, 3, 1), state(ns, progressing="Loading")],
        at=10,
        summary="WHERE: 2 replicas find no node",
    ),
    Case(
        alert="LlamaHeadDown",
        bad=lambda ns: [state(ns, degraded="HeadLost")],
        good=lambda ns: [state(ns, degraded="GangIncomplete")],
        at=5,
        summary="WHERE: the Ray head is gone or does not answer",
        labels={"degraded": "HeadLost"},
    ),
    Case(
        alert="LlamaHeadStaysDown",
        bad=lambda ns: [state(ns, degraded="HeadLost")],
        good=lambda ns: [state(ns, degraded="GangIncomplete")],
        at=8,
        summary="WHERE: the Ray head has been down for five minutes: after ten every engine ends",
        labels={"degraded": "HeadLost"},
    ),
    Case(
        alert="LlamaAutoscalerBlind",
        bad=lambda ns: [state(ns, metrics="PrometheusUnreachable", scaling="Holding")],
        good=lambda ns: [state(ns), *replicas(ns, 1, 1), *engine(ns, 0, 0)],
        at=10,
        summary="WHERE: nobody can see the load (PrometheusUnreachable)",
        labels={"metrics": "PrometheusUnreachable"},
    ),
    Case(
        alert="LlamaAtMaxReplicas",
        bad=lambda ns: [(f"llama_operator_max_replicas{own(ns)}", steady(4)), state(ns, scaling="AtMaximum")],
        good=lambda ns: [(f"llama_operator_max_replicas{own(ns)}", steady(4)), state(ns, scaling="Steady")],
        at=20,
        summary="WHERE: demand asks for more than maxReplicas, which is 4",
    ),
    Case(
        alert="LlamaPlanDeviation",
        bad=lambda ns: [(f"llama_operator_plan_ratio{own(ns, quantity='kv_cache')}", steady(0.9))],
        good=lambda ns: [(f"llama_operator_plan_ratio{own(ns, quantity='kv_cache')}", steady(0.98))],
        at=15,
        summary="WHERE: kv_cache differs from the plan by 10%",
        labels={"quantity": "kv_cache"},
    ),
)

BURNS = (
    Case(
        alert="LlamaTimeToFirstTokenBudgetBurn",
        bad=lambda ns: _ttft(ns, 60),
        good=lambda ns: _ttft(ns, 1),
        at=240,
        summary="WHERE: 100% of requests waited longer for their first token than the objective allows, over",
    ),
    Case(
        alert="LlamaInterTokenLatencyBudgetBurn",
        bad=lambda ns: _itl(ns, 600),
        good=lambda ns: _itl(ns, 10),
        at=240,
        summary="WHERE: 100% of tokens came later after the one before than the objective allows, over",
    ),
    Case(
        alert="LlamaSuccessBudgetBurn",
        bad=lambda ns: [*posts(ns, s200=30, s500=30), *objective(ns, "success", 0.99)],
        good=lambda ns: [*posts(ns, s200=60, s404=60, s499=60), *objective(ns, "success", 0.99)],
        at=240,
        summary="WHERE: 50% of requests ended with a 5xx status, over",
    ),
)
