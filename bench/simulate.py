"""How long a trace hour takes for each policy, on one core.

deploy/bin/uv run --frozen python -m bench.simulate [TRACE ...]                   seconds of a core for each trace hour
deploy/bin/uv run --frozen python -m bench.simulate --profile ours [TRACE]        where they go

A TRACE is a file in any format that `kubectl llama simulate` reads, as AzureLLMInferenceTrace_conv.csv of
https://github.com/Azure/AzurePublicDataset; without one, traffic is generated.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from llama_operator.cli.simulate_traffic import generate, read_file
from llama_operator.simulate.capacity import in_flight_target, replicas_at_begin
from llama_operator.simulate.compare import Contest, compare
from llama_operator.simulate.engine import LoadTime, Setup
from llama_operator.simulate.lineup import Objective, read_policies
from llama_operator.simulate.routing import CHOICES, ROUTINGS, Routing
from llama_operator.simulate.service import Service
from llama_operator.simulate.traffic import Traffic

TARGET_SECONDS = 2.0
POLICIES = "ours,hpa,keda,kpa,ray,aibrix,static:8,clairvoyant"
ROUNDS = 3


def contest(traffic: Traffic, policies: str, routing: Routing) -> Contest:
    """With the defaults of the command, 100 s to load."""
    service = Service()
    begin = min(max(replicas_at_begin(service, traffic), 1), 24)
    return Contest(
        traffic=traffic,
        entries=tuple(read_policies(policies)[0]),
        setup=Setup(service=service, load=LoadTime(seconds=100), initial=begin, routing=routing),
        objective=Objective(in_flight=float(in_flight_target(service, traffic))),
        ttft_seconds=6.0,
    )


def traffics(traces: list[str]) -> dict[str, Traffic]:
    """Every trace once and three times at once."""
    found: dict[str, Traffic] = {}
    for copies in (1, 3):
        if traces:
            found |= {f"{Path(trace).name} x{copies}": read_file(trace, None, copies) for trace in traces}
        else:
            found |= {f"{kind} x{copies}": generate(kind, 1.0, 0, copies) for kind in ("conversation", "code", "mooncake", "flash")}
    return found


def main() -> None:
    """Print the table, or the profile."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("traces", nargs="*", metavar="TRACE")
    parser.add_argument("--profile", metavar="POLICY")
    parser.add_argument("--routing", choices=ROUTINGS, default=CHOICES)
    options = parser.parse_args()
    made = traffics(options.traces)
    if options.profile:
        name, traffic = list(made.items())[-1]
        with cProfile.Profile() as profile:
            list(compare(contest(traffic, options.profile, options.routing)))
        print(f"{options.profile} on {name}")
        pstats.Stats(profile).sort_stats("tottime").print_stats(18)
        return
    table = Table(
        "traffic", "requests", *POLICIES.split(","), title=f"seconds of one core for a trace hour; the target is {TARGET_SECONDS:g}"
    )
    for name, traffic in made.items():
        cells = []
        for policy in POLICIES.split(","):
            took = []
            for _ in range(ROUNDS):
                begun = time.process_time()
                list(compare(contest(traffic, policy, options.routing)))
                took.append(time.process_time() - begun)
            cells.append(f"{min(took) * 3600 / traffic.seconds:.2f}")
        table.add_row(name, f"{len(traffic):,}", *cells)
    Console(width=130).print(table)
    print("clairvoyant: all of its uses of capacity that are tried, one to six runs")


if __name__ == "__main__":
    main()
