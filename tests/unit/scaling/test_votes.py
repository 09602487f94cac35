"""Each signal as a demand in replicas; a queue is work to be done once, no demand; and what a replica can do is corrected by what is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llama_operator.scaling.service import LEAST_PREFILL, Service, learn, learned, recall
from llama_operator.scaling.signals import Load
from llama_operator.scaling.votes import LEAST_USE, MOST_USE, demand, lasting, patience, prompt_use
from llama_operator.telemetry import names as metric

SERVICE = Service(prefill=5000, slots=64, itl=0.1, kv=640_000, prompt=1000, output=200)
LOAD = Load(
    in_flight=100,
    held=0,
    replicas_seen=2,
    running=100,
    waiting=0,
    prompt_rate=5000,
    output_rate=1000,
    finish_rate=5,
    growth=0,
    kv_use=0.2,
)
TTFT = 6.0


def votes(load: Load, each: float | None = None, service: Service | None = SERVICE) -> dict[str, float | None]:
    found = demand(load, 2, each, service, TTFT, 0.95)
    return {vote.signal: None if vote.replicas is None else round(vote.replicas, 3) for vote in found.votes}


AGES = {metric.SERVE_PROCESSING: 2.0, metric.VLLM_PROMPT_TOKENS: 5.0, metric.VLLM_FINISHED: 7.0, metric.VLLM_KV_USE: 9.0}


@pytest.mark.parametrize(
    ("sentence", "change", "ages"),
    [
        ("each is as old as the families that it is made of", {}, {"requests": 2, "slots": 2, "prompts": 5, "cache": 9}),
        ("taken from arrivals also as the count of answers", {"in_flight": 140}, {"requests": 2, "slots": 7, "prompts": 7, "cache": 9}),
        (
            "where nobody is busy an engine need say nothing",
            {"in_flight": 0, "running": 0, "ages": {metric.SERVE_PROCESSING: 2.0}},
            dict.fromkeys(("requests", "slots", "prompts", "cache"), 2),
        ),
        (
            "one that could not be seen is as old as what of it was, if any was",
            {"prompt_rate": None, "ages": {metric.SERVE_PROCESSING: 2.0}},
            {"requests": 2, "slots": 2, "prompts": None, "cache": 2},
        ),
    ],
)
def test_a_vote_has_an_age_of_its_own(sentence: str, change: dict[str, Any], ages: dict[str, float | None]) -> None:
    found = demand(replace(LOAD, **{"ages": AGES, **change}), 2, 10, SERVICE, TTFT, 0.95)
    assert {vote.signal: vote.age_seconds for vote in found.votes} == ages, sentence


def test_without_a_service_only_the_users_number_counts() -> None:
    assert votes(LOAD, 8, None) == {"requests": 12.5}


@pytest.mark.parametrize(
    ("before", "now", "counted"),
    [
        (8, 9, 8),  # one request that moved between two scrapes, or one more: the next scrape tells
        (9, 9, 9),
        (10, 9, 9),
        (8, 12, 8),
        (8, 13, 9),  # five more at once are one that may be counted twice, and four that are not
        (0, 40, 36),
        (None, 9, 9),  # the first samples of all
        (9, 0, 0),
    ],
)
def test_what_only_one_scrape_says_is_not_believed_up_to_one_replicas_worth(before: float | None, now: float, counted: float) -> None:
    assert lasting(replace(LOAD, in_flight=now, before=before), 4) == counted


def test_where_nothing_waits_what_runs_is_the_demand() -> None:
    use = prompt_use(SERVICE, TTFT, 0.95)
    assert votes(LOAD) == {"slots": round(100 / 64, 3), "prompts": round(1 / use, 3), "cache": round(0.2 / 0.95, 3)}


def test_both_the_users_number_and_the_service_count() -> None:
    assert votes(LOAD, 10)["requests"] == 10
    assert demand(LOAD, 2, 10, SERVICE, None, 0.95).replicas == 10


def test_a_queue_that_does_not_grow_asks_for_no_more_than_its_arrivals() -> None:
    """128 run, 400 wait, 6 end in a second and none more comes than ends: 6 * 20 s = 120 sequences."""
    jammed = replace(LOAD, in_flight=528, running=128, waiting=400, finish_rate=6)
    assert votes(jammed)["slots"] == round(120 / 64, 3)
    found = demand(jammed, 2, None, SERVICE, TTFT, 0.95)
    assert found.backlog == 400 * 20 / 64


def test_a_queue_that_grows_asks_for_what_arrives() -> None:
    assert votes(replace(LOAD, in_flight=228, running=128, waiting=100, finish_rate=6, growth=6))["slots"] == round(228 / 64, 3)
    assert votes(replace(LOAD, in_flight=528, running=128, waiting=400, finish_rate=6, growth=6))["slots"] == round(240 / 64, 3)


@pytest.mark.parametrize(
    ("waiting", "ttft", "overdue"), [(0, TTFT, False), (18, TTFT, False), (20, TTFT, True), (20, 30.0, False), (200, None, False)]
)
def test_a_queue_is_overdue_once_it_is_longer_than_what_gets_a_slot_within_half_of_the_objective(
    waiting: float, ttft: float | None, overdue: bool
) -> None:
    """Of 2 * 64 slots with 20 s for a sequence 6.4 are free again in a second: 19.2 within half of 6 s."""
    queued = replace(LOAD, in_flight=128 + waiting, running=128, waiting=waiting)
    assert demand(queued, 2, None, SERVICE, ttft, 0.95).overdue is overdue


def test_prompts_that_are_worked_off_are_no_prompts_that_arrive() -> None:
    draining = replace(LOAD, in_flight=300, running=128, waiting=172, prompt_rate=10_000, finish_rate=10, growth=-7)
    assert votes(draining)["prompts"] == round(3000 / 5000 / prompt_use(SERVICE, TTFT, 0.95), 3)


def test_requests_held_at_the_proxies_wait_too() -> None:
    assert demand(replace(LOAD, held=64), 2, None, SERVICE, TTFT, 0.95).backlog == 64 * 20 / 64


@pytest.mark.parametrize("name", ["prompt_rate", "output_rate", "running", "kv_use"])
def test_what_cannot_be_seen_has_no_vote_and_makes_the_demand_unsure(name: str) -> None:
    unseen = replace(LOAD, **{name: None})
    assert votes(unseen) == {"slots": round(100 / 64, 3), "prompts": None, "cache": None}
    assert not demand(unseen, 2, None, SERVICE, TTFT, 0.95).sure


def test_the_use_of_prefill_follows_from_the_objective() -> None:
    uses = [prompt_use(SERVICE, ttft, 0.95) for ttft in (0.1, 1.0, 3.0, 6.0, 60.0)]
    assert uses == sorted(uses)
    assert (uses[0], uses[-1]) == (LEAST_USE, MOST_USE)
    assert prompt_use(SERVICE, 3.0, 0.99) < prompt_use(SERVICE, 3.0, 0.9)
    assert prompt_use(SERVICE, None, 0.9) == MOST_USE


def test_a_short_peak_may_exceed_the_slots_by_what_is_free_again_in_time() -> None:
    assert patience(SERVICE, 4.0) == pytest.approx(4 / 2 / 20)
    assert (patience(SERVICE, 60.0), patience(SERVICE, None), patience(None, 6.0), patience(replace(SERVICE, output=None), 6.0)) == (
        0.2,
        0,
        0,
        0,
    )


def test_a_faster_prefill_than_was_believed_is_believed_at_once() -> None:
    assert learn(SERVICE, replace(LOAD, prompt_rate=14_000), 2).prefill == 7000


def test_a_slower_prefill_is_believed_while_prompts_are_what_requests_wait_for() -> None:
    slow = replace(LOAD, in_flight=110, waiting=10, prompt_rate=6000)
    service = SERVICE
    for _ in range(60):
        service = learn(service, slow, 2)
    assert service.prefill == pytest.approx(3000, rel=0.01)
    assert learn(SERVICE, replace(slow, running=128), 2).prefill == 5000
    assert learn(SERVICE, replace(slow, kv_use=1.95), 2).prefill == 5000


def test_a_replica_that_just_came_makes_no_other_slower() -> None:
    """It has free slots, and what waits does so at the others."""
    crowd = replace(LOAD, waiting=20, prompt_rate=4000)
    assert learn(SERVICE, crowd, 2, young=True).prefill == 5000
    assert learn(SERVICE, crowd, 2).prefill < 5000
    assert learn(SERVICE, replace(LOAD, prompt_rate=14_000), 2, young=True).prefill == 7000


def test_what_waits_at_full_replicas_makes_none_slower_however_idle_the_others_are() -> None:
    """Requests that came to three before three more did: nothing moves from one queue to another."""
    crowd = replace(LOAD, waiting=200, running=300, prompt_rate=4000, queues=((64, 0.2), (63, 0.2), (40, 0.95)))
    assert learn(SERVICE, crowd, 6).prefill == 5000
    assert learn(SERVICE, replace(crowd, queues=(*crowd.queues, (40, 0.2))), 6).prefill < 5000


def test_prompts_that_wait_for_something_else_do_not_make_a_replica_ever_slower() -> None:
    """One is full and has a queue, another is idle: over both the slots are free, and hardly any prompt is computed."""
    stuck = replace(LOAD, waiting=10, running=64, prompt_rate=2)
    memory: dict[str, float] = {}
    for _ in range(200):
        memory = learned(learn(recall(SERVICE, memory), stuck, 2))
    assert recall(SERVICE, memory).prefill == LEAST_PREFILL * SERVICE.prefill
    (prompts,) = [vote.replicas for vote in demand(stuck, 2, None, recall(SERVICE, memory), 6, 0.95).votes if vote.signal == "prompts"]
    assert prompts is not None
    assert prompts < 10


def test_the_pace_of_the_batch_is_learned_where_it_is_undisturbed() -> None:
    service = SERVICE
    for _ in range(60):
        service = learn(service, replace(LOAD, prompt_rate=2000, output_rate=2000), 2)
    assert service.itl == pytest.approx(0.05, rel=0.01)
    assert learn(SERVICE, replace(LOAD, prompt_rate=9000, output_rate=2000), 2).itl == 0.1


def test_what_a_request_costs_is_learned_while_as_many_come_as_end() -> None:
    fresh = replace(SERVICE, prompt=None, output=None)
    assert (learn(fresh, LOAD, 2).prompt, learn(fresh, LOAD, 2).output) == (1000, 200)
    assert learn(fresh, replace(LOAD, growth=4), 2).prompt is None
    assert learn(fresh, replace(LOAD, finish_rate=0), 2).prompt is None


@pytest.mark.parametrize("name", ["prompt_rate", "output_rate", "running", "kv_use"])
def test_nothing_is_learned_from_what_was_not_seen(name: str) -> None:
    assert learn(SERVICE, replace(LOAD, **{name: None}), 2) == SERVICE
    assert learn(SERVICE, LOAD, 0) == SERVICE


def test_what_was_learned_is_recalled_and_nonsense_is_not() -> None:
    service = learn(SERVICE, LOAD, 2)
    assert recall(SERVICE, learned(service)) == service
    for nonsense in (None, {"prefill": "x"}, {"itl": -1}, {"prompt": float("nan")}, {"output": None}, {"slots": 3}):
        assert recall(SERVICE, nonsense) == SERVICE
