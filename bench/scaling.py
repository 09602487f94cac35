"""The operator's scaling policy beside its peers and a clairvoyant reference, on the same traffic.

    deploy/bin/uv run --frozen python -m bench.scaling --azure AzureLLMInferenceTrace_conv.csv --grid --keep runs.jsonl --write docs

The trace is public: https://github.com/Azure/AzurePublicDataset, data/AzureLLMInferenceTrace_conv.csv. Without --azure the generated
traffic alone is run; all of that is made from seeds. Every trace is run as it is and as three copies, with load times of 20, 100 and 300 s.
Requests go where the operator's clusters send them: by choice of three, each pod's router for itself (simulate/routing.py).
Who is compared: scaling_grid.py. What is written: scaling_page.py.

Every run is a line of the file --keep, and none that is there is run again: what was stopped goes on, and after a change of the policy
`--again ours` drops its runs; after a change of all of them, as of the routing, take a new file. --peers and --grid say how many of the
peers are run, the grid not on the day of 24 h, whose runs take longest by far; --only-write runs nothing.

A replica is the sketch of a 405B one on eight GPUs that simulate/service.py has as its defaults. A run begins with as many ready replicas
as the clairvoyant scaler (at a use of 0.8) needs on average in the first ten minutes. The clairvoyant run that others are set against is
the cheapest of its uses of capacity that attains 0.99, or the one that attains most.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from bench.scaling_grid import MOST_REPLICAS, TTFT_SECONDS, USES, fixed, grid, ours, peers
from bench.scaling_page import WORDS, Cell, Run, chosen, picture, row, text

from llama_operator.simulate.capacity import capacity
from llama_operator.simulate.engine import LoadTime, Setup, simulate
from llama_operator.simulate.generate import CODE, CONVERSATION, MOONCAKE, Mix, bursty, diurnal_week, flash_crowd, poisson
from llama_operator.simulate.policies import clairvoyant
from llama_operator.simulate.report import attainment
from llama_operator.simulate.routing import CHOICES
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.traces import read_trace, superpose
from llama_operator.simulate.view import Scaler

LOADS = (20.0, 100.0, 300.0)
COPIES = (1, 3)
SPREAD = 0.2
"""Standard deviation of the load time's logarithm."""
START_SECONDS = 600.0
HOUR = 3600.0
STEEP_DAY, WHOLE_DAY = "steep day", "day of 24 h"
FULL = 64.0
"""Requests in flight: any number, to count policies by."""
MODERATE = Mix(rate=CONVERSATION.rate, cv=3.0, prompt=CONVERSATION.prompt, output=CONVERSATION.output)
"""Conversations that come in bursts, as the Mooncake trace's do (coefficient of variation of its pauses: 3.0)."""
LONG_PROMPTS = replace(MOONCAKE, rate=MOONCAKE.rate / 8)
"""Mooncake's conversations at 0.42 a second, an eighth of the trace's 3.4 (12,031 requests in 59 minutes:
https://github.com/kvcache-ai/Mooncake, FAST25-release/traces/conversation_trace.jsonl). With 12,000 prompt tokens each they are work for
five to eight replicas, and three copies find place within MOST_REPLICAS. One prompt in eleven takes longer than TTFT_SECONDS by itself:
nobody attains more than 0.91."""

Traffic = Callable[[], Iterable[Request]]


class Where(NamedTuple):
    """A cell: one traffic, so many copies, one load time."""

    trace: str
    copies: int
    load: float


def traffic(azure: Path | None) -> dict[str, Traffic]:
    """What is run, by name. Parameters were chosen on the generated ones."""
    made: dict[str, Traffic] = {
        "poisson": lambda: poisson(CONVERSATION, HOUR, 1),
        "bursts": lambda: bursty(MODERATE, HOUR, 2),
        "flash crowd": lambda: flash_crowd(CONVERSATION, HOUR, 5, 1500.0, 3.0, 600.0),
        "code": lambda: bursty(CODE, HOUR, 3),
        "mooncake": lambda: bursty(LONG_PROMPTS, HOUR, 6),
    }
    if azure is not None:
        made["azure conversation"] = lambda: read_trace(azure.read_text(encoding="utf-8").splitlines(), "azure")
    # The longest come last.
    for name, seconds in ((STEEP_DAY, 3 * HOUR), (WHOLE_DAY, 24 * HOUR)):
        made[name] = partial(diurnal_week, CONVERSATION, 4, seconds=seconds, day_seconds=seconds)
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
        routing=CHOICES,
    )


def in_flight(service: Service, requests: Sequence[Request]) -> float:
    """Requests in a replica that is wholly used."""
    return capacity(service, fmean(each.prompt for each in requests), fmean(each.output for each in requests)).in_flight


def run(label: str, scaler: Scaler, requests: Sequence[Request], world: Setup) -> Run:
    """One run and its figures."""
    outcome = simulate(requests, scaler, world)
    return Run(
        policy=label,
        attainment=attainment(outcome, TTFT_SECONDS) or 0.0,
        replicas=outcome.replica_seconds / outcome.end,
        seconds=outcome.replica_seconds,
        changes=len(outcome.changes),
    )


