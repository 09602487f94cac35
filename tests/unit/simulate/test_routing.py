"""Where requests go: by choice of three, as the operator's clusters do it, or in turns; and what turns explain of the recorded run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import pytest
from bench.calibration import (
    ENGINE_LOAD_SECONDS,
    MOST,
    SLOTS,
    TTFT_SECONDS,
    Answer,
    AsItWas,
    Record,
    arrivals,
    over_seeds,
    predict,
    told,
)
from tests.unit.simulate.test_closed_forms import erlang_c, exponential

from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.generate import CONVERSATION, poisson
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.replica import Rates, Replica
from llama_operator.simulate.routing import CHOICES, LEAST, REPORT_SECONDS, ROUND_ROBIN, ROUTINGS, Choices, Routing
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.view import Ask, Sight, View

SERVERS, USE = 4, 0.6
ONE_SLOT = Service(prefill=1e12, itl=1.0, slots=1, kv=math.inf)


def queue(routing: Routing, seed: int = 0, service: Service = ONE_SLOT) -> Outcome:
    """Four thousand exponential requests to four replicas of one slot."""
    setup = Setup(
        service=service, load=LoadTime(seconds=0), initial=SERVERS, maximum=SERVERS, grace=1e6, scrape=1e5, routing=routing, seed=seed
    )
    return simulate(exponential(USE * SERVERS, 1)[:4000], Static(replicas=SERVERS), setup)


@pytest.mark.parametrize("routing", [ROUND_ROBIN, CHOICES])
def test_the_same_seed_enters_at_the_same_pods(routing: Routing) -> None:
    one, again, other = (queue(routing, seed).ttft for seed in (1, 1, 2))
    assert one == again != other


def test_loads_take_the_same_whatever_the_routing() -> None:
    world = Setup(service=Service(), load=LoadTime(seconds=60, spread=0.5), initial=1, maximum=4, minimum=4)
    ends = [
        simulate([Request(0.0, 10.0, 10.0)], Static(replicas=4), replace(world, routing=routing)).replica_seconds for routing in ROUTINGS
    ]
    assert len(set(ends)) == 1


def test_turns_wait_longer_than_one_queue_for_all_and_shorter_than_chance() -> None:
    """One queue before c servers is M/M/c; chance alone would be c queues M/M/1. Every router evens out what it hands on, not the others."""
    pooled = erlang_c(SERVERS, USE * SERVERS) / (SERVERS * (1 - USE))
    split = USE / (1 - USE)
    turns = fmean(queue(ROUND_ROBIN).ttft)
    assert 1.5 * pooled < turns < 0.95 * split


def test_choices_wait_longer_than_one_queue_for_all_and_shorter_than_turns() -> None:
    """Reports are half as old as a request is long, and each router knows its own picks alone."""
    pooled, choices, turns = (fmean(queue(routing).ttft) for routing in (LEAST, CHOICES, ROUND_ROBIN))
    assert 1.2 * pooled < choices < 0.9 * turns


@pytest.mark.parametrize("routing", [ROUND_ROBIN, CHOICES])
@pytest.mark.parametrize("seed", [0, 1])
def test_where_full_replicas_are_passed_over_it_is_one_queue(seed: int, routing: Routing) -> None:
    """With one request each it does not matter who is asked first: the waits are those of M/M/c, request by request."""
    one = replace(ONE_SLOT, accepts=1)
    assert sorted(queue(routing, seed, one).ttft) == pytest.approx(sorted(queue(LEAST, seed, one).ttft), abs=1e-5)


@dataclass
class Watching:
    """A fixed number, and what each replica had finished by the newest scrape."""

    finished: dict[str, int] = field(default_factory=dict)
    name: str = "watching"

    @property
    def sight(self) -> Sight:
        return Sight(every=15.0)

    def look(self, view: View, memory: Any) -> Ask:
        self.finished = {sample.replica: sample.finished + sample.running + sample.waiting for sample in view.scrapes[-1].samples}
        return Ask(5, memory)


def test_every_replica_gets_its_turn() -> None:
    watching = Watching()
    setup = Setup(service=Service(), load=LoadTime(seconds=0), initial=5, maximum=5, routing=ROUND_ROBIN)
    outcome = simulate(poisson(CONVERSATION, 600, seed=3), watching, setup)
    assert outcome.served == outcome.requests
    # Five routers, each of which is at most one ahead for a replica.
    assert max(watching.finished.values()) - min(watching.finished.values()) <= 5


def replicas(*in_hand: int) -> list[Replica]:
    """Ready ones with so many in hand."""
    made = [Replica(f"replica-{number}", Rates(Service()), 0.0) for number in range(len(in_hand))]
    for replica, number in zip(made, in_hand, strict=True):
        replica.in_hand = number
    return made


def picks(router: Choices, serving: list[Replica], times: int, at: float) -> Counter[str]:
    """Whom it took, of so many requests at one moment."""
    return Counter(chosen.name for _ in range(times) if (chosen := router.choose(serving, at)))


@pytest.mark.parametrize("seed", range(4))
def test_a_router_believes_what_a_replica_said_for_a_while_and_then_asks_again(seed: int) -> None:
    serving = replicas(1000, 0)
    router = Choices(math.inf, seed)
    assert picks(router, serving, 100, at=10.0) == {"replica-1": 100}
    serving[0].in_hand = 0
    assert picks(router, serving, 100, at=10.0 + REPORT_SECONDS) == {"replica-1": 100}
    assert picks(router, serving, 100, at=10.1 + REPORT_SECONDS)["replica-0"] > 40


def test_a_router_counts_its_own_picks_until_it_asks_again() -> None:
    """Where replicas say the same, each router evens out what it hands on."""
    serving = replicas(0, 0)
    found = picks(Choices(math.inf, 0), serving, 101, at=1.0)
    assert max(found.values()) - min(found.values()) <= len(serving)


@pytest.mark.parametrize(
    ("others", "drawn", "share"), [(1, 3, 1.0), (3, 3, 0.75), (7, 3, 0.375), (23, 3, 0.125), (7, 2, 0.25), (7, 24, 1.0)]
)
def test_a_new_replica_gets_every_request_for_which_it_is_drawn_until_it_has_as_many_as_the_others(
    others: int, drawn: int, share: float
) -> None:
    serving = replicas(*[10_000] * others, 0)
    router = Choices(math.inf, 0, drawn)
    found = picks(router, serving, 4000, at=2.0)
    assert found[serving[-1].name] / 4000 == pytest.approx(share, abs=0.03)
    serving[-1].in_hand = 10_000
    found = picks(router, serving, 4000, at=4.0)
    assert found[serving[-1].name] / 4000 == pytest.approx(1 / len(serving), abs=0.03)


def test_choices_take_no_full_replica_and_nobody_where_all_are() -> None:
    serving = replicas(4, 3, 4)
    router = Choices(4, 0)
    assert picks(router, serving, 50, at=1.0) == {"replica-1": 50}
    assert router.choose(replicas(4, 4), 1.0) is None
    assert router.choose([], 1.0) is None


# The run of 2026-11-21, as far as docs/simulate.md has it. Its load time was not written down: with 34 s the simulator of that day gives
# the prediction that was (0.923 and 6.5 s, with its own changes after 15, 70, 275 and 310 s), with 33 and 35 s another.

CHANGES = ((21.0, 2), (72.0, 3), (274.0, 2), (281.0, 1))
PREDICTED = ((15.0, 2), (70.0, 3), (275.0, 2), (310.0, 1))
LOADED = 34.0
SEEN_ATTAINED, SEEN_P95 = 0.845, 8.1


def recorded(changes: tuple[tuple[float, int], ...]) -> Record:
    """A record of that run with these changes of the wanted number, each replica ready one load later."""
    moments = {0.0: (1, 1), **{at: (wanted, 0) for at, wanted in changes}}
    rises = [at for (at, wanted), (_, before) in zip(changes, ((0.0, 1), *changes), strict=False) if wanted > before]
    looks = sorted({*moments, *(at + LOADED for at in rises)})
    counts = []
    for look in looks:
        wanted = [number for at, (number, _) in sorted(moments.items()) if at <= look][-1]
        ready = 1 + sum(at + LOADED <= look for at in rises)
        counts.append((look, wanted, wanted, min(ready, wanted)))
    answers = [Answer(sent=at, first=1.0, seconds=6.0, error=None) for at in arrivals()]
    return Record(begun="2026-11-21", answers=answers, counts=counts)


def test_the_record_is_the_one_that_was_predicted() -> None:
    assert recorded(CHANGES).loads == pytest.approx([LOADED, LOADED])
    before = over_seeds(recorded(PREDICTED), scaled=True, routing=LEAST)
    assert (round(before.attained, 3), round(before.p95, 1), round(before.cost)) == (0.923, 6.5, 887)


def test_turns_explain_why_the_first_tokens_of_the_recorded_run_were_later_than_predicted() -> None:
    record = recorded(CHANGES)
    turns, knowing = (over_seeds(record, scaled=True, routing=routing) for routing in (ROUND_ROBIN, LEAST))
    assert turns.attained == pytest.approx(SEEN_ATTAINED, abs=0.02)
    assert turns.p95 == pytest.approx(SEEN_P95, abs=0.5)
    assert knowing.attained > SEEN_ATTAINED + 0.05
    assert knowing.p95 < SEEN_P95 - 1


def test_choices_would_have_had_more_first_tokens_in_time_than_turns() -> None:
    choices, turns, knowing = (
        over_seeds(recorded(CHANGES), scaled=True, routing=routing).attained for routing in (CHOICES, ROUND_ROBIN, LEAST)
    )
    assert turns + 0.04 < choices == pytest.approx(knowing, abs=0.01)


def test_a_record_is_told_beside_its_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.calibration.SEEDS", 1)
    table = told(recorded(CHANGES))
    assert [column.header for column in table.columns][1:3] == ["cluster", "simulator"]
    assert (MOST, SLOTS, ENGINE_LOAD_SECONDS, TTFT_SECONDS) == (3, 4, 20.0, 6.0)
    assert predict(record=recorded(CHANGES), scaled=True).policy == AsItWas(changes=()).name
