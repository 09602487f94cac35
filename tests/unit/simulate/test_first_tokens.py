"""The policy sees vLLM's histogram of first tokens in the simulator as in a cluster, and takes no burst for a wrong model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from llama_operator.scaling.first_token import LASTING_SECONDS
from llama_operator.scaling.policy import Policy
from llama_operator.scaling.service import Service as Belief
from llama_operator.scaling.signals import Load, read_load
from llama_operator.simulate.engine import LoadTime, Setup, simulate
from llama_operator.simulate.generate import CODE, CONVERSATION, bursty, flash_crowd, poisson
from llama_operator.simulate.policies.ours import EPOCH, Ours, read_series
from llama_operator.simulate.routing import CHOICES
from llama_operator.simulate.service import Service
from llama_operator.simulate.view import Ask, Sight, View

SERVICE = Service()
BELIEF = Belief(prefill=SERVICE.prefill, slots=SERVICE.slots, itl=SERVICE.itl, kv=SERVICE.kv)
POLICY = Policy(min_replicas=1, max_replicas=1, ttft_seconds=6.0, service=BELIEF)


@dataclass
class Watched:
    """Our policy, and what it saw and remembered at every look."""

    ours: Ours = field(default_factory=lambda: Ours(policy=POLICY, kv=SERVICE.kv))
    views: list[View] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    name: str = "watched"

    @property
    def sight(self) -> Sight:
        return self.ours.sight

    def look(self, view: View, memory: Any) -> Ask:
        asked = self.ours.look(view, memory)
        correction = (asked.memory or {}).get("correction") or {}
        self.views.append(view)
        self.factors.append(correction.get("factor", 1.0))
        if "lateSince" in correction:
            self.late.append(EPOCH + view.now - correction["lateSince"])
        return asked


def load_of(view: View) -> Load:
    series = read_series(view, SERVICE.kv, first_tokens=True)
    live = {sample.replica for sample in view.scrapes[-1].samples} | {"head"}
    load = read_load(series, (), live, EPOCH + view.now, 60.0)
    assert isinstance(load, Load)
    return load


def test_first_tokens_of_the_range_are_seen_by_their_time() -> None:
    watched = Watched()
    outcome = simulate(poisson(CONVERSATION, 600.0, 1), watched, Setup(service=SERVICE, load=LoadTime(seconds=20), initial=3))
    view = watched.views[-1]
    load = load_of(view)
    assert load.first_tokens is not None
    assert load.first_tokens_since == pytest.approx(EPOCH + view.scrapes[0].time), "no replica is younger than the range"
    counts = list(load.first_tokens.values())
    assert all(before <= after for before, after in pairwise(counts)), "a bucket holds all below it"
    newest, oldest = view.scrapes[-1], view.scrapes[0]
    assert counts[-1] == sum(sum(sample.first_tokens) for sample in newest.samples) - sum(
        sum(sample.first_tokens) for sample in oldest.samples
    )
    had = sum(sum(sample.first_tokens) for sample in newest.samples)
    assert 0 < had <= sum(not math.isnan(ttft) for ttft in outcome.ttft)


def test_a_replica_that_came_within_the_range_counts_from_when_it_was_first_seen() -> None:
    watched = Watched()
    simulate(poisson(CONVERSATION, 400.0, 1), watched, Setup(service=SERVICE, load=LoadTime(seconds=20), initial=1))
    grown = next(view for view in watched.views if len(view.scrapes[-1].samples) > len(view.scrapes[0].samples) >= 1)
    assert load_of(grown).first_tokens is not None


def test_a_crowd_is_late_for_a_while_and_teaches_nothing() -> None:
    watched = Watched()
    crowd = flash_crowd(CONVERSATION, 2700.0, 5, 900.0, 3.0, 600.0)
    simulate(crowd, watched, Setup(service=SERVICE, load=LoadTime(seconds=100, spread=0.2), initial=3, routing=CHOICES))
    assert 0 < max(watched.late, default=-1) < LASTING_SECONDS, (
        "first tokens were late under a model that says enough, or this shows nothing"
    )
    assert set(watched.factors) == {1.0}


def test_traffic_that_the_model_takes_for_easier_than_it_is_brings_replicas() -> None:
    watched = Watched()
    simulate(bursty(CODE, 3600.0, 3), watched, Setup(service=SERVICE, load=LoadTime(seconds=100), initial=8, routing=CHOICES))
    assert max(watched.factors) > 1.0
    assert max(watched.late) >= LASTING_SECONDS
