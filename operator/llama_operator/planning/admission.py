"""What is known of a LlamaDeployment before a pod exists: over how many GPUs it is split, whether it fits, and why.

    its revision runs already      it keeps its split and its verdict: no later planner refuses what an earlier one let run
    the model is known             what it does not allow is refused; else the best split that fits, or the nearest changes that would
    the model is not known         accepted as it is given, and said so; the pods check the files before they load them
    it may be known soon           nothing begins that would have to be undone: the hub is asked again

Refused is only what cannot be: a split that misses by less than the planner's own reserve is accepted, and called tight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llama_operator.api.conditions import Reason
from llama_operator.api.group import CPU
from llama_operator.api.problems import Problem
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.of_spec import hardware_of, named_as_written, wishes_of
from llama_operator.planning.fit.option import Fit, gib
from llama_operator.planning.fit.plan import FitPlan, plan_fit
from llama_operator.planning.fit.search import options
from llama_operator.planning.fit.wishes import check_wishes
from llama_operator.planning.gpus import GangShape, gang_shape
from llama_operator.planning.hardware.accelerators import GIB, Hardware
from llama_operator.planning.hardware.cluster import accelerator_of_nodes, remarks
from llama_operator.planning.models.catalogue import known_facts
from llama_operator.planning.objective import check_objective
from llama_operator.planning.parallelism import Parallelism, parallelism_of, with_split
from llama_operator.planning.replica import rates_of_spec
from llama_operator.planning.shape import ModelShape, check_shape

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
    from llama_operator.planning.fit.wishes import Wishes

NODES_TRIED = (1, 2, 4, 8)
"""Nodes that a replica may span where the pipeline is left to the planner, one after the other: the first that fits is enough."""

LEAST_OVERHEAD_BYTES = GIB
"""Beside weights and KV cache, of each GPU: less than any engine was seen to need (1.8 GiB outside PyTorch alone in
https://github.com/vllm-project/vllm/pull/10511). What does not fit with so little cannot run."""

LARGEST_UTILIZATION = 0.95
"""gpu_memory_utilization above which engines run out of memory in their first large batch; vLLM's own default is 0.92."""


MEMORY_ARGS = frozenset(
    {
        "cpu_offload_gb",
        "dtype",
        "enable_lora",
        "hf_overrides",
        "kv_cache_memory_bytes",
        "load_format",
        "num_gpu_blocks_override",
        "quantization",
        "speculative_config",
    }
)
"""Arguments of vLLM's AsyncEngineArgs that change what memory is needed in ways that the planner does not compute: with one of them
nothing is refused for its size."""

Verdict = Literal["fits", "unknown", "waits", "does_not_fit", "refused"]


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A model whose files could not be looked at."""

    why: str
    """In words, without a full stop."""
    soon: bool = False
    """Asking again may help: the hub did not answer."""
    shape: ModelShape | None = None
    """What is known all the same."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The verdict on a spec, in the words of the condition Accepted.

    fits, unknown            it is accepted, with `split`
    waits                    nothing begins yet
    does_not_fit, refused    `problems` say why
    """

    verdict: Verdict
    reason: Reason
    message: str
    split: Parallelism | None = None
    plan: Mapping[str, Any] | None = None
    """As `status.plan` holds it, without what engines observed; None where nothing could be planned."""
    problems: tuple[Problem, ...] = ()

    @property
    def accepted(self) -> bool:
        """Pods may be made."""
        return self.split is not None


def known_model(source: str) -> ModelFacts | Unread:
    """What the catalogue knows of a source."""
    return known_facts(source) or Unread(why=f"{source} is not in the catalogue")


def refuse(problems: Sequence[Problem], verdict: Verdict = "refused") -> Admission:
    """Not accepted."""
    message = "; ".join(problem.message for problem in problems)
    return Admission(verdict=verdict, reason=Reason.INVALID, message=message, problems=tuple(problems))


def admit(spec: LlamaDeploymentSpec, model: ModelFacts | Problem | Unread, nodes: Sequence[Mapping[str, Any]] | None = None) -> Admission:
    """The verdict on a spec that runs nowhere yet; `nodes` are the cluster's, None where there is no cluster or it may not be asked."""
    verdict = _verdict(spec, model, nodes)
    # A model of the hub that nobody has read may be planned yet: whoever asks for it may know more than this.
    if not (isinstance(model, Unread) and spec.model.source.startswith("hf://")):
        verdict = held_to_objective(spec, verdict)
    if verdict.split is None or nodes is None:
        return verdict
    gang = gang_shape(with_split(spec, verdict.split))
    said = remarks(spec.hardware, gang.gpus_per_pod, nodes) if isinstance(gang, GangShape) else []
    return dataclasses.replace(verdict, message="; ".join((verdict.message, *said)))


def held_to_objective(spec: LlamaDeploymentSpec, verdict: Admission) -> Admission:
    """The verdict, or the refusal of a spec whose scaling objective its replica cannot keep."""
    if verdict.split is None:
        return verdict
    problems = [*check_objective(spec, rates_of_spec(with_split(spec, verdict.split), verdict.plan))]
    return refuse(problems) if problems else verdict


def _verdict(spec: LlamaDeploymentSpec, model: ModelFacts | Problem | Unread, nodes: Sequence[Mapping[str, Any]] | None) -> Admission:
    if isinstance(model, Problem):
        return refuse([dataclasses.replace(model, field="spec.model.source")])
    if isinstance(model, Unread):
        return _of_unread(spec, model)
    if problems := check_shape(model.shape, spec):
        return refuse(problems)
    if spec.engine.type != "vllm":
        return _unplanned(spec, f"the {spec.engine.type} engine loads no weights, so there is nothing to fit")
    hardware = hardware_of(spec)
    if isinstance(hardware, Hardware):
        return _of_plan(spec, model, hardware)
    seen = accelerator_of_nodes(nodes, spec.hardware.gpu_resource) if nodes else None
    if seen is not None:
        return _of_plan(spec, model, Hardware(accelerator=seen, gpus_per_node=spec.hardware.gpus_per_node))
    return _unplanned(spec, f"whether it fits is not known: {hardware[0].message}")


def describe(spec: LlamaDeploymentSpec, model: ModelFacts | Problem | Unread) -> Admission:
    """The verdict on a spec that runs already with the split that it now carries: never a refusal, and a plan where one can be made."""
    verdict = _verdict(spec, model, None)
    if verdict.accepted:
        return dataclasses.replace(verdict, split=parallelism_of(spec))
    return _unplanned(spec, "it ran before this operator looked at it, and goes on")


def _of_unread(spec: LlamaDeploymentSpec, model: Unread) -> Admission:
    if model.shape is not None and (problems := check_shape(model.shape, spec)):
        return refuse(problems)
    chosen_by_user = spec.parallelism.tensor is not None and spec.parallelism.pipeline is not None
    if spec.engine.type != "vllm":
        return _unplanned(spec, "")
    if model.soon and not chosen_by_user and spec.hardware.accelerator != CPU:
        words = f"{model.why}; it is asked again. Set spec.parallelism (tensor and pipeline) to go on without it"
        message = f"over how many GPUs the model goes is not known yet: {words}"
        return Admission(verdict="waits", reason=Reason.READING_MODEL, message=message)
    assumed = "" if chosen_by_user or spec.hardware.accelerator == CPU else "; what spec.parallelism leaves out is 1"
    return _unplanned(spec, f"whether it fits is not known: {model.why}{assumed}")


def _of_plan(spec: LlamaDeploymentSpec, model: ModelFacts, hardware: Hardware) -> Admission:
    wishes = wishes_of(spec, model)
    if problems := check_wishes(model, hardware, wishes):
        return refuse([named_as_written(problem) for problem in problems])
    for tight, asked in _questions(spec, wishes):
        fits, _ = options(model, hardware, asked)
        if fits:
            split = Parallelism(tensor=fits[0].tensor, pipeline=fits[0].pipeline)
            words = "; ".join((sizes(fits[0]), *([TIGHT] if tight else []), *fits[0].notes))
            return Admission(verdict="fits", split=split, reason=Reason.FITS, message=words, plan=as_status(fits[0]))
    plan = plan_fit(model, hardware, wishes)
    if beside := _changing_memory(spec.engine.args):
        return _unplanned(spec, f"by the plan it would not fit, but {beside} changes what it needs ({_why(plan, spec)})")
    return refuse([_does_not_fit(spec, plan, wishes)], "does_not_fit")


def _changing_memory(args: Mapping[str, Any]) -> str:
    """The engine's arguments that the planner does not compute with, in words."""
    computed = [("quantization", "fp8"), ("dtype", "auto")]  # a list: a value may be an object, which no set takes
    return ", ".join(f"spec.engine.args.{name}" for name in sorted(MEMORY_ARGS & set(args)) if (name, args[name]) not in computed)


TIGHT = "tight: it fits only with less memory beside the weights than is planned for, so it may fail to start"


def _questions(spec: LlamaDeploymentSpec, wishes: Wishes) -> Iterator[tuple[bool, Wishes]]:
    """The planner's questions in their order, each with whether its answer is tight."""
    free = spec.parallelism.pipeline is None and spec.hardware.accelerator != CPU
    given = isinstance(spec.engine.args.get("gpu_memory_utilization"), int | float)
    share = wishes.utilization if given else LARGEST_UTILIZATION
    for tight in (False, True):
        asked = dataclasses.replace(wishes, overhead_bytes=LEAST_OVERHEAD_BYTES, utilization=share) if tight else wishes
        for nodes in NODES_TRIED if free else (wishes.nodes,):
            yield tight, dataclasses.replace(asked, nodes=nodes)


def _unplanned(spec: LlamaDeploymentSpec, why: str) -> Admission:
    message = f"every field is allowed{f'; {why}' if why else ''}"
    return Admission(verdict="unknown", split=parallelism_of(spec), reason=Reason.VALID, message=message)


def _does_not_fit(spec: LlamaDeploymentSpec, plan: FitPlan, wishes: Wishes) -> Problem:
    given = spec.parallelism
    field = "spec.hardware" if given.tensor is None and given.pipeline is None else "spec.parallelism"
    nodes = f"{spec.hardware.gpus_per_node} x {plan.accelerator} a node" if spec.hardware.gpus_per_node else plan.accelerator
    split = f"tensor {given.tensor or 'any'} x pipeline {given.pipeline or 'any'} of {plan.model} on {nodes}"
    context = f" of {wishes.context_tokens:,} tokens" if wishes.context_tokens else " of the model's longest context"
    remedy = "No single change makes it fit: kubectl llama plan tells what each split needs."
    if plan.nearest:
        remedy = f"Nearest: {plan.nearest[0].change}; then {sizes(plan.nearest[0].fit)}."
    allowed = f"a split whose GPUs hold the weights and one request{context} ({_why(plan, spec)})"
    return Problem(field=field, given=split, allowed=allowed, remedy=remedy)


def _why(plan: FitPlan, spec: LlamaDeploymentSpec) -> str:
    """Why the split is rejected; where many were tried, the one over most GPUs, which came nearest."""
    given = spec.parallelism
    shown = plan.rejected if given.tensor is not None and given.pipeline is not None else plan.rejected[-1:]
    return "; ".join(f"{each.option}: {each.reason}" for each in shown)


def sizes(fit: Fit) -> str:
    """What a split needs and gives, in words."""
    ranks = fit.tensor * fit.pipeline
    where = f"{fit.gpus} GPUs" if fit.gpus > 1 else ("1 GPU" if fit.gpus else f"{ranks} {'rank' if ranks == 1 else 'ranks'} on the CPU")
    requests = "1 sequence" if fit.cache.requests == 1 else f"{fit.cache.requests:,} sequences"
    split = f"tensor {fit.tensor} x pipeline {fit.pipeline}, {where}"
    weights = f"{gib(fit.weight_bytes)} of weights on {'it' if ranks == 1 else 'the fullest'}"
    return f"{split}: {weights}; the KV cache holds {fit.cache.tokens:,} tokens, {requests} of the longest context"


def remembered(plan: Mapping[str, Any]) -> str:
    """The words for a plan of which only `status.plan` is left."""
    numbers = {"tensorParallel": "tensor", "pipelineParallel": "pipeline", "gpus": "GPUs", "kvCacheTokens": "tokens of KV cache"}
    said = ", ".join(f"{words} {plan[name]}" for name, words in numbers.items() if name in plan)
    return f"as planned when this revision was made: {said}"


def as_status(fit: Fit) -> dict[str, Any]:
    """The split as `status.plan` holds it; what is not known is left out. Times are rounded to microseconds, so that a plan reads well."""
    values: dict[str, Any] = {
        "tensorParallel": fit.tensor,
        "pipelineParallel": fit.pipeline,
        "gpus": fit.gpus,
        "weightBytesPerGpu": fit.weight_bytes,
        "memoryBytesPerGpu": fit.weight_bytes + fit.kv_bytes + fit.overhead_bytes,
        "kvCacheTokens": fit.cache.tokens,
        "maxConcurrencyAtContext": round(fit.cache.concurrency, 2),
        "prefillTokensPerSecond": None if fit.prefill_tokens_per_second is None else round(fit.prefill_tokens_per_second, 1),
        "decodeFloorSeconds": None if fit.decode_floor_seconds is None else round(fit.decode_floor_seconds, 6),
        "predictedLoadSeconds": None if fit.load_seconds is None else round(fit.load_seconds, 1),
    }
    return {name: value for name, value in values.items() if value is not None}
