"""Demand in replicas, one vote for each signal; the highest counts. And the work that waits, in seconds of one replica.

    requests    in hand, as far as that is no accident of one scrape / requests per replica, where the user set that number
    slots       sequences that would run if none had to wait / slots of the batch
    prompts     prompt tokens that arrive per second / (prefill rate * use)
    cache       KV room of those sequences / (KV_USE of a replica's room)

A queue is no demand: it was, and what it asks for is to be worked off once. So where something waits, demand is taken from arrivals: those
per second (answers per second and what the number in hand grew by) times what a request costs. Where nothing waits, what runs is it.

`use` follows from the objective. A prompt's wait for others is roughly exponential in heavy traffic (Kingman 1962,
https://doi.org/10.1111/j.2517-6161.1962.tb00465.x): it lasts longer than t with probability exp(-2 (1 - use) t / (s (ca2 + cs2))), s
seconds for a prompt, ca2 and cs2 the squared coefficients of variation of pauses and prompts, together VARIATION. Solved for the use at
which the share that waits longer is what the percentile allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llama_operator.scaling.sane import replicas
from llama_operator.scaling.service import Service
from llama_operator.scaling.signals import IN_HAND, Load
from llama_operator.telemetry import names as metric

MADE_OF: Mapping[str, Sequence[str]] = {
    "slots": IN_HAND,
    "prompts": (metric.VLLM_PROMPT_TOKENS,),
    "cache": (*IN_HAND, metric.VLLM_KV_USE),
}
"""The families behind each of the model's votes."""
MADE_OF_ARRIVALS: Mapping[str, Sequence[str]] = {
    "slots": (*IN_HAND, metric.VLLM_FINISHED),
    "prompts": (*IN_HAND, metric.VLLM_FINISHED),
    "cache": (*IN_HAND, metric.VLLM_FINISHED, metric.VLLM_KV_USE),
}
"""Those behind them where demand is taken from arrivals: prompts are then reckoned from requests."""
KV_USE = 0.95
"""Of the cache: an engine that runs out preempts, and computes the same prompt twice."""
VARIATION = 2.0
"""ca2 + cs2 of Poisson arrivals and exponential prompts; both published conversation traces are near it (simulate/generate.py)."""
LEAST_USE, MOST_USE = 0.5, 0.95
MOST_PATIENCE = 0.2
FULL_USE = 0.8
"""Replicas whose prompts come at this share of their rate have a queue of them, or nearly."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What one signal asks for. `replicas` None: it could not be seen."""

    signal: str
    replicas: float | None
    age_seconds: float | None
    """Age of the oldest sample of the families that it is made of; None where none of them was seen."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """All votes, and `backlog`: seconds that one replica would need for all that waits."""

    votes: tuple[Vote, ...]
    backlog: float = 0.0
    overdue: bool = False
    """More wait than get a slot within half of the objective: what `patience` allows for is used up."""

    @property
    def replicas(self) -> float:
        """The highest vote."""
        return max((vote.replicas for vote in self.votes if vote.replicas is not None), default=0.0)

    @property
    def sure(self) -> bool:
        """Every signal that the objective needs was seen."""
        return all(vote.replicas is not None for vote in self.votes)


def patience(service: Service | None, ttft: float | None) -> float:
    """Share by which a short peak may exceed what is there: those that wait for a slot get one within half of the objective.

    Of `slots` sequences with a residence of R seconds, slots / R end per second: x * slots wait for x * R seconds.
    """
    if ttft is None or service is None or not service.residence:
        return 0.0
    return min(ttft / 2 / service.residence, MOST_PATIENCE)


def prompt_use(service: Service, ttft: float | None, percentile: float) -> float:
    """Share of the prefill rate that may be used so that first tokens come in time."""
    if ttft is None or service.prompt is None:
        return MOST_USE
    seconds = service.prompt / service.prefill
    left = ttft - seconds
    if left <= 0:
        return LEAST_USE
    return min(max(1 + math.log(1 - percentile) * seconds * VARIATION / (2 * left), LEAST_USE), MOST_USE)


def lasting(load: Load, each: float) -> float:
    """Requests in hand, of which the last `each`, one replica's worth, must have been there in the samples before as well.

    Replicas are scraped one after the other: a request that ends at one and begins at the next in between is counted twice. More than a
    replica's worth at once is no such accident, and counts at once.
    """
    return load.total if load.before is None else max(min(load.total, load.before), load.total - each)


def demand(load: Load, ready: int, each: float | None, service: Service | None, ttft: float | None, percentile: float) -> Demand:
    """All votes. `each` is the user's number of requests per replica, None where the objective is another."""
    age = load.age_of(*IN_HAND)
    requests = () if each is None else (Vote(signal="requests", replicas=replicas(lasting(load, each) / each), age_seconds=age),)
    if service is None:
        return Demand(votes=requests)
    if load.prompt_rate is None or load.output_rate is None or load.running is None or load.kv_use is None:
        unseen = (Vote(signal=name, replicas=None, age_seconds=load.age_of(*MADE_OF[name])) for name in ("prompts", "cache"))
        return Demand(votes=(*requests, Vote(signal="slots", replicas=replicas(load.total / service.slots), age_seconds=age), *unseen))
    behind = max(load.total - load.running, 0.0)
    sequences, tokens = load.running + behind, load.prompt_rate
    arrivals = None if load.finish_rate is None or load.growth is None else max(load.finish_rate + load.growth, 0.0)
    full = load.prompt_rate >= FULL_USE * ready * service.prefill
    made_of = MADE_OF
    if arrivals is not None and service.residence is not None and service.prompt is not None and (behind or full):
        made_of = MADE_OF_ARRIVALS
        sequences = min(sequences, arrivals * service.residence)
        tokens = arrivals * service.prompt
    share = load.kv_use / load.running if load.running else 0.0
    votes = {
        "slots": sequences / (service.slots),
        "prompts": tokens / (service.prefill * prompt_use(service, ttft, percentile)),
        "cache": sequences * share / KV_USE,
    }
    # Where no replica is busy an engine need not have said anything: then that is what the vote is made of.
    ages = {name: age if (own := load.age_of(*families)) is None else own for name, families in made_of.items()}
    modelled = (Vote(signal=name, replicas=replicas(value), age_seconds=ages[name]) for name, value in votes.items())
    return Demand(
        votes=(*requests, *modelled),
        backlog=_backlog(load, behind, service),
        overdue=ttft is not None and behind > patience(service, ttft) * service.slots * max(ready, 1),
    )


def _backlog(load: Load, behind: float, service: Service) -> float:
    """Replica-seconds: of the batch for those that wait for it, or of prefill for all without a first token, whichever is more."""
    if service.residence is None or service.prompt is None or load.running is None or load.output_rate is None:
        return 0.0
    silent = behind + max(load.running - load.output_rate * service.itl, 0.0)
    return max(behind * service.residence / service.slots, silent * service.prompt / service.prefill)
