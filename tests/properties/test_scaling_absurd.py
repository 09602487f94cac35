"""Whatever numbers a tenant's pods tell, and whatever lies in a status: a decision is made, within the bounds, and can be written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llama_operator.scaling.policy import Policy, Replicas, decide
from llama_operator.scaling.sane import MOST_REPLICAS
from llama_operator.scaling.service import Service
from llama_operator.scaling.signals import Load, Missing, Series, read_load
from llama_operator.telemetry import names as metric

START = 1_790_000_000.0
FAMILIES = (*metric.AUTOSCALING_FAMILIES, metric.VLLM_FIRST_TOKEN, metric.LAST_REQUEST)
SERVICE = Service(prefill=5000, slots=32, itl=0.05, kv=400_000)
POLICIES = (
    Policy(min_replicas=1, max_replicas=6, in_flight_per_replica=8, scale_down_seconds=None),
    Policy(min_replicas=0, max_replicas=6, ttft_seconds=6, service=SERVICE, idle_seconds=60, gpus=8),
)
extremes = st.sampled_from([0.0, 5e-324, 1e-300, 1e-9, 1.0, 1e9, 1e12, 1e15, 1e18, 1.7e308, float("inf"), float("nan"), -1.0])
values = st.one_of(extremes, st.floats(min_value=0), st.floats(min_value=0, max_value=1e12))
policies = st.sampled_from(POLICIES)
pairs = st.lists(st.tuples(st.sampled_from(FAMILIES), st.sampled_from("ab"), values, values, values), max_size=16)
times = st.sampled_from([START, START - START % 15, START - START % 15 - 15, 1e300, -1e300])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 99), st.sampled_from([10**400, -(10**400)]), extremes, st.floats(), times, st.text(max_size=3)
)
anything = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)), max_leaves=8
)
points = st.lists(st.tuples(times, scalars).map(list), max_size=3)


def one_of(*good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(*good, anything)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return one_of(st.fixed_dictionaries({}, optional=fields))


lists = one_of(st.lists(st.one_of(extremes, times), max_size=20))
memories = st.fixed_dictionaries(
    {},
    optional={
        "history": some(begun=one_of(times), open=one_of(extremes), seen=lists, forecasts=lists, errors=lists),
        "loads": some(wanted=one_of(st.integers(0, 9)), orders=lists, samples=lists),
        "service": some(prefill=one_of(values), itl=one_of(values), prompt=one_of(values), output=one_of(values)),
        "correction": some(factor=one_of(st.floats(1, 2)), since=one_of(times)),
        "points": one_of(points),
        "since": one_of(times),
        "aboveSince": one_of(times),
        "aboveLeast": one_of(st.integers(0, 9)),
        "idleSince": one_of(times),
    },
)


def told(samples: Sequence[tuple[str, str, float, float, float]], now: float) -> Load | Missing:
    series = [
        Series(
            name=name,
            pod=pod,
            revision="r",
            time=now - 1,
            value=value,
            before=(now - 6, before),
            oldest=(now - 50, before),
            bound=bound if name == metric.VLLM_FIRST_TOKEN else None,
        )
        for name, pod, value, before, bound in samples
    ]
    return read_load(series, set(), set("ab"), now, 15.0)


def check(policy: Policy, signals: Load | Missing, wanted: int, memory: Any, now: float) -> Any:
    """One decision, and the memory as the next reads it from the status."""
    found = decide(policy, signals, Replicas(wanted=wanted, ready=min(wanted, 2), newest=now - 300), memory, now)
    assert "cannot be reckoned with" not in found.message
    assert found.replicas is None or policy.min_replicas <= found.replicas <= policy.max_replicas
    assert found.asked is None or 0 <= found.asked <= MOST_REPLICAS + 1
    if not isinstance(signals, Missing):
        json.dumps([vote.replicas for vote in found.votes], allow_nan=False)
        return json.loads(json.dumps(found.memory, allow_nan=False))
    return memory


@settings(max_examples=50)
@given(policies, st.lists(pairs, min_size=1, max_size=4), st.integers(0, 6))
@example(POLICIES[0], [[(metric.REQUESTS_IN_FLIGHT, pod, 1.7e308, 0.0, 1.0) for pod in "ab"]], 1)
@example(POLICIES[1], [[(name, "a", 5e-324, 0.0, 1.0) for name in FAMILIES]] * 2, 2)
def test_no_measured_value_ends_a_decision(policy: Policy, looks: list[list[tuple[str, str, float, float, float]]], wanted: int) -> None:
    memory: Any = {}
    for step, samples in enumerate(looks):
        now = START + 15 * step
        memory = check(policy, told(samples, now), wanted, memory, now)


@settings(max_examples=50)
@given(policies, memories, st.integers(0, 6), st.sampled_from([0.0, 3.0, 500.0]))
@example(POLICIES[0], {"history": {"begun": START - START % 15, "open": 1.0, "seen": [1e308] * 9, "forecasts": [], "errors": []}}, 1, 3.0)
@example(POLICIES[1], {"service": {"prefill": 5e-324, "itl": 1e308}, "loads": {"samples": [1e308]}}, 2, 500.0)
def test_no_memory_ends_a_decision(policy: Policy, memory: dict[str, Any], wanted: int, requests: float) -> None:
    busy = [(metric.VLLM_RUNNING, requests, requests), (metric.VLLM_WAITING, requests, 0.0), (metric.VLLM_KV_USE, 0.5, 0.5)]
    counters = [(name, 900.0 + requests, 900.0) for name in (metric.VLLM_PROMPT_TOKENS, metric.VLLM_OUTPUT_TOKENS, metric.VLLM_FINISHED)]
    rest = [(metric.SERVE_QUEUED, 0.0, 0.0), (metric.LAST_REQUEST, START - 100, START - 100)]
    samples = [(name, "a", value, before, 1.0) for name, value, before in (*busy, *counters, *rest)]
    for step in range(3):
        now = START + 15 * step
        memory = check(policy, told(samples, now), wanted, memory, now)


@settings(max_examples=20)
@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 8), st.booleans())
def test_one_that_never_comes_keeps_no_more_than_serve_once_the_need_is_gone(wanted: int, ready: int, needed: int, sleeps: bool) -> None:
    """`ready` of the wanted serve and suffice, and the rest never will; then those that serve go one at a time, to what is needed."""
    needed = min(needed, ready, wanted)
    policy = Policy(
        min_replicas=0 if sleeps else 1,
        max_replicas=8,
        in_flight_per_replica=8,
        scale_down_seconds=60,
        idle_seconds=600 if sleeps else None,
        gpus=8,
    )
    memory: Any = {}
    most = wanted
    for step in range(40):
        now = START + 15 * step
        signals = Load(in_flight=8.0 * needed, held=0, replicas_seen=1)
        decision = decide(policy, signals, Replicas(wanted=most, ready=min(ready, most)), memory, now)
        assert decision.replicas is not None
        most, memory = decision.replicas, decision.memory
    assert most == max(needed, 1)
