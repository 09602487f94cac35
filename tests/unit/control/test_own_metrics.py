"""The operator's own metrics of scaling: bounded labels, and nothing is left of a LlamaDeployment that went."""

from __future__ import annotations

from prometheus_client import generate_latest

from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.rendering.names import Key

KEY, OTHER = Key("llm", "demo"), Key("llm", "other")


def series(own: OwnMetrics, key: Key = KEY) -> set[str]:
    lines = generate_latest(own.registry).decode().splitlines()
    return {line.replace("llama_operator_", "") for line in lines if f'name="{key.name}",namespace="{key.namespace}"' in line}


def owner(name: str, value: float, more: str = "") -> str:
    return f'{name}{{name="demo",namespace="llm"{more}}} {value}'


def test_what_is_wanted_serves_loads_and_is_voted_for() -> None:
    own = OwnMetrics()
    own.tell(KEY, 3, 1, 2, {"requests": 2.5}, holding=False)
    assert series(own) == {
        owner("desired_replicas", 3.0),
        owner("ready_replicas", 1.0),
        owner("loading_replicas", 1.0),
        owner("autoscaler_holding", 0.0),
        owner("autoscaler_vote_replicas", 2.5, ',signal="requests"'),
    }


def test_a_vote_that_is_not_seen_any_more_is_no_series_and_not_an_old_number() -> None:
    own = OwnMetrics()
    own.tell(KEY, 3, 1, 2, {"requests": 2.5, "slots": 1.0}, holding=False)
    own.tell(KEY, 3, 1, 2, {}, holding=True)
    assert not [line for line in series(own) if "vote" in line]
    assert owner("autoscaler_holding", 1.0) in series(own)


def test_without_autoscaling_there_is_neither_vote_nor_hold() -> None:
    own = OwnMetrics()
    own.tell(KEY, 3, 1, 2, {"requests": 2.5}, holding=False)
    own.tell(KEY, 3, 3, 3, None, holding=False)
    assert not [line for line in series(own) if "autoscaler" in line]


def test_a_deployment_that_goes_takes_its_series_with_it_and_no_others() -> None:
    own = OwnMetrics()
    for key in (KEY, OTHER):
        own.tell(key, 3, 1, 2, {"requests": 2.5}, holding=False)
    own.forget(KEY.namespace, KEY.name)
    own.forget(KEY.namespace, KEY.name)
    assert series(own) == set()
    assert len(series(own, OTHER)) == 5
