"""The recording rules of cost: held, idle, and what a million tokens cost. `telemetry/cost.py` says how it is reckoned.

The cost of the last hour is added up from looks at PER_HOUR, one each STEP: what was not known adds nothing, and where two releases of the
chart record the same series it counts once. Two million tokens of a deployment that is ten minutes old thus cost what ten minutes cost.
"""

from __future__ import annotations

from llama_operator.telemetry import cost_metrics as cost
from llama_operator.telemetry import names
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry.rules.expressions import by, operator, ours, summed
from llama_operator.telemetry.rules.rule import Group, Pace, Recording

INTERVAL = 30
"""Seconds between two evaluations."""
STEP = 30
"""Seconds between two looks back, at whatever pace."""
HOUR, MILLION = 3600, 1_000_000


def groups(pace: Pace) -> list[Group]:
    """Every rule of cost."""
    hour = pace.duration(HOUR)
    made = {
        cost.HELD: operator(cost.ACCELERATORS_HELD),
        cost.IDLE: idle(),
        cost.PER_HOUR: f"{cost.HELD.name} * {operator(cost.HOUR_PRICE)}",
        cost.IDLE_PER_HOUR: f"{cost.IDLE.name} * {operator(cost.HOUR_PRICE)}",
        cost.PREFILL_SHARE: prefill_share(hour),
        cost.PER_PROMPT_MILLION: per_million(f"{cost.PREFILL_SHARE.name}", names.VLLM_PROMPT_TOKENS, hour),
        cost.PER_GENERATED_MILLION: per_million(f"(1 - {cost.PREFILL_SHARE.name})", names.VLLM_OUTPUT_TOKENS, hour),
    }
    return [Group(name="llama-cost", interval=INTERVAL, rules=[Recording(metric=metric, expr=expr) for metric, expr in made.items()])]


def idle() -> str:
    """Accelerators held, less those of replicas with a request in hand. Unknown where a replica is ready and none tells of requests."""
    pods = summed(ours(names.REQUESTS_IN_FLIGHT), names.LABEL_POD)
    none_ready = f"({operator(own.READY)} == 0)"
    busy = f"(count by {by()} ({pods} > 0) or 0 * count by {by()} ({pods}) or {none_ready})"
    return f"clamp_min({cost.HELD.name} - {busy} * clamp_min({operator(own.REPLICA_GPUS)}, 1), 0)"


def prefill_share(window: str) -> str:
    """Of the time that requests spent in the engine."""
    families = (f"{names.VLLM_PREFILL_TIME}_sum", f"{names.VLLM_DECODE_TIME}_sum")
    prefill, decode = (summed(f"increase({ours(family)}[{window}])") for family in families)
    return f"{prefill} / ({prefill} + {decode} > 0)"


def per_million(share: str, tokens: str, window: str) -> str:
    """Dollars for a million tokens of that kind, given its share of the cost."""
    dollars = f"sum_over_time({cost.PER_HOUR.name}[{window}:{STEP}s]) * {STEP} / {HOUR}"
    return f"{dollars} * {share} * {MILLION} / ({summed(f'increase({ours(tokens)}[{window}])')} > 0)"
