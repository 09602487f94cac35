"""What holds for every load, every moment and every memory: bounds, monotony, calm, and no decision on what was not seen."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llama_operator.scaling.policy import Policy, Replicas, decide
from llama_operator.scaling.signals import Load, Missing

START = 1_790_000_000.0
requests = st.floats(min_value=0, max_value=1e5)
policies = st.builds(
    lambda least, more, each, up, down: Policy(
        min_replicas=least, max_replicas=least + more, in_flight_per_replica=each, scale_up_seconds=up, scale_down_seconds=down
    ),
    st.integers(1, 20),
    st.integers(0, 30),
    st.integers(1, 64).map(float),
    st.sampled_from([0.0, 10.0, 60.0]),
    st.sampled_from([0.0, 30.0, 300.0]),
)
looks = st.lists(st.tuples(st.floats(min_value=0.1, max_value=60), st.one_of(st.none(), requests)), max_size=40)


def load(value: float) -> Load:
    return Load(in_flight=value, held=0, age_seconds=1, replicas_seen=1)


def follow(policy: Policy, script: list[tuple[float, float | None]], wanted: int) -> tuple[int, Any, float]:
    """Wanted number, memory and time after a script of pauses and loads (None: blind)."""
    memory: Any = {}
    now = START
    for pause, value in script:
        now += pause
        signals = Missing(reason="MetricsMissing", message="x") if value is None else load(value)
        decision = decide(policy, signals, Replicas(wanted=wanted, ready=wanted), memory, now)
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
def test_without_its_memory_it_never_wants_fewer_than_with_it(
    policy: Policy, script: list[tuple[float, float | None]], wanted: int, last: float
) -> None:
    """The memory is lost with the status: that may keep replicas longer, and never shorter."""
    if policy.scale_down_seconds == 0 or policy.scale_up_seconds > 0:
        return
    wanted, memory, now = follow(policy, script, wanted)
    replicas = Replicas(wanted=wanted, ready=wanted)
    with_memory = decide(policy, load(last), replicas, memory, now + 5).replicas
    without = decide(policy, load(last), replicas, {}, now + 5).replicas
    assert with_memory is not None
    assert without is not None
    assert without >= with_memory


@given(policies, looks, st.integers(1, 60))
def test_the_memory_stays_small(policy: Policy, script: list[tuple[float, float | None]], wanted: int) -> None:
    _, memory, _ = follow(policy, script, wanted)
    assert len(memory.get("points", ())) <= 12
