"""Traffic in columns, what a replica sustains, the lineup, and policies side by side with their plots."""

from __future__ import annotations

import itertools
import math
import random
import sys
from array import array
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, Hardware
from llama_operator.planning.models.catalogue import known_facts
from llama_operator.planning.replica import SHARE, default_slots, rates_of_fit
from llama_operator.simulate import figures
from llama_operator.simulate.capacity import capacity, in_flight_target, replicas_at_begin
from llama_operator.simulate.compare import Contest, compare, neighbours, variations
from llama_operator.simulate.document import REFERENCE
from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.figures import percentiles
from llama_operator.simulate.from_plan import service_of_rates
from llama_operator.simulate.generate import CONVERSATION, KINDS, MOONCAKE, bursty, poisson
from llama_operator.simulate.history import begun_at, read_history, synthesise
from llama_operator.simulate.lineup import Objective, check_static, read_policies, scaler
from llama_operator.simulate.plot import BINS, demand_of, plot_of, width_of
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.report import GOOD_ATTAINMENT
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.traces import BadTraceError, detect, superpose
from llama_operator.simulate.traffic import Traffic, gather

WORLD = Setup(service=Service(), load=LoadTime(seconds=30), initial=3, maximum=6)
ROWS = [Request(0.0, 1000.0, 10.0), Request(5.0, 3000.0, 20.0), Request(5.0, 2000.0, 60.0)]


def test_columns_give_back_what_was_gathered() -> None:
    traffic = gather(ROWS)
    assert list(traffic) == list(traffic) == ROWS
    assert (len(traffic), traffic.seconds, traffic.mean_prompt, traffic.mean_output) == (3, 5.0, 2000.0, 30.0)


def test_copies_of_columns_are_copies_of_the_trace() -> None:
    traffic = gather(ROWS, copies=3)
    assert list(traffic) == list(superpose(lambda: ROWS, 3))
    assert (len(traffic), traffic.seconds) == (9, pytest.approx(19.6))


def test_the_longest_request_is_held_exactly() -> None:
    most = Request(0.1, 10_000_000.0, 9_999_999.0)
    assert list(gather([most])) == [most]


def test_a_request_takes_sixteen_bytes() -> None:
    traffic = gather(Request(float(index), 5.0, 5.0) for index in range(100_000))
    assert sum(sys.getsizeof(column) for column in (traffic.arrivals, traffic.prompts, traffic.outputs)) < 20 * 100_000


@given(st.lists(st.one_of(st.floats(0, 1e6), st.just(math.nan)), max_size=60), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_percentiles_are_by_nearest_rank_however_many_there_are(values: list[float], share: float) -> None:
    ranked = sorted(math.inf if math.isnan(value) else value for value in values)
    exact = ranked[max(math.ceil(share * len(ranked)) - 1, 0)] if ranked else math.inf
    for most in (10, 1_000_000):
        with patch.object(figures, "SORTED", most):
            assert percentiles(array("d", values), (share,)) == [exact if math.isfinite(exact) else None]


def test_a_replica_sustains_what_it_is_said_to() -> None:
    """Requests like the mean one at 95 % of the capacity are served without a growing queue, and at 105 % the queue grows."""
    service = Service()
    each = capacity(service, 1155.0, 211.0)
    assert each.requests_per_second == pytest.approx(64 / 21.1, rel=0.01)
    for use, steady in ((0.95, True), (1.05, False)):
        pause = 1 / (each.requests_per_second * use)
        rows = [Request(index * pause, 1155.0, 211.0) for index in range(6000)]
        setup = Setup(service=service, load=LoadTime(seconds=0), maximum=1, grace=1e6)
        outcome = simulate(rows, Static(replicas=1), setup)
        assert (outcome.ttft[-1] < 2 * outcome.ttft[2000] + 1) == steady


def test_prompts_are_the_scarcer_room_where_they_are_long() -> None:
    each = capacity(Service(), 12_000.0, 100.0)
    assert each.requests_per_second == pytest.approx(4900 / 12_000)
    assert capacity(Service(kv=math.inf), 12_000.0, 100.0) == each
    assert capacity(Service(kv=10.0), 12_000.0, 100.0).in_flight < 2


def test_defaults_follow_from_the_traffic() -> None:
    traffic = gather(poisson(CONVERSATION, 1200, seed=1))
    assert in_flight_target(Service(), traffic) == pytest.approx(45, abs=2)
    assert replicas_at_begin(Service(), traffic) == 3
    assert (in_flight_target(Service(), Traffic()), replicas_at_begin(Service(), Traffic())) == (1, 0)


def test_a_plan_becomes_a_service() -> None:
    model, accelerator = known_facts("hf://meta-llama/Llama-3.1-8B"), CATALOGUE["nvidia-h100-80gb"]
    assert model is not None
    fit = plan_fit(model, Hardware(accelerator=accelerator, gpus_per_node=8), Wishes(context_tokens=8192)).chosen
    assert fit is not None
    rates = rates_of_fit(fit, 8192, 2000.0, default_slots(accelerator))
    assert rates is not None
    service = service_of_rates(rates)
    assert service.slots == 1024
    assert service.kv == fit.cache.tokens
    assert service.prefill == pytest.approx((fit.prefill_tokens_per_second or 0) * SHARE)
    floor, step = fit.decode_floor_seconds or 0, fit.step_floor_seconds or 0
    assert service.itl + service.itl_per_sequence * 8192 / 2000 == pytest.approx(step / SHARE)
    assert service.itl == pytest.approx(floor / SHARE)
    assert rates_of_fit(replace(fit, decode_floor_seconds=None), 8192, 2000.0, 1) is None


@pytest.mark.parametrize(("name", "slots"), [("nvidia-h100-80gb", 1024), ("nvidia-a100-80gb", 256), ("nvidia-l4-24gb", 256), ("cpu", 256)])
def test_slots_are_vllms_where_nothing_is_said(name: str, slots: int) -> None:
    assert default_slots(CATALOGUE[name]) == slots


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("ours,hpa,keda,kpa,ray,aibrix,static:8,clairvoyant", ["ours", "hpa", "keda", "kpa", "ray", "aibrix", "static:8", "clairvoyant"]),
        ("aibrix-kpa,aibrix-kpa:40", ["aibrix-kpa", "aibrix-kpa:40"]),
        (" ours , hpa:12.5,hpa", ["ours", "hpa:12.5", "hpa"]),
    ],
)
def test_policies_are_read_by_name(text: str, labels: list[str]) -> None:
    entries, problems = read_policies(text)
    assert problems == []
    assert [entry.label for entry in entries] == labels
    named = [scaler(entry, Objective(in_flight=30), WORLD).name for entry in entries if entry.name != REFERENCE]
    assert named == [label for label in labels if label != REFERENCE]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", '"" is given; allowed is one of ours, hpa, keda, kpa, ray, aibrix, aibrix-kpa, static:N, clairvoyant'),
        ("our", "Did you mean ours?"),
        ("keda,knative", '"knative" is given'),
        ("clairvoyent", "Did you mean clairvoyant?"),
        ("statik:3", "Did you mean static:N?"),
        ("static", "Write static:8 for eight."),
        ("static:8.5", "N being a whole number of replicas from 0 to 1000"),
        ("static:1001", "N being a whole number"),
        ("hpa:", "hpa:N, N being a number of requests above 0"),
        ("hpa:nan", "N being a number of requests above 0"),
        ("ours:3", "ours without a number"),
        ("ours,hpa,ours", "every policy once"),
    ],
)
def test_a_policy_that_is_none_is_named(text: str, says: str) -> None:
    _, problems = read_policies(text)
    assert len(problems) == 1
    assert says in problems[0].message


