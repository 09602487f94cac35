"""Whether a LlamaDeployment's scaling objective can be kept at all: what needs the plan of a replica to be said.

objective                       refused where
timeToFirstTokenSeconds         it is not known what a replica can do: the autoscaler would have to guess
timeToFirstTokenSeconds         not even one idle replica gives a prompt of one token its answer in that time
scaleToZeroAfter                a replica takes longer to load than it would be kept without a request: it would go as soon as it came
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llama_operator.api.duration import words
from llama_operator.api.problems import Problem, show
from llama_operator.planning.replica import NoRates, Rates

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec

OBJECTIVE = "spec.autoscaling.objective.timeToFirstTokenSeconds"


def check_objective(spec: LlamaDeploymentSpec, rates: Rates | NoRates) -> Iterator[Problem]:
    """Every problem of the objective with a replica that does `rates`."""
    scaling = spec.autoscaling
    if scaling is None:
        return
    wished = scaling.objective.time_to_first_token_seconds
    if wished is not None and isinstance(rates, NoRates):
        yield Problem(
            field=OBJECTIVE,
            given=f"{wished:g}",
            allowed=f"nothing here: {rates.why}, so how many replicas would keep it cannot be said",
            remedy="Set spec.autoscaling.objective.inFlightPerReplica instead, or serve a model of the hub or the catalogue.",
        )
    if isinstance(rates, NoRates):
        return
    if wished is not None and wished < rates.least_first_token:
        yield Problem(
            field=OBJECTIVE,
            given=f"{wished:g}",
            allowed=f"at least {rates.least_first_token:.3g}, the time to the first token of a prompt of one token on an idle replica",
            remedy="Raise it, or make a replica faster: more GPUs of spec.parallelism.tensor, or a quantised model.",
        )
    idle = scaling.idle_seconds(scaling.min_replicas)
    if idle is not None and rates.load_seconds is not None and idle < rates.load_seconds:
        yield Problem(
            field="spec.autoscaling.scaleToZeroAfter",
            given=show(scaling.scale_to_zero_after) if scaling.scale_to_zero_after else f"the default, {words(idle)}",
            allowed=f"at least {rates.load_seconds:.0f}s, the time that a replica takes to load",
            remedy="Raise it: a replica that goes sooner than it comes costs more than it saves.",
        )
