"""The scalers by the names that `--policy` takes: one row for each, and what is wrong with what was asked for.

ours                        the operator's
hpa  keda  kpa  ray         the peers; NAME:N with N requests in flight for each replica as their target
aibrix  aibrix-kpa
static:N                    always N
clairvoyant                 the reference, which knows the traffic
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llama_operator.api.duration import seconds_of
from llama_operator.api.problems import Problem, show
from llama_operator.api.v1alpha1 import SCALE_TO_ZERO_AFTER
from llama_operator.scaling.policy import Policy
from llama_operator.scaling.service import Service as Belief
from llama_operator.simulate.document import REFERENCE
from llama_operator.simulate.engine import Setup
from llama_operator.simulate.policies.aibrix import Aibrix
from llama_operator.simulate.policies.aibrix_kpa import AibrixKpa
from llama_operator.simulate.policies.hpa import Hpa
from llama_operator.simulate.policies.keda import Keda
from llama_operator.simulate.policies.knative import Knative
from llama_operator.simulate.policies.ours import Ours
from llama_operator.simulate.policies.ray_serve import RayServe
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.view import Ask, Scaler, Sight, View

OURS, STATIC = "ours", "static"
PEERS: Mapping[str, Callable[[float], Scaler]] = {
    "hpa": lambda target: Hpa(target=target),
    "keda": lambda target: Keda(target=target),
    "kpa": lambda target: Knative(target=target),
    "ray": lambda target: RayServe(target=target),
    "aibrix": lambda target: Aibrix(target=target),
    "aibrix-kpa": lambda target: AibrixKpa(target=target),
}
NAMES = (OURS, *PEERS, STATIC, REFERENCE)
ALLOWED = f"one of {', '.join((OURS, *PEERS, f'{STATIC}:N', REFERENCE))}"
IDLE_SECONDS = float(seconds_of(SCALE_TO_ZERO_AFTER) or 0)
"""spec.autoscaling.scaleToZeroAfter where nothing is said."""
MOST_REPLICAS = 1000
"""As the bound of spec.autoscaling.maxReplicas."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One policy that was asked for. `number`: replicas of static, target of a peer; None where none was given."""

    name: str
    number: float | None = None

    @property
    def label(self) -> str:
        """As it was asked for."""
        return self.name if self.number is None else f"{self.name}:{self.number:g}"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What scalers are told. Seconds."""

    in_flight: float
    """Requests for each replica: the peers' objective."""
    ttft_seconds: float = 6.0
    percentile: float = 0.95
    """Share of the requests that `ttft_seconds` should hold for."""
    of_ttft: bool = False
    """Whether ours is told `ttft_seconds`, where it can be; else it is told `in_flight`."""
    scale_up_seconds: float = 0.0
    scale_down_seconds: float | None = None
    """None: as the costs and the load time have it."""
    idle_seconds: float | None = IDLE_SECONDS
    """Without a request for so long the last replica of ours goes, where the minimum is 0."""
    load_seconds: float | None = None
    """What ours is told of the load time before the first load. None: nothing."""
    gpus: int = 1
    """Of one replica: ours moves those of several one at a time."""
    looks_for_room: bool = True
    """Ours asks for no replica that has no place."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A scaler under another name."""

    name: str
    scaler: Scaler

    @property
    def sight(self) -> Sight:
        """Its own."""
        return self.scaler.sight

    def look(self, view: View, memory: Any) -> Ask:
        """Its own."""
        return self.scaler.look(view, memory)


def read_policies(text: str) -> tuple[list[Entry], list[Problem]]:
    """The policies of a list with commas between them, and everything that is wrong with it."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for part in text.split(","):
        name, colon, number = part.strip().partition(":")
        if name not in NAMES:
            problems.append(_unknown(name))
            continue
        if name == STATIC and not colon:
            problems.append(_problem(part, f"{STATIC}:N with the number of replicas", f"Write {STATIC}:8 for eight."))
            continue
        if colon and name in {OURS, REFERENCE}:
            problems.append(_problem(part, f"{name} without a number", "Remove what follows the colon."))
            continue
        entry = Entry(name=name, number=_number(number, whole=name == STATIC) if colon else None)
        if colon and entry.number is None:
            what = f"a whole number of replicas from 0 to {MOST_REPLICAS}" if name == STATIC else "a number of requests above 0"
            problems.append(_problem(part, f"{name}:N, N being {what}", "Correct it."))
        elif entry in entries:
            problems.append(_problem(part, "every policy once", "Remove it."))
        else:
            entries.append(entry)
    return entries, problems


def scaler(entry: Entry, objective: Objective, setup: Setup) -> Scaler:
    """The scaler of an entry that is not the reference, which must be made from the traffic."""
    if entry.name == STATIC:
        return Static(replicas=int(entry.number or 0))
    if entry.name == OURS:
        return _ours(objective, setup)
    made = PEERS[entry.name](entry.number or objective.in_flight)
    return made if entry.number is None else Named(name=entry.label, scaler=made)


def _ours(objective: Objective, setup: Setup) -> Scaler:
    """The operator's policy as it would be configured."""
    if objective.of_ttft:
        told = setup.service
        policy = Policy(
            min_replicas=setup.minimum,
            max_replicas=setup.maximum,
            ttft_seconds=objective.ttft_seconds,
            percentile=objective.percentile,
            service=Belief(prefill=told.prefill, slots=told.slots, itl=told.itl, kv=told.kv),
            scale_up_seconds=objective.scale_up_seconds,
        )
    else:
        policy = Policy(
            min_replicas=setup.minimum,
            max_replicas=setup.maximum,
            in_flight_per_replica=objective.in_flight,
            scale_up_seconds=objective.scale_up_seconds,
        )
    policy = replace(policy, scale_down_seconds=objective.scale_down_seconds, load_seconds=objective.load_seconds)
    policy = replace(policy, gpus=max(objective.gpus, 1))
    return Ours(policy=policy, kv=setup.service.kv, idle_seconds=objective.idle_seconds, looks_for_room=objective.looks_for_room)


def check_static(entries: list[Entry], minimum: int, maximum: int) -> Iterator[Problem]:
    """Fixed numbers outside the bounds, which would be silently moved into them."""
    for entry in entries:
        if entry.name == STATIC and entry.number is not None and not minimum <= entry.number <= maximum:
            remedy = "Change it, or --min and --max." if minimum < maximum else "Change it, or --min."
            yield _problem(entry.label, f"a number within --min {minimum} and --max {maximum}", remedy)


def _number(text: str, *, whole: bool) -> float | None:
    if len(text) > 12 or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    if whole:
        return value if text.isdigit() and value <= MOST_REPLICAS else None
    return value if math.isfinite(value) and value > 0 and "_" not in text else None


def _unknown(name: str) -> Problem:
    near = difflib.get_close_matches(name.lower()[:200], NAMES, n=1, cutoff=0.5)
    hint = f"{near[0]}:N" if near == [STATIC] else "".join(near)
    return _problem(name, ALLOWED, f"Did you mean {hint}?" if hint else "Choose of these, with commas between them.")


def _problem(given: str, allowed: str, remedy: str) -> Problem:
    return Problem(field="--policy", given=show(given.encode("utf-8", "backslashreplace").decode()), allowed=allowed, remedy=remedy)