def test_a_fixed_number_outside_the_bounds_is_refused() -> None:
    entries, _ = read_policies("static:8,static:30,ours")
    assert [problem.given for problem in check_static(entries, 1, 24)] == ['"static:30"']
    assert [problem.given for problem in check_static(entries, 9, 24)] == ['"static:8"', '"static:30"']


def contest(*names: str, seconds: float = 600, **changes: object) -> Contest:
    made = Contest(
        traffic=gather(poisson(CONVERSATION, seconds, seed=1)),
        entries=tuple(read_policies(",".join(names))[0]),
        setup=WORLD,
        objective=Objective(in_flight=32),
        ttft_seconds=6.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_policies_are_compared_in_the_order_in_which_they_are_asked_for() -> None:
    seen: list[str] = []

    def watch(name: str, requests: object) -> object:
        seen.append(name)
        return requests

    runs = list(compare(contest("clairvoyant", "static:3", "hpa:9", "ours"), watch))  # type: ignore[arg-type]
    assert [run.figures.policy for run in runs] == ["clairvoyant", "static:3", "hpa:9", "ours"]
    assert seen[-3:] == ["static:3", "hpa:9", "ours"]
    assert 1 <= seen.count("clairvoyant") <= 6
    assert (runs[0].figures.attainment or 0) >= GOOD_ATTAINMENT


def test_where_the_reference_attains_little_it_attains_most() -> None:
    (run,) = compare(contest("clairvoyant", ttft_seconds=0.05))
    assert 0 < (run.figures.attainment or 0) < GOOD_ATTAINMENT


def test_neighbours_move_one_setting_each() -> None:
    small = contest("ours", seconds=120)
    runs = list(neighbours(small))
    assert [run.figures.policy for run in runs] == [
        "ours@min=0", "ours@min=2", "ours@max=5", "ours@max=7", "ours@target=24", "ours@target=40",
    ]  # fmt: skip
    edge = replace(small, setup=replace(small.setup, minimum=1, maximum=1, initial=1), objective=Objective(in_flight=1))
    assert [change for change, _, _ in variations(edge)] == ["min=0", "max=2"]
    assert all(setup.minimum <= setup.initial <= setup.maximum for _, setup, _ in variations(edge))
    timely = replace(edge, objective=Objective(in_flight=9, of_ttft=True))
    assert [change for change, _, _ in variations(timely)][2:] == ["ttft=4.5", "ttft=7.5"]


@pytest.mark.parametrize(("seconds", "width"), [(0, 1), (240, 1), (241, 2), (3600, 15), (604_800, 3600), (1e9, math.ceil(1e9 / 240))])
def test_bins_are_few(seconds: float, width: int) -> None:
    assert width_of(seconds) == width
    assert seconds / width <= BINS


def test_a_plot_adds_up_to_its_run() -> None:
    asked = contest("static:4")
    outcome = simulate(asked.traffic, Static(replicas=4), asked.setup)
    plot, demand = plot_of(outcome, asked.traffic), demand_of(asked.traffic)
    assert len(plot.ready) == len(plot.p95) == len(demand.requests)
    assert sum(demand.requests) * demand.width == pytest.approx(len(asked.traffic))
    assert sum(demand.prompts) * demand.width == pytest.approx(sum(request.prompt for request in asked.traffic))
    assert (plot.ready[0], plot.ready[-1], max(plot.loading)) == (3, 4, 1)
    assert all(low <= high for low, high in zip(plot.p50, plot.p95, strict=True) if low is not None and high is not None)


def test_a_bin_whose_requests_never_had_a_token_is_a_gap() -> None:
    traffic = gather([Request(0.0, 1.0, 1.0), Request(300.0, 1.0, 1.0)])
    outcome = Outcome(policy="none", ttft=array("d", [0.5, math.nan]), end=300.0)
    plot = plot_of(outcome, traffic)
    assert (plot.p50[0], plot.p50[-1], plot.p50[7]) == (0.5, None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_traffic_comes_in_order_and_again_the_same(kind: str) -> None:
    made = list(KINDS[kind].make(300.0, 3))
    assert made == list(KINDS[kind].make(300.0, 3)) != list(KINDS[kind].make(300.0, 4))
    assert all(one.arrival <= other.arrival < 300 for one, other in itertools.pairwise(made))


def test_mooncakes_lengths_are_as_published() -> None:
    requests = list(bursty(MOONCAKE, 8000, seed=2))
    prompts = sorted(request.prompt for request in requests)
    assert sum(prompts) / len(prompts) == pytest.approx(12_035, rel=0.05)
    assert prompts[len(prompts) * 99 // 100] == pytest.approx(85_401, rel=0.15)


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("TIMESTAMP,ContextTokens,GeneratedTokens\r\n", "azure"),
        ("\ufeffarrival_seconds,input_tokens,output_tokens", "csv"),
        ('{"timestamp": 0}', "mooncake"),
    ],
)
def test_the_first_line_tells_the_format(line: str, form: str) -> None:
    assert detect(line) == form


def test_another_header_is_named() -> None:
    with pytest.raises(BadTraceError, match="--trace line 1"):
        detect("time,in,out")


def test_a_history_becomes_requests_that_add_up() -> None:
    source = random.Random(1)
    times = [1_790_000_000.0 + 60 * index for index in range(40)]
    requests = {time: source.choice([0.0, 2.5, 7.25]) for time in times}
    prompts = {time: value * 900.0 for time, value in requests.items()}
    outputs = {time: value * 150.0 for time, value in requests.items()}
    history = read_history(requests, prompts, outputs, 60)
    made = list(synthesise(history, seed=4))
    assert made == list(synthesise(history, seed=4)) != list(synthesise(history, seed=5))
    assert len(made) == history.requests == pytest.approx(sum(requests.values()), abs=1)
    assert sum(request.prompt for request in made) == pytest.approx(sum(prompts.values()), rel=0.02)
    assert sum(request.output for request in made) == pytest.approx(sum(outputs.values()), rel=0.02)
    assert made[0].arrival == 0
    # Which is a moment: within the first step in which any request is counted, which ends when the counter was read.
    ended = next(time for time in times if requests[time])
    begun = begun_at(history, 4)
    assert begun is not None
    assert ended - 60 <= begun <= ended
    assert begun == begun_at(history, 4) != begun_at(history, 5)
    assert all(one.arrival <= other.arrival for one, other in itertools.pairwise(made))
    assert (history.gaps, history.seconds) == (0, 2400)


def test_a_step_that_one_counter_does_not_cover_is_a_gap() -> None:
    full = {0.0: 5.0, 60.0: 5.0, 120.0: math.nan, 180.0: 5.0}
    history = read_history(full, dict.fromkeys((0.0, 60.0, 120.0, 180.0), 50.0), dict.fromkeys((0.0, 120.0, 180.0), 50.0), 60)
    assert (history.gaps, history.seconds, [step.begin for step in history.steps]) == (2, 240, [0.0, 180.0])


def test_tokens_of_an_answer_that_goes_on_wait_for_its_end() -> None:
    assert begun_at(read_history({}, {}, {}, 60), 0) is None
    history = read_history({0.0: 0.0, 60.0: 1.0}, {0.0: 100.0, 60.0: 0.0}, {0.0: 30.0, 60.0: 40.0}, 60)
    assert [tuple(step) for step in history.steps] == [(60.0, 1, 100.0, 70.0)]


def test_no_history_is_no_step() -> None:
    assert read_history({}, {0.0: 1.0}, {0.0: 1.0}, 60).steps == ()
