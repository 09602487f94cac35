"""The peers' arithmetic, as their sources have it, and all of them in one run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llama_operator.scaling.policy import Policy
from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.generate import CONVERSATION, poisson
from llama_operator.simulate.policies import aibrix, aibrix_kpa, clairvoyant, hpa, keda, knative, ray_serve
from llama_operator.simulate.policies.ours import Ours
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.report import report
from llama_operator.simulate.service import Request, Service, check_service
from llama_operator.simulate.view import ReadyReplica, Sample, Scaler, Scrape, View

VIEW = View(now=1000.0, scrapes=[], wanted=4, ready=(), loading=0, draining=(), minimum=1, maximum=99)


@pytest.mark.parametrize(
    ("total", "seen", "unseen", "wanted", "want"),
    [
        (40, 4, 0, 4, 4), (43, 4, 0, 4, 4), (45, 4, 0, 4, 5), (37, 4, 0, 4, 4), (20, 4, 0, 4, 2), (0, 4, 0, 4, 0),
        (80, 2, 2, 4, 8), (42, 2, 2, 4, 4), (30, 2, 2, 4, 4), (10, 2, 2, 4, 3), (1, 1, 3, 4, 4), (3, 2, 4, 6, 5),
    ],
)  # fmt: skip
def test_hpa(total: float, seen: int, unseen: int, wanted: int, want: int) -> None:
    assert hpa.recommend(total, seen, unseen, wanted, 10) == want


@pytest.mark.parametrize(
    ("recommended", "past", "want"),
    [(99, (), 8), (6, (), 6), (1, (), 4), (1, ((800.0, 3),), 3), (1, ((699.0, 3), (800.0, 1)), 1)],
)
def test_hpa_steps_up_by_limits_and_down_by_its_window(recommended: int, past: tuple[tuple[float, int], ...], want: int) -> None:
    assert hpa.behave(recommended, VIEW, past).replicas == want


@pytest.mark.parametrize(("total", "wanted", "want"), [(43, 4, 4), (45, 4, 5), (35, 4, 4), (30, 4, 3), (0, 4, 0), (500, 1, 50)])
def test_keda(total: float, wanted: int, want: int) -> None:
    assert keda.recommend(total, wanted, 10) == want


@pytest.mark.parametrize(
    ("stable", "panicked", "ready", "panic", "want"),
    [
        (35, 35, 4, knative.Panic(), (4, knative.Panic())),
        (10, 10, 4, knative.Panic(), (2, knative.Panic())),
        (40, 80, 4, knative.Panic(), (8, knative.Panic(100.0, 8))),
        (40, 20, 4, knative.Panic(90.0, 8), (8, knative.Panic(90.0, 8))),
        (40, 20, 4, knative.Panic(30.0, 8), (4, knative.Panic())),
        (5, 5, 0, knative.Panic(), (1, knative.Panic())),
    ],
)
def test_knative(stable: float, panicked: float, ready: int, panic: knative.Panic, want: tuple[int, knative.Panic]) -> None:
    assert knative.scale(stable, panicked, ready, 10, panic, 100.0) == want


@pytest.mark.parametrize(
    ("desired", "wanted", "counter", "want"),
    [
        (5, 4, 0, (4, 1)),
        (5, 4, 30, (5, 0)),
        (5, 4, -90, (4, 1)),
        (4, 4, 20, (4, 0)),
        (2, 4, -599, (4, -600)),
        (0, 4, -600, (1, 0)),
        (0, 1, -600, (0, 0)),
    ],
)
def test_ray_serve(desired: int, wanted: int, counter: int, want: tuple[int, int]) -> None:
    assert ray_serve.delay(desired, wanted, counter) == want


@pytest.mark.parametrize(("average", "replicas", "want"), [(11, 4, 4), (12, 4, 5), (90, 2, 4), (9, 4, 4), (8, 4, 4), (1, 8, 4), (6, 4, 3)])
def test_aibrix(average: float, replicas: int, want: int) -> None:
    assert aibrix.recommend(average, replicas, 10) == want


def test_aibrix_averages_over_its_window_and_goes_down_to_the_least_of_its_cooldown() -> None:
    def seen(*loads: int) -> View:
        scrapes = [Scrape(1000.0 - 10 * age, (Sample("a", load, 0, 0.0, 0.0, 0.0),), 0) for age, load in enumerate(loads)]
        return replace(VIEW, scrapes=scrapes[::-1])

    assert aibrix.Aibrix(target=10).look(seen(12, 28), None).replicas == 8
    assert aibrix.Aibrix(target=10).look(seen(8, 6), ((800.0, 2), (600.0, 1))).replicas == 2
    assert aibrix.Aibrix(target=10).look(VIEW, None).replicas is None


@pytest.mark.parametrize(
    ("stable", "panicked", "replicas", "want"),
    [(35, 35, 4, 4), (90, 90, 4, 8), (9, 9, 4, 4), (5, 5, 4, 2), (20, 60, 4, 6), (20, 39, 4, 2), (0, 30, 4, 3), (0, 0, 4, 2)],
)
def test_aibrix_kpa(stable: float, panicked: float, replicas: int, want: int) -> None:
    assert aibrix_kpa.recommend(stable, panicked, replicas, 10) == want


def test_aibrix_kpa_sees_what_is_held_and_panics_on_a_third_of_its_window() -> None:
    scrapes = [Scrape(1000.0 - age, (Sample("a", 10, 0, 0.0, 0.0, 0.0),), 80 if age < 60 else 0) for age in range(170, -1, -10)]
    assert aibrix_kpa.AibrixKpa(target=10).look(replace(VIEW, scrapes=scrapes), None).replicas == 8
    assert aibrix_kpa.AibrixKpa(target=10).look(VIEW, None).replicas is None


def in_flight(*numbers: int) -> View:
    """Four ready replicas with those requests, one number for each scrape and second, the newest now."""
    names = "abcd"
    scrapes = [
        Scrape(1001.0 - len(numbers) + index, tuple(Sample(name, number // 4, 0, 0.0, 0.0, 0.0) for name in names), 0)
        for index, number in enumerate(numbers)
    ]
    return replace(VIEW, scrapes=scrapes, ready=tuple(ReadyReplica(name, 0.0) for name in names))


PAST = ((800.0, 4), (960.0, 3))


@pytest.mark.parametrize(
    ("scaler", "view", "memory", "want"),
    [
        (hpa.Hpa(target=10), in_flight(20), PAST, 4),
        (hpa.Hpa(target=10, down_seconds=60), in_flight(20), PAST, 3),
        (hpa.Hpa(target=10, down_seconds=0), in_flight(20), PAST, 2),
        (keda.Keda(target=10), in_flight(60), keda.Remembered(total=20, polled=990.0), 6),
        (keda.Keda(target=10, cached_seconds=30), in_flight(60), keda.Remembered(total=80, polled=990.0), 8),
        (keda.Keda(target=10, cached_seconds=30), in_flight(60), keda.Remembered(total=80, polled=970.0), 6),
        (keda.Keda(target=10, down_seconds=60), in_flight(20), keda.Remembered(hpa=PAST), 3),
        (knative.Knative(target=100 / 7), in_flight(20, *[40] * 59), knative.Panic(), 4),
        (knative.Knative(target=100 / 7, stable_seconds=30), in_flight(*[60] * 40, *[24] * 20, *[40] * 10), knative.Panic(), 3),
        (ray_serve.RayServe(target=10), in_flight(60), 10, 4),
        (ray_serve.RayServe(target=10, up_seconds=10), in_flight(60), 10, 6),
        (ray_serve.RayServe(target=10, down_seconds=60), in_flight(20), -60, 2),
        (aibrix.Aibrix(target=10), in_flight(*[60] * 100, *[40] * 80), (), 6),
        (aibrix.Aibrix(target=10, observe_seconds=60), in_flight(*[60] * 100, *[40] * 80), (), 4),
    ],
)  # fmt: skip
def test_a_setting_of_a_peer_changes_what_it_is_said_to_change(scaler: Scaler, view: View, memory: Any, want: int) -> None:
    assert scaler.look(view, memory).replicas == want


@pytest.mark.parametrize(
    ("needs", "shortest", "want"),
    [([], 2, []), ([2, 0, 0, 1, 2], 1, [2, 0, 0, 1, 2]), ([2, 0, 0, 1, 2], 2, [2, 1, 1, 1, 2]), ([2, 0, 0, 1, 2], 3, [2, 2, 2, 2, 2])],
)
def test_the_clairvoyant_fills_short_gaps(needs: list[int], shortest: int, want: list[int]) -> None:
    assert clairvoyant.fill(needs, shortest) == want


def all_runs(requests: list[Request], setup: Setup) -> list[Outcome]:
    mine = Ours(policy=Policy(min_replicas=1, max_replicas=1, in_flight_per_replica=32))
    kinds = (hpa.Hpa, keda.Keda, knative.Knative, ray_serve.RayServe, aibrix.Aibrix, aibrix_kpa.AibrixKpa)
    peers: tuple[Scaler, ...] = tuple(kind(target=32) for kind in kinds)
    known = clairvoyant.schedules(requests, setup.service, setup.load.seconds, (0.8,))
    scalers: list[Scaler] = [mine, *peers, Static(replicas=3), *known]
    return [simulate(requests, scaler, setup) for scaler in scalers]


def test_all_policies_run_on_the_same_traffic_and_are_told_side_by_side() -> None:
    requests = list(poisson(CONVERSATION, 900, seed=1))
    outcomes = all_runs(requests, Setup(service=Service(), load=LoadTime(seconds=60, spread=0.2), initial=3, maximum=12))
    told = json.loads(json.dumps(report(outcomes, 6.0), allow_nan=False))
    assert told["schemaVersion"] == 1
    assert [run["policy"] for run in told["runs"]] == [
        "ours",
        "hpa",
        "keda",
        "kpa",
        "ray",
        "aibrix",
        "aibrix-kpa",
        "static:3",
        "clairvoyant",
    ]
    assert all((run["unserved"], run["requests"]) == (0, len(requests)) for run in told["runs"])
    assert told["runs"][-1]["attainmentVsClairvoyant"] == told["runs"][-1]["replicaSecondsVsClairvoyant"] == 1
    assert told["runs"][-1]["attainment"] > 0.98


def test_without_requests_every_number_that_does_not_exist_is_null() -> None:
    (told,) = report([Outcome(policy="ours")], 6.0)["runs"]
    assert [key for key, value in told.items() if value is None] == [
        "attainment",
        "meanReplicas",
        "attainmentVsClairvoyant",
        "replicaSecondsVsClairvoyant",
    ]
    assert set(told["ttft"].values()) == {None}


@pytest.mark.parametrize(
    ("service", "names"),
    [
        (Service(), []),
        (Service(slots=0, prefill=float("nan")), ["prefill", "slots"]),
        (Service(itl=0), ["itl"]),
        (Service(itl=100, prefill=0.1), ["prefill", "itl"]),
        (Service(kv=0, chunk=-1), ["kv", "chunk"]),
    ],
)
def test_a_service_that_is_none_is_refused(service: Service, names: list[str]) -> None:
    assert [problem.field for problem in check_service(service)] == [f"--service {name}" for name in names]
