"""A LlamaDeployment as a question of the planner: its wishes, its hardware, and the planner's fields under the names that users write."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llama_operator.api.problems import Problem
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.hardware.accelerators import Accelerator, Hardware
from llama_operator.planning.hardware.custom import read_accelerator

if TYPE_CHECKING:
    from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
    from llama_operator.planning.facts import ModelFacts
    from llama_operator.planning.parallelism import Parallelism

FIELDS: Mapping[str, str] = {
    "wishes.contextTokens": "spec.context.maxTokens",
    "wishes.tensor": "spec.parallelism.tensor",
    "wishes.pipeline": "spec.parallelism.pipeline",
    "wishes.quantization": "spec.engine.args.quantization",
    "wishes.kvCacheDtype": "spec.context.kvCacheDtype",
    "wishes.utilization": "spec.engine.args.gpu_memory_utilization",
    "hardware.gpusPerNode": "spec.hardware.gpusPerNode",
    "hardware.accelerator": "spec.hardware.accelerator",
    "hardware.accelerator.name": "spec.hardware.accelerator",
    "hardware.accelerator.memoryGiB": "spec.hardware.custom.memoryGiB",
    "hardware.accelerator.bandwidthGBps": "spec.hardware.custom.memoryBandwidthGBps",
}
"""The planner's fields: the field of a LlamaDeployment that gives each."""

CPU_KV_SPACE = "VLLM_CPU_KVCACHE_SPACE"
"""The variable by which a user's podTemplate gives a CPU engine another size of KV cache than the operator's own."""


def wishes_of(spec: LlamaDeploymentSpec, model: ModelFacts, split: Parallelism | None = None) -> Wishes:
    """What a LlamaDeployment asks of the planner, its engine's own arguments included; `split` instead of its own parallelism."""
    tensor, pipeline = (spec.parallelism.tensor, spec.parallelism.pipeline) if split is None else (split.tensor, split.pipeline)
    args = spec.engine.args if spec.engine.type == "vllm" else {}
    share = args.get("gpu_memory_utilization")
    method = model.quantization.method if model.quantization else None
    wishes = Wishes(
        context_tokens=spec.context.max_tokens,
        kv_cache_dtype=spec.context.kv_cache_dtype,
        tensor=tensor,
        pipeline=pipeline,
        nodes=pipeline or 1,  # a stage lies inside a node, so that so many are enough for any split that is given
        # Of a checkpoint that is FP8 already, the argument repeats what it is.
        quantization="fp8" if args.get("quantization") == "fp8" and method != "fp8" else None,
    )
    if isinstance(share, int | float) and not isinstance(share, bool):
        wishes = dataclasses.replace(wishes, utilization=float(share))
    space = _environment(spec).get(CPU_KV_SPACE, "")
    return dataclasses.replace(wishes, cpu_kv_space_gib=int(space)) if space.isascii() and space.isdigit() and len(space) < 8 else wishes


def hardware_of(spec: LlamaDeploymentSpec) -> Hardware | list[Problem]:
    """What the nodes of a LlamaDeployment offer, or why that is not known."""
    found = accelerator_of(spec.hardware.accelerator, custom_sizes(spec))
    if isinstance(found, list):
        return [named_as_written(problem) for problem in found]
    return Hardware(accelerator=found, gpus_per_node=spec.hardware.gpus_per_node)


def custom_sizes(spec: LlamaDeploymentSpec) -> dict[str, Any]:
    """What spec.hardware.custom gives, under the planner's names."""
    custom = spec.hardware.custom
    return {} if custom is None else {"memoryGiB": custom.memory_gib, "bandwidthGBps": custom.memory_bandwidth_gbps}


def accelerator_of(name: str, sizes: Mapping[str, Any]) -> Accelerator | list[Problem]:
    """The accelerator of that name with those sizes over the catalogue's, or every problem of it under the planner's names."""
    return read_accelerator({"name": name, **sizes} if sizes else name)


def named_as_written(problem: Problem) -> Problem:
    """The problem under the name of a LlamaDeployment's field."""
    remedy = problem.remedy.replace("give memory and bandwidth", "give them as spec.hardware.custom")
    return dataclasses.replace(problem, field=FIELDS.get(problem.field, problem.field), remedy=remedy)


def _environment(spec: LlamaDeploymentSpec) -> dict[str, str]:
    """Variables that the podTemplate sets to plain values in any container; it is the user's, and may hold anything."""
    containers = spec.pod_template.spec.get("containers")
    found: dict[str, str] = {}
    for container in containers if isinstance(containers, list) else []:
        variables = container.get("env") if isinstance(container, dict) else None
        for variable in variables if isinstance(variables, list) else []:
            if isinstance(variable, dict) and isinstance(variable.get("name"), str) and isinstance(variable.get("value"), str):
                found[variable["name"]] = variable["value"]
    return found
