"""What a LlamaDeployment says of a simulation: its bounds, its objective, and a replica as its plan has it.

simulated engine    its arguments are the service
vllm                the plan of what would run, with the share of its bounds that engines reach
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.cli.models import Asked, as_source, find_model
from llama_operator.cli.question import hardware_of, named_as_written, of_spec
from llama_operator.cli.refusals import BadInput
from llama_operator.planning.fit.option import Fit, context_of
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.parallelism import parallelism_of
from llama_operator.simulate.from_plan import SHARE, default_slots, service_of_plan
from llama_operator.simulate.service import Service

SIMULATED_PREFILL, SIMULATED_TOKENS, SIMULATED_SLOTS = 10_000.0, 70.0, 64
"""What the simulated engine does where its arguments do not say (`SimulatedArgs` in llama_serving.engines.simulated)."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A replica, and where its numbers are from. `gpus` of one replica; 0 where it takes none or they do not matter."""

    service: Service
    words: str
    gpus: int


def planned(arguments: argparse.Namespace, spec: LlamaDeploymentSpec, mean_tokens: float) -> Planned:
    """The replica of that spec under requests of `mean_tokens`, prompt and answer. Raises BadInput."""
    if spec.engine.type == "simulated":
        return _simulated(spec)
    source = spec.model.source if arguments.model is None else as_source(arguments.model)
    field = "spec.model.source" if arguments.model is None else "--model"
    asked = Asked(source=source, revision=spec.model.revision, field=field, path=arguments.model_path, read_hub=arguments.read_hub)
    model = find_model(asked)
    hardware = hardware_of(spec)
    if isinstance(hardware, list):
        raise BadInput.of(*(named_as_written(problem) for problem in hardware))
    wishes = of_spec(spec, model, parallelism_of(spec))
    plan = plan_fit(model, hardware, wishes)
    if plan.verdict == "invalid":
        raise BadInput.of(*(named_as_written(problem) for problem in plan.problems))
    if plan.chosen is None:
        why = "; ".join(f"{each.option}: {each.reason}" for each in plan.rejected)
        raise BadInput.of(_unknown(f"one that does not fit ({why})", "See kubectl llama plan -f FILE, or give --service."))
    given = spec.engine.args.get("max_num_seqs")
    slots = given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else default_slots(hardware.accelerator)
    service = service_of_plan(plan.chosen, context_of(model, wishes), mean_tokens, slots)
    if service is None:
        what = f"one on {hardware.accelerator.name}, whose arithmetic or bandwidth is not known"
        raise BadInput.of(_unknown(what, "Give --service with measured numbers."))
    return Planned(service=service, words=_words(plan.chosen, hardware.accelerator.name), gpus=plan.chosen.gpus)


def _words(fit: Fit, accelerator: str) -> str:
    gpus = "on the CPU" if not fit.gpus else f"on {fit.gpus} {accelerator}"
    return f"planned {gpus}, at {SHARE:.0%} of the data sheet's rates"


def _simulated(spec: LlamaDeploymentSpec) -> Planned:
    args = spec.engine.args
    service = Service(
        prefill=float(args.get("prefillTokensPerSecond", SIMULATED_PREFILL)),
        itl=1 / float(args.get("tokensPerSecond", SIMULATED_TOKENS)),
        slots=int(args.get("slots", SIMULATED_SLOTS)),
    )
    return Planned(service=replace(service, kv=float("inf")), words="as the simulated engine's arguments say", gpus=0)


def _unknown(what: str, remedy: str) -> Problem:
    return Problem(field="-f", given=f"a replica {what}", allowed="one whose speed can be planned", remedy=remedy)
