"""The recording rules of cost, by Prometheus' own checker: two deployments of one name, and what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.harness import promtool

from llama_operator.telemetry.rules import cost
from llama_operator.telemetry.rules.rule import REAL

RULES = {"groups": [group.document(REAL) for group in cost.groups(REAL)]}


def own(name: str, namespace: str) -> str:
    """A series of the operator's, whose own namespace is another."""
    return f'{name}{{namespace="llama-system",llama_operator_dev_namespace="{namespace}",llama_operator_dev_deployment="chat"}}'


def engine(name: str, namespace: str, pod: int = 0) -> str:
    return f'{name}{{namespace="{namespace}",llama_operator_dev_deployment="chat",pod="p{pod}"}}'


def steady(value: float) -> str:
    return f"{value}x240"


def rising(step: float) -> str:
    return f"0+{step}x240"


def deployment(namespace: str, *, held: float, gpus: float, price: float | None, busy: int, ready: int) -> list[dict[str, str]]:
    """Ready replicas, of which `busy` have a request in hand; 100 prompt tokens, 20 generated, 1 s of prefill and 3 of decode in 30 s."""
    rows = [
        (own("llama_operator_accelerators_held", namespace), steady(held)),
        (own("llama_operator_replica_gpus", namespace), steady(gpus)),
        (own("llama_operator_ready_replicas", namespace), steady(ready)),
        *[(engine("ray_llama_requests_in_flight", namespace, pod), steady(float(pod < busy))) for pod in range(ready)],
        (engine("ray_vllm_prompt_tokens_total", namespace), rising(100)),
        (engine("ray_vllm_generation_tokens_total", namespace), rising(20)),
        (engine("ray_vllm_request_prefill_time_seconds_sum", namespace), rising(1)),
        (engine("ray_vllm_request_decode_time_seconds_sum", namespace), rising(3)),
    ]
    if price is not None:
        rows.append((own("llama_operator_accelerator_hour_price_dollars", namespace), steady(price)))
    return [{"series": series, "values": values} for series, values in rows]


def test_two_of_one_name_are_billed_apart_and_what_is_not_known_is_not_free(tmp_path: Path) -> None:
    series = [
        *deployment("a", held=16, gpus=8, price=2.5, busy=1, ready=2),
        *deployment("b", held=2, gpus=0, price=None, busy=0, ready=2),
        *deployment("loading", held=8, gpus=8, price=2.5, busy=0, ready=0),
        # A replica is ready, and nothing tells of its requests: whether it is idle is not known.
        *[row for row in deployment("blind", held=8, gpus=8, price=1, busy=0, ready=1) if "in_flight" not in row["series"]],
    ]
    # After two hours of steady numbers: 120 samples of the cost in the last hour, 120 x 100 prompt tokens.
    prompt, generated = 40.0 * 0.25 / (12_000 / 1e6), 40.0 * 0.75 / (2_400 / 1e6)
    expected = {
        "llama:accelerators_held": {"a": 16, "b": 2, "loading": 8, "blind": 8},
        "llama:accelerators_idle": {"a": 8, "b": 2, "loading": 8},
        "llama:cost_per_hour_dollars": {"a": 40, "loading": 20, "blind": 8},
        "llama:idle_cost_per_hour_dollars": {"a": 20, "loading": 20},
        # Within 2.5 %: Prometheus 2 counts the sample at either end of the hour, Prometheus 3 at one.
        f"round(llama:prompt_million_tokens_cost_dollars:1h{{namespace='a'}} / {prompt}, 0.05)": {"a": 1},
        f"round(llama:generated_million_tokens_cost_dollars:1h{{namespace='a'}} / {generated}, 0.05)": {"a": 1},
    }
    tests: list[dict[str, Any]] = [
        {
            "interval": "30s",
            "input_series": series,
            "promql_expr_test": [
                {
                    "expr": name,
                    "eval_time": "2h",
                    "exp_samples": [
                        {
                            "labels": f'{"" if "(" in name else name}{{namespace="{namespace}",llama_operator_dev_deployment="chat"}}',
                            "value": value,
                        }
                        for namespace, value in values.items()
                    ],
                }
                for name, values in expected.items()
            ],
        }
    ]
    assert promtool.failures(tmp_path, RULES, tests, every="30s") == ""


def test_the_same_series_recorded_by_two_releases_is_paid_once(tmp_path: Path) -> None:
    """Their evaluations lie between each other, so that the cost has twice as many samples: one each 15 s."""
    prices = {cost.cost.PREFILL_SHARE.name, cost.cost.PER_PROMPT_MILLION.name}
    rules = [rule for rule in RULES["groups"][0]["rules"] if rule["record"] in prices]
    labels = 'namespace="a",llama_operator_dev_deployment="chat"'
    series = [
        {"series": f"llama:cost_per_hour_dollars{{{labels}}}", "values": "40x480"},
        {"series": engine("ray_vllm_prompt_tokens_total", "a"), "values": "0+50x480"},
        {"series": engine("ray_vllm_request_prefill_time_seconds_sum", "a"), "values": "0+1x480"},
        {"series": engine("ray_vllm_request_decode_time_seconds_sum", "a"), "values": "0+3x480"},
    ]
    paid = 40.0 * 0.25 / (12_000 / 1e6)
    asked = {
        "expr": f"round(llama:prompt_million_tokens_cost_dollars:1h / {paid}, 0.05)",
        "eval_time": "2h",
        "exp_samples": [{"labels": f"{{{labels}}}", "value": 1}],
    }
    tests = [{"interval": "15s", "input_series": series, "promql_expr_test": [asked]}]
    assert promtool.failures(tmp_path, {"groups": [{"name": "cost", "rules": rules}]}, tests, every="30s") == ""
