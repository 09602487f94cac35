"""Two choices beside other ways to route, on fixed numbers of replicas and in a crowd that makes them come and go.

    PYTHONPATH=operator:serving:. deploy/bin/uv run --frozen python -m bench.routing_simulated [--seconds 1800] [--jobs 2]

    least             a router that knows what everybody has in hand: no cluster has it
    round-robin       in turns, each pod's router for itself
    choices       of three drawn the one with the fewest by the router's counts: what the operator's clusters do (simulate/routing.py)
    fewest            as choices, with all drawn
    of two            as choices, with two drawn

Requests are Poisson with the lengths of Azure's conversations, as many as use the given share of what the replicas sustain. `64 slots` is
the replica that --service has by default; `4 slots` is one whose requests take 6 s. The crowd is three times as many for ten minutes of an
hour, scaled by ours with loads of 100 s. Every figure is a mean over the seeds, times to first token in seconds.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import fmean
from typing import NamedTuple

from bench.scaling import in_flight
from bench.scaling import setup as world
from bench.scaling_grid import MOST_REPLICAS, TTFT_SECONDS, ours

from llama_operator.simulate.capacity import capacity
from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.figures import attainment, percentiles
from llama_operator.simulate.generate import CONVERSATION, flash_crowd, poisson
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.routing import ROUTERS, Choices, Router
from llama_operator.simulate.service import Service
from llama_operator.simulate.traces import superpose

SERVICES = {"64 slots": Service(), "4 slots": Service(prefill=10_000.0, slots=4, itl=6.0 / CONVERSATION.output.mean)}
REPLICAS = (2, 3, 8, 24)
USES = (0.5, 0.7, 0.85, 0.95)
SEEDS = (0, 1, 2)
SHARES = (0.5, 0.95, 0.99)


MADE: dict[str, Callable[[float, int], Router]] = {
    **{str(name): made for name, made in ROUTERS.items()},
    "of two": partial(Choices, drawn=2),
    "fewest": partial(Choices, drawn=MOST_REPLICAS),
}


class Case(NamedTuple):
    """What is run: a service, replicas or copies of the crowd, the share that is used (of a crowd 0)."""

    service: str
    number: int
    use: float

    @property
    def name(self) -> str:
        """In words."""
        what = f"{self.number} copies of the crowd" if not self.use else f"{self.number} replicas, {self.use:g} used"
        return f"{self.service}, {what}"


def outcome(case: Case, routing: str, seconds: float, seed: int) -> Outcome:
    """One run."""
    service = SERVICES[case.service]
    router = MADE[routing](math.inf, seed)
    if case.use:
        most = capacity(service, CONVERSATION.prompt.mean, CONVERSATION.output.mean).requests_per_second
        requests = poisson(replace(CONVERSATION, rate=case.use * case.number * most), seconds, seed)
        setup = Setup(service=service, load=LoadTime(seconds=0), initial=case.number, maximum=case.number, scrape=60.0, seed=seed)
        return simulate(requests, Static(replicas=case.number), setup, router)
    base = list(flash_crowd(CONVERSATION, 3600.0, seed, 1500.0, 3.0, 600.0))
    crowd = list(superpose(partial(list, base), case.number))
    _, scaler = next(ours(service, in_flight(service, crowd)))
    return simulate(crowd, scaler, replace(world(crowd, 100.0), seed=seed), router)


def row(asked: tuple[Case, str, float]) -> str:
    """Means over the seeds, as one line of a table."""
    case, routing, seconds = asked
    found = [outcome(case, routing, seconds, seed) for seed in SEEDS]
    told = ([math.inf if each is None else each for each in percentiles(run.ttft, SHARES)] for run in found)
    ranks = [fmean(each) for each in zip(*told, strict=True)]
    attained = fmean(attainment(run, TTFT_SECONDS) or 0.0 for run in found)
    cells = (
        case.name,
        routing,
        *(f"{rank:.2f}" for rank in ranks),
        f"{attained:.4f}",
        f"{fmean(run.replica_seconds for run in found):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main(given: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="bench.routing_simulated", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1800.0, help="of traffic on a fixed number of replicas (1800)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each in a process (1)")
    options = parser.parse_args(given)
    cases = [*(Case(*each) for each in product(SERVICES, REPLICAS, USES)), Case("64 slots", 1, 0.0), Case("64 slots", 3, 0.0)]
    print(f"| case | routing | p50 | p95 | p99 | within {TTFT_SECONDS:g} s | replica-seconds |\n|{'---|' * 7}")
    with ProcessPoolExecutor(max(options.jobs, 1)) as pool:
        for line in pool.map(row, [(case, routing, options.seconds) for case in cases for routing in MADE]):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
