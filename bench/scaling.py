"""The operator's scaling policy beside its peers and a clairvoyant reference, on the same traffic, in one process.

    deploy/bin/uv run --frozen python -m bench.scaling --azure AzureLLMInferenceTrace_conv.csv --write docs/scaling-figures.md

The trace is public: https://github.com/Azure/AzurePublicDataset, data/AzureLLMInferenceTrace_conv.csv. Without --azure the generated
traffic alone is run; all of that is made from seeds. Every trace is run as it is and as three copies, with load times of 20, 100 and 300 s.

A replica is the sketch of a 405B one on eight GPUs that simulate/service.py has as its defaults. A run begins with as many ready replicas
as the clairvoyant scaler (at a use of 0.8) needs on average in the first ten minutes. The clairvoyant run that others are set against is
the cheapest of its uses of capacity that attains 0.99, or the one that attains most.

`ours` has the objective of a time to first token and knows the replica's numbers, not its load time, which it has to learn.
`ours:in-flight` has nothing but a number of requests for each replica, as the peers have. TARGETS are tried for each of them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from llama_operator.scaling.policy import Policy
from llama_operator.scaling.service import Service as Belief
from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.generate import CODE, CONVERSATION, Mix, bursty, diurnal_week, flash_crowd, poisson
from llama_operator.simulate.policies import clairvoyant
from llama_operator.simulate.policies.aibrix import Aibrix
from llama_operator.simulate.policies.hpa import Hpa
from llama_operator.simulate.policies.keda import Keda
from llama_operator.simulate.policies.knative import Knative
from llama_operator.simulate.policies.ours import Ours
from llama_operator.simulate.policies.ray_serve import RayServe
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.report import attainment, reference
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.traces import read_trace, superpose
from llama_operator.simulate.view import Scaler

TTFT_SECONDS = 6.0
LOADS = (20.0, 100.0, 300.0)
COPIES = (1, 3)
SPREAD = 0.2
"""Standard deviation of the load time's logarithm."""
MOST_REPLICAS = 24
TARGETS = (48.0, 64.0)
"""Requests in flight for each replica, of 64 slots: with fewer, peers pay half as much again or more on steady traffic."""
MOST_STATIC = 1.3
GOOD_ATTAINMENT, GOOD_COST = 0.98, 1.10
COMMAND = "python -m bench.scaling --azure AzureLLMInferenceTrace_conv.csv --write docs/scaling-figures.md"
START_SECONDS = 600.0
HOUR = 3600.0
MODERATE = Mix(rate=CONVERSATION.rate, cv=3.0, prompt=CONVERSATION.prompt, output=CONVERSATION.output)
"""Conversations that come in bursts, as the Mooncake trace's do (coefficient of variation of its pauses: 3.0)."""

