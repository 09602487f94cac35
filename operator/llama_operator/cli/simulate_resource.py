"""What a LlamaDeployment says of a simulation: its bounds, its objective, and a replica as its plan has it.

simulated engine    its arguments are the service
vllm                the plan of what would run, with the share of its bounds that engines reach
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.cli.models import Asked, as_source, find_model
from llama_operator.cli.refusals import BadInput
from llama_operator.planning.admission import LARGEST_UTILIZATION, LEAST_OVERHEAD_BYTES, admit
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.of_spec import hardware_of, wishes_of
from llama_operator.planning.fit.option import Fit, context_of
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.gpus import GangShape, gang_shape, lay
from llama_operator.planning.hardware.accelerators import CATALOGUE, Hardware
from llama_operator.planning.replica import SHARE, rates_of_fit, simulated_rates, slots_of
from llama_operator.simulate.compare import Elsewhere
from llama_operator.simulate.from_plan import service_of_rates
from llama_operator.simulate.service import Service


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A replica, and where its numbers are from. `gpus` of one replica; 0 where it takes none or they do not matter."""

    service: Service
    words: str
    gpus: int
    shape: GangShape | None = None
    """Its pods and their GPUs; None where it takes none or they are not known."""
    load_seconds: float | None = None
    """As the operator knows it before the first load: from the plan. None: not at all."""
    elsewhere: tuple[Elsewhere, ...] = ()
    """The same on accelerators with less and with more memory bandwidth."""


def planned(arguments: argparse.Namespace, spec: LlamaDeploymentSpec, mean_tokens: float, gpus: int | None = None) -> Planned:
    """The replica of that spec under requests of `mean_tokens`, prompt and answer. Raises BadInput.

    `gpus` are those of the cluster; None: any number.
    """
    if spec.engine.type == "simulated":
        return _simulated(spec)
    source = spec.model.source if arguments.model is None else as_source(arguments.model)
    field = "spec.model.source" if arguments.model is None else "--model"
    asked = Asked(source=source, revision=spec.model.revision, field=field, path=arguments.model_path, read_hub=arguments.read_hub)
    model = find_model(asked)
    hardware = hardware_of(spec)
    if isinstance(hardware, list):
        raise BadInput.of(*hardware)
    found = _plan(spec, model, hardware, mean_tokens)
    return replace(found, elsewhere=tuple(_elsewhere(spec, model, hardware, mean_tokens, gpus)))


def shape_given(spec: LlamaDeploymentSpec) -> GangShape | None:
    """The pods of a spec that says its own parallelism, so that nothing need be planned; None where it does not, or takes no GPU."""
    return _shape(spec) if spec.parallelism.tensor is not None else None


def places(gpus: int, node: int, shape: GangShape) -> int:
    """Replicas that `gpus` GPUs hold, `node` of them on a node and the rest on one more. A pod lies on one node."""
    whole, rest = divmod(gpus, node)
    return (whole * (node // shape.gpus_per_pod) + rest // shape.gpus_per_pod) // shape.pods


def _plan(spec: LlamaDeploymentSpec, model: ModelFacts, hardware: Hardware, mean_tokens: float) -> Planned:
    # The split is the operator's own choice, and the plan that of its question: first with the planned room, then with the least.
    admission = admit(spec, model)
    if admission.split is None:
        raise BadInput.of(*admission.problems)
    wishes = wishes_of(spec, model, admission.split)
    share = wishes.utilization if "gpu_memory_utilization" in spec.engine.args else LARGEST_UTILIZATION
    tight = replace(wishes, overhead_bytes=LEAST_OVERHEAD_BYTES, utilization=share)
    fit = plan_fit(model, hardware, wishes).chosen or plan_fit(model, hardware, tight).chosen
    if fit is None:
        raise BadInput.of(_unknown(f"of which is said: {admission.message}", "Give --service with measured numbers."))
    rates = rates_of_fit(fit, context_of(model, wishes), mean_tokens, slots_of(spec))
    if rates is None:
        what = f"one on {hardware.accelerator.name}, whose arithmetic or bandwidth is not known"
        raise BadInput.of(_unknown(what, "Give --service with measured numbers."))
    return Planned(
        service=service_of_rates(rates),
        words=_words(fit, hardware.accelerator.name),
        gpus=fit.gpus,
        shape=lay(fit.tensor, fit.pipeline, spec.hardware.gpus_per_node) if fit.gpus else None,
        load_seconds=rates.load_seconds,
    )


def _elsewhere(
    spec: LlamaDeploymentSpec, model: ModelFacts, hardware: Hardware, mean_tokens: float, gpus: int | None
) -> Iterator[Elsewhere]:
    """On the next slower and the next faster accelerator of the catalogue, by bandwidth, on which the spec can be planned."""
    here = hardware.accelerator.bandwidth
    if here is None or hardware.accelerator.is_cpu:
        return
    known = sorted((each for each in CATALOGUE.values() if each.bandwidth and not each.is_cpu), key=lambda each: each.bandwidth or 0.0)
    slower = [each for each in reversed(known) if (each.bandwidth or 0.0) < here]
    faster = [each for each in known if (each.bandwidth or 0.0) > here]
    for side in (slower, faster):
        for accelerator in side:
            named = spec.hardware.model_copy(update={"accelerator": accelerator.name, "custom": None})
            try:
                found = _plan(spec.model_copy(update={"hardware": named}), model, replace(hardware, accelerator=accelerator), mean_tokens)
            except BadInput:
                continue
            held = None if gpus is None or found.shape is None else places(gpus, spec.hardware.gpus_per_node, found.shape)
            yield Elsewhere(accelerator=accelerator.name, service=found.service, gpus=found.gpus, places=held)
            break


def _shape(spec: LlamaDeploymentSpec) -> GangShape | None:
    shape = gang_shape(spec)
    return shape if isinstance(shape, GangShape) and shape.gpus else None


def _words(fit: Fit, accelerator: str) -> str:
    gpus = "on the CPU" if not fit.gpus else f"on {fit.gpus} {accelerator}"
    return f"planned {gpus}, at {SHARE:.0%} of the data sheet's rates"


def _simulated(spec: LlamaDeploymentSpec) -> Planned:
    # Its slots hold a whole context each: room is nothing that requests wait for.
    rates = simulated_rates(spec)
    service = replace(service_of_rates(rates), kv=float("inf"))
    words = "as the simulated engine's arguments say"
    return Planned(service=service, words=words, gpus=0, shape=_shape(spec), load_seconds=rates.load_seconds)


def _unknown(what: str, remedy: str) -> Problem:
    return Problem(field="-f", given=f"a replica {what}", allowed="one whose speed can be planned", remedy=remedy)
