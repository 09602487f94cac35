"""What is simulated, from a LlamaDeployment, from options, or from both: an option counts more.

options ─▶ numbers, policies, traffic ─┐
file ────▶ bounds, objective, replica ─┴─▶ contest, and where everything is from

Options are looked at first, and all that is wrong with them is told at once; then the file; then the traffic, which may take long.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec, ScheduleSpec
from llama_operator.cli import numbers, simulate_traffic
from llama_operator.cli.files import shown
from llama_operator.cli.plan import spec_of_file
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.simulate_numbers import read_begin, read_numbers, read_service
from llama_operator.cli.simulate_resource import Planned, places, planned, shape_given
from llama_operator.planning.gpus import GangShape
from llama_operator.simulate.capacity import in_flight_target, replicas_at_begin
from llama_operator.simulate.compare import Contest
from llama_operator.simulate.engine import LoadTime, Setup
from llama_operator.simulate.generate import KINDS
from llama_operator.simulate.lineup import IDLE_SECONDS, Entry, Objective, check_static, read_policies
from llama_operator.simulate.routing import CHOICES, ROUTINGS
from llama_operator.simulate.service import Service
from llama_operator.simulate.traces import FORMS
from llama_operator.simulate.traffic import Traffic
from llama_operator.simulate.windows import Windows

POLICIES = "ours,hpa,keda,kpa,ray,aibrix,aibrix-kpa,clairvoyant"
MINIMUM, MAXIMUM, TTFT_SECONDS, SCRAPE_SECONDS = 1, 24, 6.0, 15.0
WINDOW = "7d"
STEP_SECONDS = 60
SPEED = ("prefill", "slots", "itl", "kv")
"""With all of these given, a file's replica need not be planned."""

BEGIN_REMEDY = "Give it, as in --begin 2026-11-23T06:00:00+01:00."

