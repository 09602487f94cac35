"""Policies on the same traffic, one run after the other. Of a run figures and a plot are kept, so that memory does not grow with policies.

The clairvoyant reference is the highest of its uses of capacity with which it attains GOOD_ATTAINMENT, tried from the highest, that is
from the cheapest; where none does, the one that attains most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from llama_operator.simulate.document import REFERENCE
from llama_operator.simulate.engine import Change, Setup, simulate
from llama_operator.simulate.figures import Figures, figures
from llama_operator.simulate.lineup import OURS, Entry, Named, Objective, scaler
from llama_operator.simulate.plot import Plot, plot_of
from llama_operator.simulate.policies.clairvoyant import schedules
from llama_operator.simulate.report import GOOD_ATTAINMENT
from llama_operator.simulate.service import Request, Service
from llama_operator.simulate.traffic import Traffic
from llama_operator.simulate.view import Scaler

Watch = Callable[[str, Iterable[Request]], Iterable[Request]]
"""Sees the requests of the named run go by, to tell how far it is."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One policy, or with `change` ours with one setting changed."""

    figures: Figures
    plot: Plot
    change: str = ""
    changes: tuple[Change, ...] = ()
    """Of the wanted number, oldest first."""
    cramped: float = 0.0
    """Seconds in which more replicas were wanted than there was place for."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The same replica on another accelerator, and how many of them it takes."""

    accelerator: str
    service: Service
    gpus: int
    places: int | None = None
    """As `Setup.places`, of these replicas."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What is compared. `ttft_seconds` is what a request should have its first token within."""

    traffic: Traffic
    entries: tuple[Entry, ...]
    setup: Setup
    objective: Objective
    ttft_seconds: float
    elsewhere: tuple[Elsewhere, ...] = ()


def unwatched(_: str, requests: Iterable[Request]) -> Iterable[Request]:
    """Nobody looks."""
    return requests


def compare(contest: Contest, watch: Watch = unwatched) -> Iterator[Run]:
    """Every policy in turn."""
    setup = contest.setup
    for entry in contest.entries:
        if entry.name == REFERENCE:
            yield _known(contest, watch)
        else:
            yield _run(contest, scaler(entry, contest.objective, setup), setup, watch)


def neighbours(contest: Contest, watch: Watch = unwatched) -> Iterator[Run]:
    """Ours with one bound moved by one, with its objective a quarter more and less, and on other accelerators. A bound that cannot be
    is left out.
    """
    for change, setup, objective in variations(contest):
        ours = Named(name=f"{OURS}@{change}", scaler=scaler(Entry(name=OURS), objective, setup))
        run = _run(contest, ours, setup, watch)
        yield replace(run, change=change)


def variations(contest: Contest) -> Iterator[tuple[str, Setup, Objective]]:
    """The settings beside those of the contest, each with its name."""
    setup, objective = contest.setup, contest.objective
    for minimum in (setup.minimum - 1, setup.minimum + 1):
        if minimum >= 0 and _fits(setup, minimum, setup.maximum):
            yield f"min={minimum}", replace(setup, minimum=minimum, initial=max(setup.initial, minimum)), objective
    for maximum in (setup.maximum - 1, setup.maximum + 1):
        if maximum >= 1 and _fits(setup, setup.minimum, maximum):
            yield f"max={maximum}", replace(setup, maximum=maximum, initial=min(setup.initial, maximum)), objective
    for factor in (0.75, 1.25):
        if objective.of_ttft:
            seconds = float(f"{objective.ttft_seconds * factor:.3g}")
            yield f"ttft={seconds:g}", setup, replace(objective, ttft_seconds=seconds)
            continue
        target = max(1.0, round(objective.in_flight * factor))
        if target != objective.in_flight:
            yield f"target={target:g}", setup, replace(objective, in_flight=target)
    for other in contest.elsewhere:
        yield (
            f"accelerator={other.accelerator}",
            replace(setup, service=other.service, places=other.places),
            replace(objective, gpus=other.gpus),
        )


def _fits(setup: Setup, least: int, most: int) -> bool:
    """Whether a resource may have these bounds: equal ones are refused where no window sets them apart."""
    return least < most if setup.windows is None else least <= most and setup.windows.fits(least, most)


def _known(contest: Contest, watch: Watch) -> Run:
    best: Run | None = None
    for each in reversed(schedules(contest.traffic, contest.setup.service, contest.setup.load.seconds)):
        run = _run(contest, each, contest.setup, watch)
        if (run.figures.attainment or 0.0) >= GOOD_ATTAINMENT:
            return run
        if best is None or (run.figures.attainment or 0.0) > (best.figures.attainment or 0.0):
            best = run
    if best is None:
        raise AssertionError("the reference has no use of capacity to try")
    return best


def _run(contest: Contest, chosen: Scaler, setup: Setup, watch: Watch) -> Run:
    outcome = simulate(watch(chosen.name, contest.traffic), chosen, setup)
    plot = plot_of(outcome, contest.traffic)
    return Run(figures=figures(outcome, contest.ttft_seconds), plot=plot, changes=tuple(outcome.changes), cramped=outcome.cramped)
