"""What holds for every load, every moment and every memory: bounds, monotony, calm, and no decision on what was not seen."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_operator.scaling.policy import Costs, Policy, Replicas, decide
from llama_operator.scaling.service import Service
from llama_operator.scaling.signals import Load, Missing

START = 1_790_000_000.0
requests = st.floats(min_value=0, max_value=1e5)
SERVICE = Service(prefill=5000, slots=32, itl=0.05, kv=400_000)
objectives = st.one_of(
    st.integers(1, 64).map(lambda each: {"in_flight_per_replica": float(each)}),
    st.floats(0.1, 60).map(lambda seconds: {"ttft_seconds": seconds, "service": SERVICE}),
)
policies = st.builds(
    lambda least, more, objective, up, down, short: Policy(
        min_replicas=least, max_replicas=least + more, scale_up_seconds=up, scale_down_seconds=down, costs=Costs(short=short), **objective
    ),
    st.integers(1, 20),
    st.integers(0, 30),
    objectives,
    st.sampled_from([0.0, 10.0, 60.0]),
    st.sampled_from([0.0, 30.0, 300.0, None]),
    st.sampled_from([0.5, 4.0, 99.0]),
)
looks = st.lists(st.tuples(st.floats(min_value=0.1, max_value=60), st.one_of(st.none(), requests)), max_size=40)


def load(value: float) -> Load:
    """Requests that all run, each with 10 output tokens and 50 prompt tokens per second."""
    return Load(
        in_flight=value,
        held=0,
        age_seconds=1,
        replicas_seen=1,
        running=value,
        waiting=0,
        prompt_rate=50 * value,
        output_rate=10 * value,
        kv_use=value / 1000,
    )


def follow(policy: Policy, script: list[tuple[float, float | None]], wanted: int, ready: int | None = None) -> tuple[int, Any, float]:
    """Wanted number, memory and time after a script of pauses and loads (None: blind). `ready` None: whatever is wanted."""
    memory: Any = {}
    now = START
    for pause, value in script:
        now += pause
        signals = Missing(reason="MetricsMissing", message="x") if value is None else load(value)
        decision = decide(policy, signals, Replicas(wanted=wanted, ready=wanted if ready is None else ready), memory, now)
        wanted = wanted if decision.replicas is None else decision.replicas
        memory = decision.memory
    return wanted, memory, now


@given(policies, looks, st.integers(0, 60), requests)
def test_a_decision_is_within_the_bounds(policy: Policy, script: list[tuple[float, float | None]], wanted: int, last: float) -> None:
    wanted, memory, now = follow(policy, script, wanted)
    decision = decide(policy, load(last), Replicas(wanted=wanted, ready=0), memory, now + 5)
    assert decision.replicas is not None
    assert policy.min_replicas <= decision.replicas <= policy.max_replicas


@given(policies, looks, st.integers(1, 60), requests, requests)
def test_more_load_never_wants_fewer(
    policy: Policy, script: list[tuple[float, float | None]], wanted: int, one: float, other: float
) -> None:
    wanted, memory, now = follow(policy, script, wanted)
    less, more = sorted((one, other))
    few = decide(policy, load(less), Replicas(wanted=wanted, ready=wanted), memory, now + 5).replicas
    many = decide(policy, load(more), Replicas(wanted=wanted, ready=wanted), memory, now + 5).replicas
    assert few is not None
    assert many is not None
    assert few <= many


@given(policies, looks, st.integers(0, 60))
def test_missing_never_changes_anything(policy: Policy, script: list[tuple[float, float | None]], wanted: int) -> None:
    wanted, memory, now = follow(policy, script, wanted)
    decision = decide(policy, Missing(reason="MetricsStale", message="x"), Replicas(wanted=wanted, ready=0), memory, now + 5)
    assert decision.replicas is None
    assert decision.memory == memory


@given(policies, requests, st.integers(1, 60))
def test_constant_load_settles_and_never_flaps(policy: Policy, value: float, wanted: int) -> None:
    memory: Any = {}
    seen = []
    for step in range(150):
        decision = decide(policy, load(value), Replicas(wanted=wanted, ready=wanted), memory, START + 5 * step)
        assert decision.replicas is not None
        wanted, memory = decision.replicas, decision.memory
        seen.append(wanted)
    assert sorted(seen) == seen or sorted(seen, reverse=True) == seen
    assert len(set(seen)) <= 2


@given(policies, looks, st.integers(1, 60), requests)
def test_without_its_memory_it_never_goes_down(policy: Policy, script: list[tuple[float, float | None]], wanted: int, last: float) -> None:
    """The memory is lost with the status: that may keep replicas longer, and never shorter."""
    if policy.scale_down_seconds == 0:
        return
    wanted, _, now = follow(policy, script, wanted)
    within = min(max(wanted, policy.min_replicas), policy.max_replicas)
    without = decide(policy, load(last), Replicas(wanted=wanted, ready=wanted), {}, now + 5).replicas
    assert without is not None
    assert without >= within


@given(policies, looks, st.integers(1, 60), st.floats(31, 10_000), requests)
def test_after_an_absence_it_never_goes_down_before_it_has_looked_for_a_whole_window(
    policy: Policy, script: list[tuple[float, float | None]], wanted: int, away: float, last: float
) -> None:
    """A restarted operator has the memory, and knows that it did not look."""
    if policy.scale_down_seconds is None or policy.scale_down_seconds == 0:
        return
    wanted, memory, now = follow(policy, script, wanted)
    now += max(away, policy.scale_down_seconds)
    within = min(max(wanted, policy.min_replicas), policy.max_replicas)
    for _ in range(5):
        decision = decide(policy, load(last), Replicas(wanted=wanted, ready=wanted), memory, now)
        assert decision.replicas is not None
        assert decision.replicas >= within
        wanted, memory, now = decision.replicas, decision.memory, now + 5


@given(policies, looks, st.integers(1, 60), requests)
def test_a_memory_that_went_through_the_status_decides_the_same(
    policy: Policy, script: list[tuple[float, float | None]], wanted: int, last: float
) -> None:
    wanted, memory, now = follow(policy, script, wanted)
    replicas = Replicas(wanted=wanted, ready=wanted)
    assert decide(policy, load(last), replicas, memory, now + 5) == decide(
        policy, load(last), replicas, json.loads(json.dumps(memory)), now + 5
    )


@settings(max_examples=10)
@given(policies, st.lists(requests, min_size=1, max_size=50), st.integers(1, 60), st.integers(0, 60))
def test_the_memory_stays_small(policy: Policy, values: list[float], wanted: int, ready: int) -> None:
    _, memory, _ = follow(policy, [(15.0, values[step % len(values)]) for step in range(500)], wanted, ready)
    assert len(json.dumps(memory, separators=(",", ":"))) < 4096