def cell(where: Where, options: argparse.Namespace) -> Cell:
    """Everything that is asked for on one kind of traffic; every run is kept as soon as it is there."""
    base = list(traffic(options.azure)[where.trace]())
    requests = list(superpose(lambda: base, where.copies))
    world = setup(requests, where.load)
    full = in_flight(world.service, requests)
    found = kept(options.keep).get(where, {})

    def runs(scalers: Iterable[tuple[str, Scaler]]) -> Iterator[Run]:
        for label, scaler in scalers:
            if label not in found:
                found[label] = run(label, scaler, requests, world)
                keep(options.keep, where, found[label])
            yield found[label]

    known = clairvoyant.schedules(requests, world.service, where.load, USES)
    best = chosen(list(runs((f"clairvoyant use={use:g}", each) for use, each in zip(USES, known, strict=True))))
    mine = list(runs(ours(world.service, full)))
    usual = list(runs(peers(full) if options.peers or options.grid else ()))
    tuned = list(runs(grid(full) if options.grid and where.trace != WHOLE_DAY else ()))
    still = list(runs(fixed(best.replicas) if usual else ()))
    return Cell(**where._asdict(), known=best, ours=mine, usual=usual, tuned=tuned, fixed=still)


def kept(path: Path | None) -> dict[Where, dict[str, Run]]:
    """The runs of a file, the newest of each policy in each cell."""
    found: dict[Where, dict[str, Run]] = {}
    if path is not None and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            where = Where(values.pop("trace"), values.pop("copies"), values.pop("load"))
            found.setdefault(where, {})[values["policy"]] = Run(**values)
    return found


def keep(path: Path | None, where: Where, made: Run) -> None:
    """One line more; a whole one, though several processes write."""
    if path is not None:
        line = json.dumps(where._asdict() | made.__dict__) + "\n"
        with path.open("ab", buffering=0) as file:
            file.write(line.encode())


def forget(path: Path, policy: str) -> None:
    """Drop the runs of a policy, whatever follows the first colon or blank of its label."""
    lines = path.read_text(encoding="utf-8").splitlines()
    left = [line for line in lines if json.loads(line)["policy"].replace(":", " ").split()[0] != policy]
    path.write_text("".join(f"{line}\n" for line in left), encoding="utf-8")


def cells_of(path: Path | None, wanted: Sequence[Where]) -> list[Cell]:
    """What is kept of the wanted cells, where at least the reference and ours are."""
    made = []
    for where, runs in kept(path).items():
        known = [each for each in runs.values() if each.policy.startswith("clairvoyant")]
        if where not in wanted or "ours" not in runs or len(known) < len(USES):
            continue
        parts: dict[str, list[Run]] = {"ours": [], "clairvoyant": [], "static": [], "usual": [], "tuned": []}
        targets = {each.policy.split(":")[2] for each in runs.values() if each.policy.startswith("ours:")}
        for each in runs.values():
            usual = each.policy.partition(":")[2] in targets
            parts[each.family if each.family in parts else "usual" if usual else "tuned"].append(each)
        # A part that was stopped on the way says nothing of what is not in it.
        for kind, whole in (("usual", peers(FULL)), ("tuned", grid(FULL))):
            if len(parts[kind]) < len(list(whole)):
                parts[kind].clear()
        mine = sorted(parts["ours"], key=lambda each: (len(each.policy), each.policy))
        made.append(
            Cell(**where._asdict(), known=chosen(known), ours=mine, usual=parts["usual"], tuned=parts["tuned"], fixed=parts["static"])
        )
    return sorted(made, key=lambda each: wanted.index(Where(each.trace, each.copies, each.load)))


def write(folder: Path, cells: Sequence[Cell]) -> None:
    """The page and the picture."""
    (folder / "scaling-figures.md").write_text(text(cells, WORDS) + "\n", encoding="utf-8")
    (folder / "scaling-pareto.svg").write_text(picture(cells) + "\n", encoding="utf-8")


def read_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="bench.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--azure", type=Path, help="AzureLLMInferenceTrace_conv.csv of the Azure public dataset")
    parser.add_argument("--keep", type=Path, help="a file of JSON lines, one for each run")
    parser.add_argument("--again", metavar="POLICY", help="forget what --keep has of it, as of `ours` or `hpa`")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="where scaling-figures.md and scaling-pareto.svg go; needs --keep")
    parser.add_argument("--only-write", action="store_true", help="of what is kept")
    parser.add_argument("--peers", action="store_true", help="the peers too, at their defaults, and fixed numbers")
    parser.add_argument("--grid", action="store_true", help=f"and the peers over their settings, but for the {WHOLE_DAY}")
    parser.add_argument("--trace", action="append", help="only this traffic; may be given several times")
    parser.add_argument("--copies", type=int, action="append", choices=COPIES, help="only so many copies; may be given several times")
    parser.add_argument("--load", type=float, action="append", choices=LOADS, help="only this load time; may be given several times")
    parser.add_argument("--jobs", type=int, default=1, help="cells at once, each in a process")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the cells."""
    options = read_arguments(given)
    known = traffic(options.azure)
    names = options.trace or list(known)
    if unknown := sorted(set(names) - set(known)):
        print(f"--trace: no traffic {', '.join(unknown)}; there is {', '.join(known)}", file=sys.stderr)
        return 2
    if options.write and not options.keep:
        print("--write: needs --keep, the file of the runs that are written", file=sys.stderr)
        return 2
    if options.again and options.keep and options.keep.exists():
        forget(options.keep, options.again)
    wanted = [Where(*each) for each in product(names, options.copies or COPIES, options.load or LOADS)]
    if not options.only_write:
        begun = time.monotonic()
        # Cells of little work first, so that a run that is stopped leaves many of them.
        ranked = sorted(wanted, key=lambda each: (each.copies, names.index(each.trace)))
        with ProcessPoolExecutor(max(options.jobs, 1)) as pool:
            for found in pool.map(cell, ranked, [options] * len(ranked)):
                print(row(found), flush=True)
        print(f"{time.monotonic() - begun:.0f} s on {os.cpu_count()} cores", file=sys.stderr)
    if options.write:
        write(options.write, cells_of(options.keep, [Where(*each) for each in product(known, COPIES, LOADS)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
