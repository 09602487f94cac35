"""What holds for every traffic, every service and every scaler, however erratic: nothing lost, nothing twice, no work out of nothing."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.depth import examples

from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.view import Ask, Sight, View

pauses = st.floats(min_value=0, max_value=20)
traffic = st.lists(st.tuples(pauses, st.integers(0, 3000), st.integers(1, 300)), max_size=40).map(
    lambda rows: [
        Request(time, float(row[1]), float(row[2])) for time, row in zip(itertools.accumulate(row[0] for row in rows), rows, strict=True)
    ]
)
services = st.builds(
    Service,
    prefill=st.sampled_from([200.0, 5000.0]),
    slots=st.integers(1, 8),
    itl=st.sampled_from([0.01, 0.1]),
    itl_per_sequence=st.sampled_from([0.0, 0.01]),
    kv=st.sampled_from([2000.0, 4000.0, 1e6]),
    chunk=st.sampled_from([None, 64.0, 2048.0]),
    accepts=st.sampled_from([None, 1, 8]),
)
whims = st.lists(st.one_of(st.none(), st.integers(-2, 12)), max_size=40)


@dataclass(frozen=True, kw_only=True)
class Erratic:
    """Asks for whatever the list says, whatever it sees; and sees that nothing is from the future."""

    whims: list[int | None]
    name: str = "erratic"

    @property
    def sight(self) -> Sight:
        return Sight(every=7.0, history=60.0)

    def look(self, view: View, memory: Any) -> Ask:
        assert all(scrape.time <= view.now for scrape in view.scrapes)
        assert len(view.ready) + view.loading == view.wanted
        turn = memory or 0
        return Ask(self.whims[turn] if turn < len(self.whims) else None, turn + 1)


def run(requests: list[Request], service: Service, asked: list[int | None], seed: int, initial: int = 2) -> Outcome:
    setup = Setup(service=service, load=LoadTime(seconds=30, spread=0.5), initial=initial, maximum=6, scrape=5, grace=1e5, seed=seed)
    return simulate(requests, Erratic(whims=asked), setup)


@settings(max_examples=examples(60))
@given(traffic, services, whims, st.integers(0, 3))
def test_no_request_is_lost_or_served_twice(requests: list[Request], service: Service, asked: list[int | None], seed: int) -> None:
    outcome = run(requests, service, asked, seed)
    fitting = [request for request in requests if service.fits(request)]
    assert (outcome.requests, outcome.served) == (len(requests), len(fitting))
    assert outcome.refused == len(requests) - len(fitting) == sum(map(math.isnan, outcome.ttft))
    assert math.isclose(outcome.prompted, sum(request.prompt for request in fitting), rel_tol=1e-6, abs_tol=1e-6)
    assert math.isclose(outcome.generated, sum(request.output for request in fitting), rel_tol=1e-6, abs_tol=1e-6)


@settings(max_examples=examples(60))
@given(traffic, services, whims, st.integers(0, 3))
def test_busy_time_is_within_replica_time_and_nobody_is_faster_than_alone(
    requests: list[Request], service: Service, asked: list[int | None], seed: int
) -> None:
    outcome = run(requests, service, asked, seed)
    assert 0 <= outcome.busy_seconds <= outcome.replica_seconds * (1 + 1e-9) + 1e-6
    assert outcome.replica_seconds <= 6 * outcome.end + outcome.busy_seconds + 1e-6
    for request, ttft in zip(requests, outcome.ttft, strict=True):
        assert math.isnan(ttft) or ttft >= request.prompt / service.prefill * (1 - 1e-6) - 1e-6


@settings(max_examples=examples(20))
@given(traffic, services, whims, st.integers(0, 3))
def test_the_same_seed_gives_the_same_run(requests: list[Request], service: Service, asked: list[int | None], seed: int) -> None:
    assert repr(run(requests, service, asked, seed)) == repr(run(requests, service, asked, seed))
