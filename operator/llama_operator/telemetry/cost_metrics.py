"""The metrics of cost: what the operator tells, and what our recording rules make of it. In dollars, as the prices given."""

from __future__ import annotations

from llama_operator.telemetry.metric import Metric
from llama_operator.telemetry.operator_metrics import OWNER, SEEN
from llama_operator.telemetry.recorded import GROUPED


def _operator(name: str, unit: str, labels: tuple[str, ...], meaning: str, optional: str = "") -> Metric:
    return Metric(name=name, kind="gauge", unit=unit, labels=labels, meaning=meaning, source="operator", seen=SEEN, optional=optional)


def _recorded(name: str, unit: str, meaning: str, *labels: str) -> Metric:
    made = "made by our rules, where a price of an accelerator is given"
    return Metric(
        name=name, kind="gauge", unit=unit, labels=(*GROUPED, *labels), meaning=meaning, source="recorded", seen=SEEN, optional=made
    )


ACCELERATORS_HELD = _operator(
    "llama_operator_accelerators_held",
    "accelerators",
    OWNER,
    "GPUs of the pods that a node has taken and that have not ended, ready or not; a pod on the CPU counts as one",
)
HOUR_PRICE = _operator(
    "llama_operator_accelerator_hour_price_dollars",
    "dollars",
    OWNER,
    "price of one accelerator for an hour",
    optional="only where the chart's cost.gpuHourPrices or the LlamaDeployment's annotation gives one",
)
API_PRICE = _operator(
    "llama_operator_api_million_tokens_price_dollars",
    "dollars",
    ("api", "as_of", "kind", "bound"),
    "what a hosted API takes for a million tokens: kind prompt or generated, bound least or most; the chart's cost.apiPrices",
)

HELD = _recorded("llama:accelerators_held", "accelerators", "accelerators that are paid for, ready or not")
IDLE = _recorded("llama:accelerators_idle", "accelerators", "accelerators that are held without a request in hand, loading ones included")
PER_HOUR = _recorded("llama:cost_per_hour_dollars", "dollars per hour", "what is held costs this in an hour")
IDLE_PER_HOUR = _recorded("llama:idle_cost_per_hour_dollars", "dollars per hour", "of which without a request in hand")
PREFILL_SHARE = _recorded("llama:prefill_time:ratio_rate1h", "ratio", "share of prefill in the requests' time in the engine, one hour")
PER_PROMPT_MILLION = _recorded(
    "llama:prompt_million_tokens_cost_dollars:1h", "dollars", "cost of a million prompt tokens, idle time included, one hour"
)
PER_GENERATED_MILLION = _recorded(
    "llama:generated_million_tokens_cost_dollars:1h", "dollars", "cost of a million generated tokens, idle time included, one hour"
)
PER_DEPLOYMENT = (ACCELERATORS_HELD, HOUR_PRICE)
COST = (
    *(*PER_DEPLOYMENT, API_PRICE, HELD, IDLE, PER_HOUR, IDLE_PER_HOUR, PREFILL_SHARE),
    *(PER_PROMPT_MILLION, PER_GENERATED_MILLION),
)
