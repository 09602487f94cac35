"""The queries of `kubectl llama cost`: raw metrics only, so that they answer where no recording rule was installed.

    steps      sum_over_time((x)[WINDOW:STEP]): x added up over the steps in which it was known. Times STEP in hours that is x-hours.
    busy       replicas with a request in hand; 0 where none is ready; unknown where one is and no series tells
    idle       held accelerators less those of the busy replicas

One series each; none where nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from llama_operator.telemetry import cost_metrics as cost
from llama_operator.telemetry import names as metric
from llama_operator.telemetry.operator_metrics import LABEL_NAMESPACE, READY, REPLICA_GPUS

MOST_STEPS = 1440
"""Of one subquery: a minute of a day. Samples are at most five minutes old by Prometheus' lookback, so that a step may be shorter."""
SHORTEST_STEP, LONGEST_STEP = 15, 600

API_PRICES_QUERY = f"max by (api, as_of, kind, bound) ({cost.API_PRICE.name})"


def step_seconds(window: int) -> int:
    """Seconds between the moments at which a window is looked at. LONGEST_STEP keeps what lives for minutes in sight."""
    return min(max(window // MOST_STEPS, SHORTEST_STEP), LONGEST_STEP)


def bill_queries(namespace: str, deployment: str, window: int) -> Mapping[str, str]:
    """By what they tell. Names of Kubernetes hold no character that PromQL would have to escape."""
    serving = f'{{{metric.LABEL_NAMESPACE}="{namespace}",{metric.LABEL_DEPLOYMENT}="{deployment}"}}'
    own = f'{{{LABEL_NAMESPACE}="{namespace}",{metric.LABEL_DEPLOYMENT}="{deployment}"}}'
    held = f"max({cost.ACCELERATORS_HELD.name}{own})"
    price = f"max({cost.HOUR_PRICE.name}{own})"
    size = f"clamp_min(max({REPLICA_GPUS.name}{own}), 1)"
    in_flight = f"sum by ({metric.LABEL_POD}) ({metric.REQUESTS_IN_FLIGHT}{serving})"
    busy = f"(count({in_flight} > 0) or 0 * count({in_flight}) or (max({READY.name}{own}) == 0))"
    idle = f"clamp_min({held} - {busy} * {size}, 0)"
    step = step_seconds(window)

    def steps(what: str, how: str = "sum") -> str:
        return f"{how}_over_time(({what})[{window}s:{step}s])"

    def rise(family: str) -> str:
        return f"sum(increase({family}{serving}[{window}s]))"

    return {
        "accelerator_steps": steps(held),
        "held_steps": steps(f"{held} > 0", "count"),
        "known_steps": steps(f"({held} > 0) * {price}", "count"),
        "cost_steps": steps(f"{held} * {price}"),
        "idle_accelerator_steps": steps(idle),
        "idle_cost_steps": steps(f"{idle} * {price}"),
        "prompt_tokens": rise(metric.VLLM_PROMPT_TOKENS),
        "generated_tokens": rise(metric.VLLM_OUTPUT_TOKENS),
        "prefill_seconds": rise(f"{metric.VLLM_PREFILL_TIME}_sum"),
        "decode_seconds": rise(f"{metric.VLLM_DECODE_TIME}_sum"),
    }