Traffic = Callable[[], Iterable[Request]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One policy in one cell."""

    policy: str
    attainment: float
    replicas: float
    seconds: float
    changes: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One trace, so many copies, one load time."""

    trace: str
    copies: int
    load: float
    known: Run
    runs: Sequence[Run]


def traffic(azure: Path | None) -> dict[str, Traffic]:
    """What is run, by name. Parameters were chosen on the generated ones."""
    made: dict[str, Traffic] = {
        "poisson": lambda: poisson(CONVERSATION, HOUR, 1),
        "bursts": lambda: bursty(MODERATE, HOUR, 2),
        "flash crowd": lambda: flash_crowd(CONVERSATION, HOUR, 5, 1500.0, 3.0, 600.0),
        "code": lambda: bursty(CODE, HOUR, 3),
    }
    if azure is not None:
        made["azure conversation"] = lambda: read_trace(azure.read_text(encoding="utf-8").splitlines(), "azure")
    # The longest comes last.
    made["day"] = lambda: diurnal_week(CONVERSATION, 4, seconds=3 * HOUR, day_seconds=3 * HOUR)
    return made


def setup(requests: Sequence[Request], load: float) -> Setup:
    """The same world for all."""
    service = Service()
    first = [request for request in requests if request.arrival < START_SECONDS]
    (known,) = clairvoyant.schedules(first, service, HOUR, (0.8,))
    return Setup(
        service=service,
        load=LoadTime(seconds=load, spread=SPREAD),
        initial=max(round(fmean(known.levels or [1])), 1),
        maximum=MOST_REPLICAS,
    )


def scalers(service: Service, known: float) -> list[Scaler]:
    """Ours, the peers over TARGETS, and the fixed numbers that cost about as much as the `known` mean of replicas."""
    belief = Belief(prefill=service.prefill, slots=service.slots, itl=service.itl, kv=service.kv)
    timely = Policy(min_replicas=1, max_replicas=1, ttft_seconds=TTFT_SECONDS, service=belief, scale_down_seconds=None)
    made: list[Scaler] = [Ours(policy=timely, kv=service.kv)]
    for target in TARGETS:
        counting = Policy(min_replicas=1, max_replicas=1, in_flight_per_replica=target)
        mine = Ours(policy=counting, kv=service.kv, name="ours:in-flight")
        made += [mine, *(peer(target=target) for peer in (Hpa, Keda, Knative, RayServe, Aibrix))]
    fixed = range(max(math.floor(known), 1), min(math.ceil(known * MOST_STATIC), MOST_REPLICAS) + 1)
    return made + [Static(replicas=number) for number in fixed]


def run(scaler: Scaler, requests: Sequence[Request], world: Setup) -> tuple[Run, Outcome]:
    """One run and its figures."""
    outcome = simulate(requests, scaler, world)
    target = getattr(scaler, "target", None) or getattr(getattr(scaler, "policy", None), "in_flight_per_replica", None)
    made = Run(
        policy=f"{scaler.name}:{target:g}" if target else scaler.name,
        attainment=attainment(outcome, TTFT_SECONDS) or 0.0,
        replicas=outcome.replica_seconds / outcome.end,
        seconds=outcome.replica_seconds,
        changes=len(outcome.changes),
    )
    return made, outcome


def cell(name: str, copies: int, load: float, azure: Path | None) -> Cell:
    """All policies on one kind of traffic."""
    base = list(traffic(azure)[name]())
    requests = list(superpose(lambda: base, copies))
    world = setup(requests, load)
    outcomes = [run(scaler, requests, world) for scaler in clairvoyant.schedules(requests, world.service, load)]
    best = reference([outcome for _, outcome in outcomes], TTFT_SECONDS)
    (known,) = [made for made, outcome in outcomes if outcome is best]
    runs = [run(scaler, requests, world)[0] for scaler in scalers(world.service, known.replicas)]
    return Cell(trace=name, copies=copies, load=load, known=known, runs=runs)


def dominating(mine: Run, others: Iterable[Run]) -> list[Run]:
    """Peers that attain more for less."""
    return [other for other in others if other.attainment > mine.attainment and other.seconds < mine.seconds]


def good(mine: Run, known: Run) -> bool:
    """The aim is reached."""
    return mine.attainment >= GOOD_ATTAINMENT * known.attainment and mine.seconds <= GOOD_COST * known.seconds


def peers(found: Cell) -> list[Run]:
    """All that are not ours, nor a fixed number that only hindsight would choose."""
    return [made for made in found.runs if not made.policy.startswith(("ours", "static"))]


def summary(cells: Sequence[Cell]) -> str:
    """One row a cell: ours, and who is better in both."""
    rows = [
        "| trace | copies | load s | clairvoyant: attained, replicas | ours: attained, replicas | of clairvoyant | aim | better peers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in cells:
        known, mine = found.known, found.runs[0]
        better = ", ".join(f"{other.policy} ({other.attainment:.4f}, {other.replicas:.2f})" for other in dominating(mine, peers(found)))
        share = f"{mine.attainment / known.attainment:.3f}, {mine.seconds / known.seconds:.3f}"
        where = f"{found.trace} | {found.copies} | {found.load:g} | {known.attainment:.4f}, {known.replicas:.2f}"
        aim = "yes" if good(mine, known) else "no"
        rows.append(f"| {where} | {mine.attainment:.4f}, {mine.replicas:.2f} | {share} | {aim} | {better or 'none'} |")
    return "\n".join(rows)


def whole(found: Cell) -> str:
    """Every run of a cell. Dominated: another policy that is no fixed number attains more for less."""
    rivals = [made for made in found.runs if not made.policy.startswith("static")]
    rows = (
        f"| {made.policy} | {made.attainment:.4f} | {made.replicas:.2f} | {made.attainment / found.known.attainment:.3f} "
        f"| {made.seconds / found.known.seconds:.3f} | {made.changes} | {'yes' if dominating(made, rivals) else 'no'} |"
        for made in (found.known, *found.runs)
    )
    head = (
        f"### {found.trace}, {found.copies} {'copies' if found.copies > 1 else 'copy'}, load time {found.load:g} s",
        "",
        "| policy | attainment | mean replicas | attainment of clairvoyant | replica-seconds of clairvoyant | changes | dominated |",
        "|---|---|---|---|---|---|---|",
    )
    return "\n".join((*head, *rows))


def page(cells: Sequence[Cell]) -> str:
    """The whole document."""
    reached = sum(good(found.runs[0], found.known) for found in cells)
    alone = sum(not dominating(found.runs[0], peers(found)) for found in cells)
    begun = f"""# Scaling: ours, its peers, and a scaler that knows every arrival

Written by `{COMMAND}`; what is compared, and with which numbers, stands at the top of `bench/scaling.py`.
Why the policy is as it is, and why cells fail: [ADR 0008](adr/0008-scaling-policy.md).

Attainment is the share of requests with a first token within {TTFT_SECONDS:g} s; a number behind a policy's name is its requests in flight
for each replica. Peers run at their documented defaults with {len(TARGETS)} such numbers.

| aim | reached |
|---|---|
| {GOOD_ATTAINMENT} of the clairvoyant's attainment for {GOOD_COST:.2f} of its replica-seconds | {reached} of {len(cells)} cells |
| no peer with a higher attainment for fewer replica-seconds | {alone} of {len(cells)} cells |"""
    return "\n\n".join((begun, summary(cells), "## Every run", *(whole(found) for found in cells)))


def read_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="bench.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--azure", type=Path, help="AzureLLMInferenceTrace_conv.csv of the Azure public dataset")
    parser.add_argument("--write", type=Path, help="a Markdown file to write, beside the summary on standard output")
    parser.add_argument("--trace", action="append", help="only this traffic; may be given several times")
    parser.add_argument("--copies", type=int, action="append", choices=COPIES, help="only so many copies; may be given several times")
    parser.add_argument("--jobs", type=int, default=1, help="cells at once, each in a process")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the grid."""
    asked = read_arguments(given)
    known = traffic(asked.azure)
    wanted = asked.trace or list(known)
    if unknown := sorted(set(wanted) - set(known)):
        print(f"--trace: no traffic {', '.join(unknown)}; there is {', '.join(known)}", file=sys.stderr)
        return 2
    grid = [(name, copies, load, asked.azure) for copies in asked.copies or COPIES for name in wanted for load in LOADS]
    cells: list[Cell] = []
    with ProcessPoolExecutor(max(asked.jobs, 1)) as pool:
        for found in pool.map(cell, *zip(*grid, strict=True)):
            print(summary([found]).splitlines()[-1], flush=True)
            cells.append(found)
            if asked.write:  # with every cell: a long run that is stopped leaves what it has
                asked.write.write_text(page(cells) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
