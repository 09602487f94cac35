"""What holds for every load, every moment and every memory: bounds, monotony, calm, and no decision on what was not seen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.depth import DEEP

from llama_operator.scaling.costs import Costs, down_window
from llama_operator.scaling.loads import Loads
from llama_operator.scaling.policy import Policy, Replicas, decide
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
    lambda least, more, objective, up, down, short, gpus: Policy(
        min_replicas=least,
        max_replicas=least + more,
        scale_up_seconds=up,
        scale_down_seconds=down,
        costs=Costs(short=short),
        gpus=gpus,
        **objective,
    ),
    st.integers(1, 20),
    st.integers(0, 30),
    objectives,
    st.sampled_from([0.0, 10.0, 60.0]),
    st.sampled_from([0.0, 30.0, 300.0, None]),
    st.sampled_from([0.5, 4.0, 99.0]),
    st.sampled_from([1, 8]),
)
sleepers = st.builds(
    lambda objective, idle, gpus: Policy(
        min_replicas=0, max_replicas=5, scale_down_seconds=60.0, idle_seconds=idle, gpus=gpus, **objective
    ),
    objectives,
    st.sampled_from([60.0, 300.0]),
    st.sampled_from([1, 8]),
)
looks = st.lists(st.tuples(st.floats(min_value=0.1, max_value=60), st.one_of(st.none(), requests)), max_size=40)


def load(value: float) -> Load:
    """Requests that all run, each with 10 output tokens and 50 prompt tokens per second."""
    return Load(
        in_flight=value,
        held=0,
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


def down_seconds(policy: Policy, memory: Any) -> float:
    """The down window as it is known by now."""
    return down_window(policy.scale_down_seconds, policy.costs, Loads.of(memory.get("loads")), policy.load_seconds).seconds


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
    # Replicas of several GPUs go one at a time.
    assert len(set(seen)) <= 2 or (policy.gpus > 1 and seen[0] > seen[-1])


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
    """A restarted operator has the memory, and knows that it did not look. The window is the user's, or the one that was learned."""
    if policy.scale_down_seconds == 0:
        return
    wanted, memory, now = follow(policy, script, wanted)
    away = max(away, down_seconds(policy, memory))
    within = min(max(wanted, policy.min_replicas), policy.max_replicas)
    looked = 0.0
    while looked < down_seconds(policy, memory) - 1:
        decision = decide(policy, load(last), Replicas(wanted=wanted, ready=wanted), memory, now + away + looked)
        memory = decision.memory
        if not looked and away < down_seconds(policy, memory):
            return  # what came meanwhile was taken for a long load, and the window is longer than the absence now
        assert decision.replicas is not None
        assert decision.replicas >= within
        wanted, looked = decision.replicas, looked + max(5, down_seconds(policy, memory) / 10)


def test_an_absence_a_little_longer_than_a_short_window_is_noticed_wherever_the_buckets_lie() -> None:
    policy = Policy(min_replicas=1, max_replicas=2, in_flight_per_replica=1.0, scale_down_seconds=30.0)
    wanted, memory, now = follow(policy, [(1.0, 0.0)], 2)
    decision = decide(policy, load(0.0), Replicas(wanted=wanted, ready=wanted), memory, now + 31)
    assert decision.replicas == 2


@given(policies, looks, st.integers(1, 60), requests)
def test_a_memory_that_went_through_the_status_decides_the_same(
    policy: Policy, script: list[tuple[float, float | None]], wanted: int, last: float
) -> None:
    wanted, memory, now = follow(policy, script, wanted)
    replicas = Replicas(wanted=wanted, ready=wanted)
    assert decide(policy, load(last), replicas, memory, now + 5) == decide(
        policy, load(last), replicas, json.loads(json.dumps(memory)), now + 5
    )


@settings(max_examples=10 if DEEP else 3)
@given(policies, st.lists(requests, min_size=1, max_size=50), st.integers(1, 60), st.integers(0, 60))
def test_the_memory_stays_small(policy: Policy, values: list[float], wanted: int, ready: int) -> None:
    _, memory, _ = follow(policy, [(15.0, values[step % len(values)]) for step in range(500)], wanted, ready)
    assert len(json.dumps(memory, separators=(",", ":"))) < 6144


@settings(max_examples=60)
@given(
    sleepers,
    st.lists(
        st.tuples(st.sampled_from([5.0, 15.0, 90.0]), st.sampled_from(["idle", "busy", "held", "blind", "short", "new"])), max_size=40
    ),
    st.integers(0, 5),
)
def test_zero_comes_only_after_a_whole_idle_time_and_never_while_blind(
    policy: Policy, script: list[tuple[float, str]], wanted: int
) -> None:
    """Pauses of 90 s are an operator that is restarted. `short`: a request that no look saw; `new`: the replicas were replaced."""
    memory, now, last = {}, START, START
    assert policy.idle_seconds is not None
    for pause, what in [*script, *([(15.0, "idle")] * 8)]:
        now += pause
        if what in {"busy", "short", "new"}:
            last = now
        requests, held = (3.0 if what == "busy" and wanted else 0.0), (2.0 if what == "held" else 0.0)
        seen = replace(load(requests), held=held, last_request=last if wanted else None, holder_seen=True)
        signals = Missing(reason="MetricsStale", message="x") if what == "blind" else seen
        decision = decide(policy, signals, Replicas(wanted=wanted, ready=wanted), memory, now)
        if what == "blind":
            assert decision.replicas is None
        elif decision.replicas == 0 and wanted:
            assert (what in {"idle", "short", "new"}, now - last >= policy.idle_seconds) == (True, True)
        elif wanted == 0:
            assert (decision.replicas != 0) == (held > 0)
        memory = json.loads(json.dumps(decision.memory))
        wanted = wanted if decision.replicas is None else decision.replicas


@given(policies, looks, st.integers(1, 60), requests, st.integers(0, 3), st.booleans())
def test_no_guard_ever_adds_to_what_is_asked_for(
    policy: Policy, script: list[tuple[float, float | None]], wanted: int, last: float, room: int, settled: bool
) -> None:
    """With less place fewer are wanted, never below those that there are; and while something is being mended none goes."""
    wanted, memory, now = follow(policy, script, wanted)
    free = decide(policy, load(last), Replicas(wanted=wanted, ready=wanted), memory, now + 5).replicas
    guarded = Replicas(wanted=wanted, ready=wanted, room=room, unsettled="" if settled else "a rollout is under way")
    held = decide(policy, load(last), guarded, memory, now + 5).replicas
    within = min(max(wanted, policy.min_replicas), policy.max_replicas)
    assert free is not None
    assert held is not None
    assert held == max(free, within if not settled else 0) if free <= within else within <= held <= min(free, within + room)
