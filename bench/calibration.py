"""The simulator against a real run: the same arrivals, replicas of the simulated engine on the local cluster, a real Prometheus.

    PYTHONPATH=operator:serving:deploy/local deploy/bin/uv run --frozen python -m bench.calibration --record run.json
    deploy/bin/uv run --frozen python -m bench.calibration --of run.json          what a recorded run comes to, without a cluster

Arrivals are Poisson from a seed, of a rate that steps up and down again (STEPS): one replica, then three, then one. A client in the cluster
sends them when they are due, whatever became of those before, and measures each first token. Beside it the replicas are counted once a
second: a pod counts from the order of its replica until it is gone.

The simulator is then given the arrivals as they were sent, the engine's numbers as they stand in the spec, the operator's policy as the
operator makes it of the spec, the local Prometheus' scrape interval, and how long a replica took to load in that run: a load time is an
input of a simulation, not what it predicts. What it predicts is replica-seconds, attainment and the times of first tokens: the mean over
SEEDS, since the pods at which requests enter are drawn. It routes as the operator's clusters do, by choice; of a record from before
they did, say `--routing round-robin`.

Beside that prediction stand two others, which say where a difference is from: with the number of replicas changed when the cluster changed
it (then the policy has no part in it), and, so scaled, with a router that knows who has the fewest in hand.

About eight minutes on the cluster; what is there already is used as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llama_operator.scaling.policy import Policy
from llama_operator.simulate.engine import LoadTime, Outcome, Setup, simulate
from llama_operator.simulate.figures import attainment, percentile
from llama_operator.simulate.policies.ours import Ours
from llama_operator.simulate.routing import CHOICES, LEAST, ROUTINGS, Routing
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.view import Ask, Sight, View

STEPS = ((60.0, 0.25), (150.0, 1.5), (180.0, 0.2))
"""Seconds, and requests per second. One replica of SLOTS slots ends SLOTS * TOKENS_PER_SECOND / TOKENS = 0.67 in a second."""
SEED = 7
SEEDS = 20
"""Of the simulation, over which predictions are averaged."""
TOKENS = 30
SLOTS, TOKENS_PER_SECOND, ENGINE_LOAD_SECONDS = 4, 5.0, 20.0
IN_FLIGHT, MOST, DOWN_SECONDS = 4, 3, 60
TTFT_SECONDS = 6.0
SCRAPE_SECONDS = 2.0
"""deploy/local/manifests/prometheus.yaml"""
LAG_SECONDS = 2.0
"""From the engine's counters to a scrape: Ray's own report interval (serving/llama_serving/agent/raystart.py)."""
NAMESPACE, NAME = "calibration", "calibrated"
PROMPT_TOKENS = 6.0
"""Of the client's prompt, about; at 10,000 prompt tokens a second they do not count."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One request as the client saw it. Seconds: `sent` since the record began, the others since it was sent; None: it never came."""

    sent: float
    first: float | None
    seconds: float
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run on the cluster. `counts` has a row of (seconds, wanted, replicas with a pod, ready) for each look at them."""

    begun: str
    answers: Sequence[Answer]
    counts: Sequence[tuple[float, int, int, int]]

    @classmethod
    def of(cls, text: str) -> Record:
        """What `--record` wrote."""
        values = json.loads(text)
        answers = [Answer(**each) for each in values["answers"]]
        return cls(begun=values["begun"], answers=answers, counts=[tuple(each) for each in values["counts"]])

    @property
    def end(self) -> float:
        """When the last answer was there."""
        return max(each.sent + each.seconds for each in self.answers)

    @property
    def loads(self) -> list[float]:
        """Seconds from each rise of the wanted number until as many were ready."""
        found = []
        for (_, before, _, _), (at, wanted, _, _) in pairwise(self.counts):
            for number in range(before + 1, wanted + 1):
                done = next((time for time, _, _, ready in self.counts if time >= at and ready >= number), None)
                if done is not None:
                    found.append(done - at)
        return found


def arrivals() -> Iterator[float]:
    """Seconds since the start."""
    source, begin = random.Random(SEED), 0.0
    for seconds, rate in STEPS:
        time = begin + source.expovariate(rate)
        while time < begin + seconds:
            yield round(time, 2)
            time += source.expovariate(rate)
        begin += seconds


def integral(counts: Sequence[tuple[float, int, int, int]], end: float) -> float:
    """Replica-seconds from 0 to `end`: each look holds until the next."""
    total = 0.0
    for (begin, _, number, _), (until, _, _, _) in pairwise([*counts, (end, 0, 0, 0)]):
        total += max(min(until, end) - max(begin, 0.0), 0.0) * number
    return total


@dataclass(frozen=True, kw_only=True)
class AsItWas:
    """Wants what was wanted: `changes` of (seconds, replicas), oldest first."""

    changes: Sequence[tuple[float, int]]
    name: str = "as it was"

    @property
    def sight(self) -> Sight:
        """As often as the cluster was looked at."""
        return Sight(every=1.0)

    def look(self, view: View, memory: object) -> Ask:
        """What was wanted by then."""
        del memory
        return Ask(next((wanted for time, wanted in reversed(self.changes) if time <= view.now), 1), None, "Known")


def predict(record: Record, *, scaled: bool = False, routing: Routing = CHOICES, seed: int = 0) -> Outcome:
    """The simulator's answer to the arrivals of a record; `scaled`: with its changes of the wanted number.

    Raises ValueError where nothing was loaded in it, nor anything answered.
    """
    if not record.loads or not record.answers:
        raise ValueError("the record has no load of a replica, or no answer: there is nothing to predict from")
    policy = Policy(min_replicas=1, max_replicas=MOST, in_flight_per_replica=float(IN_FLIGHT), scale_down_seconds=float(DOWN_SECONDS))
    setup = Setup(
        service=Service(prefill=10_000.0, slots=SLOTS, itl=1 / TOKENS_PER_SECOND),
        load=LoadTime(seconds=statistics.fmean(record.loads)),
        maximum=MOST,
        scrape=SCRAPE_SECONDS,
        lag=LAG_SECONDS,
        routing=routing,
        seed=seed,
    )
    requests = [Request(each.sent, PROMPT_TOKENS, TOKENS) for each in sorted(record.answers, key=lambda each: each.sent)]
    changes = [(at, wanted) for at, wanted, _, _ in record.counts]
    return simulate(requests, AsItWas(changes=changes) if scaled else Ours(policy=policy, kv=setup.service.kv), setup)


@dataclass(frozen=True, kw_only=True)
class Told:
    """Means over the seeds. Seconds."""

    cost: float
    attained: float
    p50: float
    p95: float


def over_seeds(record: Record, *, scaled: bool = False, routing: Routing = CHOICES) -> Told:
    """What `predict` comes to."""
    runs = [predict(record, scaled=scaled, routing=routing, seed=seed) for seed in range(1 if routing == LEAST else SEEDS)]
    return Told(
        cost=statistics.fmean(run.replica_seconds for run in runs),
        attained=statistics.fmean(attainment(run, TTFT_SECONDS) or 0.0 for run in runs),
        p50=statistics.fmean(percentile(run, 0.5) or math.inf for run in runs),
        p95=statistics.fmean(percentile(run, 0.95) or math.inf for run in runs),
    )


def observed(record: Record) -> Told:
    """What the run on the cluster came to."""
    firsts = sorted(each.first if each.first is not None else math.inf for each in record.answers)
    return Told(
        cost=integral(record.counts, record.end),
        attained=sum(first <= TTFT_SECONDS for first in firsts) / len(firsts),
        p50=_rank(firsts, 0.5),
        p95=_rank(firsts, 0.95),
    )


def told(record: Record, routing: Routing = CHOICES) -> Table:
    """The run and its predictions, side by side."""
    seen = observed(record)
    asked: tuple[tuple[bool, Routing], ...] = ((False, routing), (True, routing), (True, LEAST))
    made = [over_seeds(record, scaled=scaled, routing=each) for scaled, each in asked]
    table = Table(title=f"{len(record.answers)} requests, {record.begun}", title_justify="left")
    for name in ("", "cluster", "simulator", "scaled as\nthe cluster was", "and with a\nrouter that knows"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("replica-seconds", f"{seen.cost:.0f}", *(f"{each.cost:.0f} ({each.cost / seen.cost - 1:+.1%})" for each in made))
    attained = (f"{each.attained:.3f} ({100 * (each.attained - seen.attained):+.1f} points)" for each in made)
    table.add_row(f"first token within {TTFT_SECONDS:g} s", f"{seen.attained:.3f}", *attained)
    table.add_row("p50 of the first token, s", f"{seen.p50:.2f}", *(f"{each.p50:.2f} ({each.p50 - seen.p50:+.2f})" for each in made))
    table.add_row("p95 of the first token, s", f"{seen.p95:.2f}", *(f"{each.p95:.2f} ({each.p95 - seen.p95:+.2f})" for each in made))
    changes = [f"{after} at {at:.0f}" for (_, before, _, _), (at, after, _, _) in pairwise(record.counts) if before != after]
    outcome = predict(record, routing=routing)
    table.add_row("wanted, s", ", ".join(changes), ", ".join(f"{each.after} at {each.time:.0f}" for each in outcome.changes), "", "")
    table.add_row("broken", str(sum(each.error is not None for each in record.answers)), str(outcome.unserved), "", "")
    table.caption = f"loads of {', '.join(f'{each:.0f}' for each in record.loads)} s in the cluster; the simulator is given their mean"
    return table


def _rank(ranked: Sequence[float], share: float) -> float:
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)]


def drive() -> Record:
    """The run on the cluster. Raises what went wrong there."""
    # Here and not above: `--of` needs no cluster, nor what deploy/local needs.
    from localcluster.api import ApiError
    from playground.stage import Stage, autoscaling

    stage = Stage().prepare()
    space = stage.namespace(NAMESPACE)
    client = stage.client(space)
    if space.llama(NAME):
        space.delete_llama(NAME)
        space.wait_gone(NAME, 120)
    args = {"tokensPerSecond": TOKENS_PER_SECOND, "slots": SLOTS, "loadSeconds": ENGINE_LOAD_SECONDS}
    space.apply(stage.simulated(NAME, args=args, autoscaling=autoscaling(MOST, in_flight=IN_FLIGHT, down_seconds=DOWN_SECONDS)))
    space.wait_ready(NAME, 1, 240)
    space.wait_reason(NAME, "MetricsAvailable", "Fresh", 90)
    counts: list[tuple[float, int, int, int]] = []
    begun, clock = time.time(), time.monotonic()
    load = client.replay(f"http://{NAME}", NAME, list(arrivals()), TOKENS)
    try:
        while load.running:
            try:
                status = space.status(NAME)
                pods = len(space.pods(NAME))
            except ApiError as error:
                print(f"not counted: {error}", file=sys.stderr)
            else:
                ready = int(str(status.get("ready") or "0").partition("/")[0])
                counts.append((round(time.monotonic() - clock, 2), status["autoscaling"]["desiredReplicas"], pods, ready))
            time.sleep(1.0)  # noqa: TID251 - the counting itself, once a second
        result = load.result()
    finally:
        load.stop()
        space.delete_llama(NAME)
    # The client's clock is this machine's: it begins when its process is there.
    late = result["begunAt"] - begun
    moved = [(max(at - late, 0.0), wanted, pods, ready) for at, wanted, pods, ready in counts]
    return Record(
        begun=datetime.now(UTC).strftime("%Y-%m-%d"), answers=[Answer(**each) for each in result["answers"]], counts=_distinct(moved)
    )


def _distinct(counts: Sequence[tuple[float, int, int, int]]) -> list[tuple[float, int, int, int]]:
    """Looks that saw something else than the one before."""
    return [each for index, each in enumerate(counts) if index == 0 or each[1:] != counts[index - 1][1:]]


def main(given: Sequence[str] | None = None) -> int:
    """Run, keep, compare."""
    parser = argparse.ArgumentParser(prog="bench.calibration", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, help="where the run is kept")
    parser.add_argument("--of", type=Path, help="a run that was kept: nothing is started")
    parser.add_argument("--routing", choices=ROUTINGS, default=CHOICES, help=f"of the cluster that was recorded ({CHOICES})")
    options = parser.parse_args(given)
    record = Record.of(options.of.read_text(encoding="utf-8")) if options.of else drive()
    if options.record:
        options.record.write_text(json.dumps(_plain(record)) + "\n", encoding="utf-8")
    Console(highlight=False).print(told(record, options.routing))
    return 0


def _plain(record: Record) -> Mapping[str, Any]:
    return asdict(record)


if __name__ == "__main__":
    sys.exit(main())
