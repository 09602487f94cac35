"""The queueing of the simulator against queues whose answer is known: request by request where a recursion gives each one's wait, whose
mean is the formula's within 3 %; else the simulator's own mean, within 3 %.

M/M/c: Erlang's C formula, waiting time C(c, a) / (c mu - lambda). M/D/1: rho s / (2 (1 - rho)), Pollaczek and Khinchine. M/M/1 processor
sharing: s / (1 - rho) in the system. See L. Kleinrock, Queueing Systems, volume 1 (1975), sections 3.5, 5.6, and volume 2, section 4.4.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Iterable
from statistics import fmean

import pytest
from tests.harness.depth import DEEP

from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.service import Request, Service

BATCH = 40_000
PLAYED = BATCH if DEEP else 8_000
"""So many of them are also played to the simulator; a request's wait does not depend on later ones."""
INSTANT = 1e12


def draws(mean: float, seed: int) -> list[float]:
    """Exponential, and scaled so that the sample has the very mean that the formula is given: most of its noise is the noise of the load."""
    source = random.Random(seed)
    drawn = [source.expovariate(1.0) for _ in range(BATCH)]
    scale = mean / fmean(drawn)
    return [value * scale for value in drawn]


def exponential(rate: float, seed: int) -> list[Request]:
    """Poisson arrivals at `rate` a second; after the first token another one second's worth of tokens on average."""
    times = itertools.accumulate(draws(1 / rate, seed))
    return [Request(time, 0.0, 1.0 + work) for time, work in zip(times, draws(1.0, seed + 1000), strict=True)]


def run(requests: Iterable[Request], service: Service, replicas: int) -> Outcome:
    setup = Setup(service=service, load=LoadTime(seconds=0), initial=replicas, maximum=replicas, grace=1e6, scrape=1e5)
    return simulate(requests, Static(replicas=replicas), setup)


def erlang_c(servers: int, offered: float) -> float:
    below = sum(offered**k / math.factorial(k) for k in range(servers))
    full = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return full / (below + full)


def waits(arrivals: Iterable[float], works: Iterable[float], servers: int) -> list[float]:
    """Kiefer and Wolfowitz's recursion: each request takes the server that is free first."""
    free = [0.0] * servers
    found = []
    for arrival, work in zip(arrivals, works, strict=True):
        begun = max(arrival, heapq.heappop(free))
        found.append(begun - arrival)
        heapq.heappush(free, begun + work)
    return found


@pytest.mark.parametrize(
    ("servers", "use", "in_one_replica", "seed"),
    [(1, 0.5, True, 1), (2, 0.6, True, 1), (8, 0.7, True, 3), (2, 0.6, False, 1), (8, 0.7, False, 3)],
)
def test_slots_queue_as_m_m_c(servers: int, use: float, in_one_replica: bool, seed: int) -> None:
    """Whether the c slots lie in one replica, or c replicas of one slot each are fed from the router's queue."""
    requests = exponential(use * servers, seed)
    exact = waits((request.arrival for request in requests), (request.output - 1 for request in requests), servers)
    waiting = erlang_c(servers, use * servers)
    assert fmean(wait > 1e-5 for wait in exact) == pytest.approx(waiting, rel=0.03)
    assert fmean(exact) == pytest.approx(waiting / (servers * (1 - use)), rel=0.03)
    if in_one_replica:
        outcome = run(requests[:PLAYED], Service(prefill=INSTANT, itl=1.0, slots=servers, kv=math.inf), 1)
    else:
        outcome = run(requests[:PLAYED], Service(prefill=INSTANT, itl=1.0, slots=1, accepts=1, kv=math.inf), servers)
    assert max(abs(one - other) for one, other in zip(outcome.ttft, exact[:PLAYED], strict=True)) < 1e-5


@pytest.mark.parametrize(("use", "seed"), [(0.3, 5), (0.5, 6), (0.7, 7)])
def test_the_prefill_queues_as_m_d_1(use: float, seed: int) -> None:
    times = list(itertools.accumulate(draws(1 / use, seed)))
    exact = waits(times, itertools.repeat(1.0, BATCH), 1)
    assert fmean(exact) == pytest.approx(use / (2 * (1 - use)), rel=0.03)
    outcome = run((Request(time, 1000.0, 1.0) for time in times[:PLAYED]), Service(prefill=1000.0, slots=10_000, kv=math.inf), 1)
    assert max(abs(one - 1 - other) for one, other in zip(outcome.ttft, exact[:PLAYED], strict=True)) < 1e-5


@pytest.mark.parametrize(("use", "seed"), [(0.4, 8), (0.6, 10)] if DEEP else [(0.4, 8)])
def test_a_batch_that_slows_down_with_its_size_is_a_shared_processor(use: float, seed: int) -> None:
    """All time in the system is decode: the requests' mean number follows from it by Little's law."""
    requests = exponential(use, seed)
    outcome = run(requests, Service(prefill=INSTANT, itl=0.0, itl_per_sequence=1.0, slots=10_000, kv=math.inf), 1)
    assert outcome.served == len(requests)
    assert outcome.busy_seconds == pytest.approx(sum(request.output - 1 for request in requests), rel=1e-6)
    assert outcome.request_seconds / len(requests) == pytest.approx(1 / (1 - use), rel=0.03)
