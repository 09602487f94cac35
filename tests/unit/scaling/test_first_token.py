"""What is measured corrects the model, by one replica and for a while; chance, youth and other causes do not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llama_operator.scaling.first_token import FADE_SECONDS, LASTING_SECONDS, Correction, check, late, quantile, too_late
from llama_operator.scaling.policy import Policy, Replicas, decide
from llama_operator.scaling.service import Service
from llama_operator.scaling.signals import Load, Missing
from llama_operator.scaling.votes import Demand, Vote

NOW = 1_790_000_000.0
BOUNDS = (0.5, 1.0, 2.5, 5.0, math.inf)


def told(*counts: float) -> dict[float, float]:
    return dict(zip(BOUNDS, counts, strict=True))


@pytest.mark.parametrize(
    ("counts", "seconds", "want"),
    [
        ((10, 20, 30, 40, 40), 5.0, (40, 0)),
        ((10, 20, 30, 40, 50), 5.0, (50, 10)),
        ((10, 20, 30, 40, 50), 60.0, (50, 10)),  # nobody knows how late those beyond the last bound are
        ((0, 0, 0, 100, 100), 3.75, (100, 50)),
        ((50, 50, 50, 50, 50), 0.25, (50, 25)),
        ((0, 0, 0, 0, 0), 1.0, (0, 0)),
    ],
)
def test_late_are_those_above_the_objective(counts: tuple[float, ...], seconds: float, want: tuple[float, float]) -> None:
    assert late(told(*counts), seconds) == pytest.approx(want)


@pytest.mark.parametrize(
    ("sentence", "measured", "percentile", "want"),
    [
        ("a bucket fills evenly", told(0, 0, 80, 100, 100), 0.9, 3.75),
        ("the first one from zero", told(40, 40, 40, 40, 40), 0.95, 0.475),
        ("all of it is within a bound", told(0, 10, 20, 20, 20), 1.0, 2.5),
        ("just as many as a bucket holds", told(0, 19, 20, 20, 20), 0.95, 1.0),
        ("empty buckets are passed over", told(0, 0, 0, 30, 30), 0.5, 3.75),
        ("beyond the last bound that bound is told", told(0, 0, 0, 10, 100), 0.95, 5.0),
        ("too few say nothing", told(0, 0, 0, 19, 19), 0.95, None),
        ("nor does nobody", told(0, 0, 0, 0, 0), 0.95, None),
        ("how many there were in all is not known", {0.5: 30.0, 1.0: 40.0}, 0.95, None),
        ("without a bound there is no time", {math.inf: 40.0}, 0.95, None),
        ("bounds that are no times do not count", {-math.inf: 5.0, math.nan: 5.0, -1.0: 5.0, 2.0: 40.0, math.inf: 40.0}, 0.5, 1.0),
    ],
)
def test_the_measured_time_is_read_from_the_buckets(
    sentence: str, measured: dict[float, float], percentile: float, want: float | None
) -> None:
    assert quantile(measured, percentile) == (None if want is None else pytest.approx(want)), sentence


def test_the_share_that_is_later_than_the_measured_time_is_what_the_percentile_leaves() -> None:
    measured = told(13, 57, 90, 120, 120)
    for percentile in (0.1, 0.5, 0.9, 0.95, 0.99):
        seconds = quantile(measured, percentile)
        assert seconds is not None
        assert late(measured, seconds)[1] == pytest.approx((1 - percentile) * 120)


@pytest.mark.parametrize(
    ("total", "behind", "want"),
    [(100, 5, False), (100, 9, False), (100, 10, True), (1000, 60, False), (1000, 70, True), (19, 19, False), (20, 4, True)],
)
def test_chance_is_not_taken_for_lateness(total: float, behind: float, want: bool) -> None:
    assert too_late(told(0, 0, 0, total - behind, total), 5.0, 0.95) is want


def check_once(kept: Correction, modelled: float = 1.8, behind: float = 30, **over: Any) -> tuple[float, Correction]:
    """The highest vote, and what is remembered."""
    measured = None if behind < 0 else told(0, 0, 0, 100 - behind, 100)
    load = Load(in_flight=1, held=0, replicas_seen=2, first_tokens=measured)
    values: dict[str, Any] = {"ttft": 5.0, "percentile": 0.95, "ready": 2, "settled": True, "now": NOW, **over}
    demand = Demand(votes=(Vote(signal="slots", replicas=modelled, age_seconds=1),))
    seen, kept = check(demand, load, kept, **values)
    return seen.replicas, kept


def checked(factor: float = 1.0, late_since: float | None = NOW - LASTING_SECONDS, **over: Any) -> tuple[float, float]:
    """The highest vote, and the factor that is remembered."""
    vote, kept = check_once(Correction(factor=factor, since=NOW, late_since=late_since), **over)
    return vote, kept.factor


CASES: dict[str, tuple[dict[str, Any], float, float]] = {
    # sentence: what differs, the highest vote, the factor
    "late though two are enough: a third": ({}, 2.01, 1.117),
    "late since a moment: a burst may be": ({"late_since": None}, 1.8, 1.0),
    "late for nearly long enough": ({"late_since": NOW - LASTING_SECONDS + 1}, 1.8, 1.0),
    "in time": ({"behind": 3}, 1.8, 1.0),
    "not measured": ({"behind": -1}, 1.8, 1.0),
    "a replica came just now": ({"settled": False}, 1.8, 1.0),
    "the model asks for more itself": ({"modelled": 2.4}, 2.4, 1.0),
    "no matter of replicas: the model asks for less than half": ({"modelled": 0.9}, 0.9, 1.0),
    "corrected before and still late: one more": ({"factor": 1.2, "modelled": 1.5}, 2.01, 1.34),
    "corrected before and in time: it stays": ({"factor": 1.2, "behind": 0}, 2.16, 1.2),
}


@pytest.mark.parametrize("sentence", CASES)
def test_the_measured_time_is_a_check_on_the_model(sentence: str) -> None:
    change, vote, factor = CASES[sentence]
    assert checked(**change) == pytest.approx((vote, factor), abs=0.002)


@pytest.mark.parametrize(
    ("change", "begun", "going_on"),
    [
        ({}, NOW, NOW - 7),
        ({"behind": 0}, None, None),
        ({"settled": False}, None, None),
        ({"modelled": 2.4}, None, None),
        ({"behind": -1}, None, None),
    ],
    ids=["late", "in time", "a replica came", "too few by the model, too", "not measured"],
)
def test_lateness_counts_from_its_beginning_and_anything_else_that_is_seen_or_nothing_ends_it(
    change: dict[str, Any], begun: float | None, going_on: float | None
) -> None:
    assert check_once(Correction(), **change)[1].late_since == begun
    assert check_once(Correction(late_since=NOW - 7), **change)[1].late_since == going_on


def test_how_long_they_are_late_already_is_remembered() -> None:
    kept = Correction(late_since=NOW)
    assert Correction.of(kept.memory(NOW)["correction"]) == kept


def test_a_correction_fades_and_is_then_forgotten() -> None:
    kept = Correction(factor=1.5, since=NOW)
    assert kept.at(NOW) == 1.5
    assert kept.at(NOW + FADE_SECONDS) == pytest.approx(1 + 0.5 / math.e)
    assert kept.at(NOW + 5 * FADE_SECONDS) == 1.0
    assert kept.memory(NOW + 5 * FADE_SECONDS) == {}
    assert Correction.of(kept.memory(NOW)["correction"]) == kept


@pytest.mark.parametrize(
    "memory", [None, 3, {}, {"factor": "x", "since": 1}, {"factor": 9.0, "since": 1}, {"factor": 1.5, "since": math.nan}]
)
def test_a_memory_that_cannot_be_read_corrects_nothing(memory: Any) -> None:
    assert Correction.of(memory) == Correction()


LATE = {0.5: 0.0, 5.0: 10.0, math.inf: 40.0}
BELIEF = Service(prefill=5000.0, slots=10.0, itl=0.05, kv=1e6)
TIMELY = Policy(min_replicas=1, max_replicas=4, ttft_seconds=5.0, service=BELIEF)


def look(memory: Any, now: float, seen: Load | Missing) -> Any:
    return decide(TIMELY, seen, Replicas(wanted=2, ready=2), memory, now).memory


def late_load() -> Load:
    """Two replicas do by the model, 1.2 would, and three of four first tokens are late."""
    rates = {"running": 12.0, "waiting": 0.0, "prompt_rate": 100.0, "output_rate": 240.0, "kv_use": 0.1, "finish_rate": 1.0, "growth": 0.0}
    return Load(in_flight=12, held=0, replicas_seen=2, first_tokens=LATE, first_tokens_since=NOW - 60, **rates)


@pytest.mark.parametrize(
    ("between", "corrected"),
    [
        ([late_load()] * 59, True),
        ([Missing(reason="PrometheusUnreachable", message="gone")] * 59, False),
        ([], False),
    ],
    ids=["late all the while", "Prometheus was gone", "nobody looked"],
)
def test_late_before_and_after_a_time_that_nobody_saw_is_not_late_all_the_while(between: list[Load | Missing], corrected: bool) -> None:
    memory = look({}, NOW, late_load())
    assert memory["correction"]["lateSince"] == NOW
    for step, seen in enumerate(between, 1):
        memory = look(memory, NOW + 5 * step, seen)
    memory = look(memory, NOW + LASTING_SECONDS, late_load())
    assert (memory["correction"]["factor"] > 1) is corrected