Bring = Callable[[], tuple[Traffic, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A contest, and what is to be said of it."""

    contest: Contest
    traffic: str
    """Where the traffic is from."""
    replica: str
    """Where the replica's numbers are from."""
    resource: str | None
    """The file that gave bounds and objective."""
    gpus: int
    """Of one replica; 0 where that is not known."""
    notes: tuple[str, ...]
    room: str = ""
    """How many replicas the cluster holds, in words; empty where it was not asked."""
    begin: float | None = None
    """When the traffic begins, in seconds since 1970; None: nobody says."""
    changes: bool = False
    """Whether the changes of ours are to be listed."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the options and the file say, before the traffic is there."""

    given: Mapping[str, Any]
    service: Mapping[str, Any]
    entries: tuple[Entry, ...]
    minimum: int
    maximum: int
    begin: float | None
    """When the traffic begins, in seconds since 1970, where an option says it."""
    schedules: tuple[ScheduleSpec, ...]


def ask(arguments: argparse.Namespace) -> Question:
    """The question of the options over the file. Raises BadInput with every problem that can be told at once."""
    problems: list[Problem] = []
    given = read_numbers(arguments, problems)
    entries, wrong = read_policies(POLICIES if arguments.policy is None else arguments.policy)
    problems += wrong
    service = {} if arguments.service is None else read_service(arguments.service, problems)
    if arguments.load_seconds is None:
        remedy = "Measure how long a replica takes from being ordered to ready, as in --load-seconds 300."
        problems.append(Problem(field="--load-seconds", given="nothing", allowed="a number of seconds", remedy=remedy))
    if arguments.routing is not None and arguments.routing not in ROUTINGS:
        problems.append(_choice("--routing", arguments.routing, ROUTINGS))
    begin = None if arguments.begin is None else read_begin(arguments.begin, problems)
    if "gpus" in given and arguments.file is None:
        remedy = "Give it with -f, or say with --max how many replicas there is place for."
        problems.append(Problem(field="--gpus", given=arguments.gpus, allowed="GPUs for the replicas of a file", remedy=remedy))
    words, bring = _source(arguments, given, problems)
    if problems:
        raise BadInput.of(*problems)
    spec = None if arguments.file is None else spec_of_file(arguments.file, arguments.name)
    asked = _bounded(given, service, tuple(entries), spec, begin)
    traffic, notes = bring()
    return _question(arguments, asked, spec, traffic, words, notes)


def _bounded(
    given: Mapping[str, Any],
    service: Mapping[str, Any],
    entries: tuple[Entry, ...],
    spec: LlamaDeploymentSpec | None,
    begin: float | None,
) -> _Asked:
    scaling = spec.autoscaling if spec else None
    schedules = tuple(scaling.schedules) if scaling else ()
    minimum, maximum = MINIMUM, MAXIMUM
    if scaling is not None:
        minimum, maximum = scaling.min_replicas, scaling.max_replicas
    minimum, maximum = given.get("min", minimum), given.get("max", maximum)
    problems = []
    if minimum > maximum:
        remedy = "Lower it, or raise --max."
        problems.append(Problem(field="--min", given=str(minimum), allowed=f"at most --max, {maximum}", remedy=remedy))
    else:
        windows = Windows(schedules=schedules, begin=0.0)
        if not windows.fits(minimum, maximum):
            remedy = "Leave --min and --max out, or change the windows in the file."
            told = f"{minimum} and --max {maximum}"
            allowed = "bounds that contradict none of the file's time windows"
            problems.append(Problem(field="--min", given=told, allowed=allowed, remedy=remedy))
        least, most = windows.widest(minimum, maximum)
        problems += check_static(list(entries), least, most)
        initial = given.get("initial")
        if initial is not None and not least <= initial <= most:
            allowed = f"a number within --min {least} and --max {most}"
            problems.append(Problem(field="--initial", given=str(initial), allowed=allowed, remedy="Change it, or the bounds."))
    if problems:
        raise BadInput.of(*problems)
    return _Asked(given=given, service=service, entries=entries, minimum=minimum, maximum=maximum, begin=begin, schedules=schedules)


def _question(
    arguments: argparse.Namespace, asked: _Asked, spec: LlamaDeploymentSpec | None, traffic: Traffic, words: str, notes: list[str]
) -> Question:
    given = asked.given
    base = Planned(service=Service(), words="as --service gives it" if asked.service else "the defaults of --service", gpus=0)
    if spec is not None and not set(SPEED) <= set(asked.service):
        base = planned(arguments, spec, traffic.mean_prompt + traffic.mean_output, given.get("gpus"))
        base = replace(base, words=f"{base.words}, but for --service") if asked.service else base
    service = replace(base.service, **asked.service)
    scaling = spec.autoscaling if spec else None
    shape = base.shape or (shape_given(spec) if spec is not None else None)
    objective = _objective(given, spec, in_flight_target(service, traffic))
    objective = replace(objective, load_seconds=base.load_seconds, gpus=shape.gpus if shape else 1)
    setup = Setup(
        service=service,
        load=LoadTime(seconds=given["load_seconds"], spread=given.get("load_spread", 0.0)),
        initial=given.get("initial", replicas_at_begin(service, traffic)),
        minimum=asked.minimum,
        maximum=asked.maximum,
        scrape=given.get("scrape", SCRAPE_SECONDS),
        lag=given.get("lag", 0.0),
        seed=given.get("seed", 0),
        windows=_windows(asked, traffic),
        routing=arguments.routing or CHOICES,
        places=None if spec is None else _places(given, spec, shape),
    )
    setup = replace(setup, initial=_initial(setup, given=given.get("initial")))
    contest = Contest(
        traffic=traffic,
        entries=asked.entries,
        setup=setup,
        objective=objective,
        ttft_seconds=objective.ttft_seconds,
        elsewhere=() if asked.service else base.elsewhere,
    )
    if spec is not None and scaling is None:
        notes = [*notes, "the file asks for no autoscaling: bounds and objective are the options'"]
    if spec is not None and asked.service and spec.engine.type != "simulated":
        notes = [*notes, "what other accelerators would give and cost is left out: --service has the numbers of one"]
    resource = None if arguments.file is None else shown(arguments.file)
    room = ""
    if setup.places is not None and spec is not None and shape is not None:
        room = f"{given['gpus']:,} GPUs on nodes of {spec.hardware.gpus_per_node} hold {setup.places:,} replicas of {shape.gpus}"
    return Question(
        contest=contest,
        traffic=words,
        replica=base.words,
        resource=resource,
        gpus=base.gpus,
        notes=tuple(notes),
        room=room,
        begin=traffic.begun if asked.begin is None else asked.begin,
        changes=arguments.changes,
    )


def _windows(asked: _Asked, traffic: Traffic) -> Windows | None:
    """The file's, on the traffic's date. Raises BadInput where nobody says that date."""
    if not asked.schedules:
        return None
    begin = traffic.begun if asked.begin is None else asked.begin
    if begin is None:
        names = ", ".join(schedule.name for schedule in asked.schedules)
        allowed = f"when the traffic begins, which has no date of its own and meets the file's time windows ({names})"
        raise BadInput.of(Problem(field="--begin", given="nothing", allowed=allowed, remedy=BEGIN_REMEDY))
    return Windows(schedules=asked.schedules, begin=begin)


def _places(given: Mapping[str, Any], spec: LlamaDeploymentSpec, shape: GangShape | None) -> int | None:
    """Replicas that --gpus holds; None: any number. Raises BadInput where it holds none, or a replica takes no GPU."""
    gpus = given.get("gpus")
    if gpus is None:
        return None
    node = spec.hardware.gpus_per_node
    held = 0 if shape is None else places(gpus, node, shape)
    if not held:
        allowed = "GPUs where a replica takes some" if shape is None else f"enough for one replica: {shape.gpus} on nodes of {node}"
        remedy = "Say with --max how many there is place for." if shape is None else "Give more, or correct the file."
        raise BadInput.of(Problem(field="--gpus", given=str(gpus), allowed=allowed, remedy=remedy))
    return held


def _initial(setup: Setup, given: int | None) -> int:
    """Ready at the beginning: within the bounds of that moment, and where nobody says a number, no more than there is place for."""
    bounds, _ = setup.bounds(0.0)
    wished = setup.initial if given is not None or setup.places is None else min(setup.initial, setup.places)
    return min(max(wished, bounds.least), bounds.most)


def _objective(given: Mapping[str, Any], spec: LlamaDeploymentSpec | None, target: int) -> Objective:
    """What the options say, else the file, else the defaults; `target` in flight where nobody says a number."""
    scaling = spec.autoscaling if spec else None
    wished = scaling.objective if scaling else None
    in_flight = given.get("target") or (wished and wished.in_flight_per_replica)
    ttft = given.get("slo_ttft") or (wished and wished.time_to_first_token_seconds) or TTFT_SECONDS
    made = Objective(in_flight=float(in_flight or target), ttft_seconds=float(ttft), of_ttft=in_flight is None)
    if wished and wished.percentile is not None:
        made = replace(made, percentile=wished.percentile / 100)
    if "idle" in given:
        made = replace(made, idle_seconds=given["idle"])
    elif scaling is not None:
        made = replace(made, idle_seconds=float(scaling.idle_seconds(0) or IDLE_SECONDS))
    if spec is not None:
        # As lifecycle/scaling.py has it: who may drive others away leaves it to the scheduler.
        made = replace(made, looks_for_room=not spec.pod_template.spec.get("priorityClassName"))
    if scaling is not None:
        up, down = scaling.scale_up_stabilization_seconds, scaling.scale_down_stabilization_seconds
        made = replace(made, scale_up_seconds=float(up), scale_down_seconds=None if down is None else float(down))
    return made


def _source(arguments: argparse.Namespace, given: Mapping[str, Any], problems: list[Problem]) -> tuple[str, Bring]:
    """Where the traffic is to come from, in words, and what brings it."""
    named = {"--trace": arguments.trace, "--generate": arguments.generate, "--from-prometheus": arguments.from_prometheus}
    chosen = [option for option, value in named.items() if value is not None]
    seed, copies = given.get("seed", 0), given.get("copies", 1)
    if len(chosen) != 1:
        remedy = "Give a file with --trace, or try --generate conversation." if not chosen else "Remove the others."
        allowed = f"one of {', '.join(named)}"
        problems.append(Problem(field="--trace", given=" and ".join(chosen) or "nothing", allowed=allowed, remedy=remedy))
        return "", lambda: (Traffic(), [])
    if arguments.generate is not None:
        if arguments.generate not in KINDS:
            problems.append(_choice("--generate", arguments.generate, tuple(KINDS)))
        return f"generated {getattr(KINDS.get(arguments.generate), 'about', '')}", lambda: (
            simulate_traffic.generate(arguments.generate, given.get("hours"), seed, copies),
            [],
        )
    if arguments.from_prometheus is not None:
        return _history(arguments, given, problems)
    if arguments.format is not None and arguments.format not in FORMS:
        problems.append(_choice("--format", arguments.format, tuple(FORMS)))
    return shown(arguments.trace), lambda: (simulate_traffic.read_file(arguments.trace, arguments.format, copies), [])


def _history(arguments: argparse.Namespace, given: Mapping[str, Any], problems: list[Problem]) -> tuple[str, Bring]:
    from llama_operator.cli import simulate_history  # brings httpx

    text = WINDOW if arguments.window is None else arguments.window
    window, step = numbers.read_window(text), given.get("step", STEP_SECONDS)
    if window is None or not 2 * step <= window <= numbers.LONGEST:
        allowed = f"a time from {2 * step}s, two of --step, to 366d, as in 12h or 7d"
        problems.append(Problem(field="--window", given=quoted(text), allowed=allowed, remedy="Correct it."))
    asked = simulate_history.Asked(
        url=arguments.from_prometheus,
        namespace="default" if arguments.namespace is None else arguments.namespace,
        deployment=arguments.deployment or "",
        window=window or 2 * step,
        step=step,
    )
    problems += simulate_history.check(asked)
    seed, copies = given.get("seed", 0), given.get("copies", 1)
    return f"the last {text} of {asked.namespace}/{asked.deployment}", lambda: simulate_history.read(asked, seed, copies)


def _choice(field: str, given: str, allowed: tuple[str, ...]) -> Problem:
    near = difflib.get_close_matches(given[:200], allowed, n=1)
    remedy = f"Did you mean {near[0]}?" if near else "Choose one of these."
    return Problem(field=field, given=quoted(given), allowed=f"one of {', '.join(allowed)}", remedy=remedy)
