"""What is asked of the planner, from a LlamaDeployment, from options, or from both: an option counts more.

spec ─┐
      ├─▶ model, hardware, wishes, and under which name the user gave each value ─▶ planning.fit
options
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import CPU, GPUS_PER_NODE, KvCacheDtype, LlamaDeploymentSpec
from llama_operator.cli.models import Asked, as_source, find_model
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.wishes import LARGEST_SPLIT, Ranking, Wishes, check_wishes
from llama_operator.planning.hardware.accelerators import GIB, Accelerator, Hardware
from llama_operator.planning.hardware.custom import read_accelerator
from llama_operator.planning.parallelism import Parallelism

RANKINGS = {"gpus": Ranking.FEWEST_GPUS, "latency": Ranking.LATENCY, "throughput": Ranking.THROUGHPUT}

NAMES: Mapping[str, tuple[str, str]] = {
    "wishes.contextTokens": ("--context", "spec.context.maxTokens"),
    "wishes.concurrency": ("--concurrency", ""),
    "wishes.cpuKvSpaceGib": ("", ""),
    "wishes.nodes": ("--nodes", ""),
    "wishes.tensor": ("--tensor", "spec.parallelism.tensor"),
    "wishes.pipeline": ("--pipeline", "spec.parallelism.pipeline"),
    "wishes.quantization": ("--quantization", "spec.engine.args.quantization"),
    "wishes.kvCacheDtype": ("--kv-cache-dtype", "spec.context.kvCacheDtype"),
    "wishes.utilization": ("--utilisation", "spec.engine.args.gpu_memory_utilization"),
    "wishes.overheadBytes": ("--overhead-gib", ""),
    "wishes.pricePerGpuHour": ("--gpu-hour-price", ""),
    "wishes.readBytesPerSecond": ("--read-rate", ""),
    "hardware.gpusPerNode": ("--gpus-per-node", "spec.hardware.gpusPerNode"),
    "hardware.accelerator": ("--accelerator", "spec.hardware.accelerator"),
    "hardware.accelerator.name": ("--accelerator", "spec.hardware.accelerator"),
    "hardware.accelerator.memoryGiB": ("--memory-gib", "spec.hardware.custom.memoryGiB"),
    "hardware.accelerator.bandwidthGBps": ("--bandwidth-gbps", "spec.hardware.custom.memoryBandwidthGBps"),
}
"""The planner's fields: the option, and the field of a LlamaDeployment, that give them."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question of the planner that makes sense."""

    model: ModelFacts
    hardware: Hardware
    wishes: Wishes


def ask(arguments: argparse.Namespace, spec: LlamaDeploymentSpec | None) -> Question:
    """The question of the options over the spec. Raises BadInput with every problem that can be told at once."""
    reading = _Reading(arguments)
    given = reading.options()
    ranking = RANKINGS[reading.choose("rank", list(RANKINGS), "gpus")]
    dtype = reading.choose("kv_cache_dtype", list(get_args(KvCacheDtype)), spec.context.kv_cache_dtype if spec else "auto")
    quantization = reading.choose("quantization", ["fp8"], None)
    hardware = _hardware(given, spec, reading.problems)
    model = _model(arguments, spec, reading.problems)
    if reading.problems or model is None or hardware is None:
        raise BadInput(reading.problems)
    wishes = of_spec(spec, model) if spec else Wishes()
    changes = {name: given[option] for option, name in _WISHES.items() if option in given}
    if "overhead_gib" in given:
        changes["overhead_bytes"] = int(given["overhead_gib"] * GIB)
    if "read_rate" in given:
        changes["read_bytes_per_second"] = given["read_rate"] * 1e9
    if quantization is not None:
        changes["quantization"] = quantization
    wishes = dataclasses.replace(wishes, kv_cache_dtype=dtype, ranking=ranking, **changes)
    if "nodes" not in given and "pipeline" in given and 1 <= given["pipeline"] <= LARGEST_SPLIT:
        wishes = dataclasses.replace(wishes, nodes=given["pipeline"])
    problems = check_wishes(model, hardware, wishes)
    if problems:
        raise BadInput(_named(problem, arguments, spec).message for problem in problems)
    return Question(model=model, hardware=hardware, wishes=wishes)


def of_spec(spec: LlamaDeploymentSpec, model: ModelFacts, split: Parallelism | None = None) -> Wishes:
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
    return wishes


def hardware_of(spec: LlamaDeploymentSpec) -> Hardware | list[Problem]:
    """What the nodes of a LlamaDeployment offer, or why that is not known."""
    found = _accelerator({}, spec)
    return found if isinstance(found, list) else Hardware(accelerator=found, gpus_per_node=spec.hardware.gpus_per_node)


_WISHES = {
    "context": "context_tokens",
    "concurrency": "concurrency",
    "utilisation": "utilization",
    "nodes": "nodes",
    "tensor": "tensor",
    "pipeline": "pipeline",
    "gpu_hour_price": "price_per_gpu_hour",
}
"""Options that are a wish as they are."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_NUMBERS: Mapping[str, tuple[re.Pattern[str], Callable[[str], float], str]] = {
    **dict.fromkeys(
        ("context", "concurrency", "nodes", "tensor", "pipeline", "gpus_per_node"),
        (_WHOLE, int, "a whole number, as in 8, without separators"),
    ),
    **dict.fromkeys(
        ("utilisation", "overhead_gib", "gpu_hour_price", "read_rate", "memory_gib", "bandwidth_gbps"),
        (_NUMBER, float, "a number, as in 2.5"),
    ),
}


class _Reading:
    """Reads options, and keeps what is wrong with them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._given = vars(arguments)
        self.problems: list[str] = []

    def options(self) -> dict[str, Any]:
        """The numbers among the options, by name; those that are not given are absent."""
        found: dict[str, Any] = {}
        for name, (pattern, read, allowed) in _NUMBERS.items():
            text = self._given[name]
            if text is None:
                continue
            if pattern.fullmatch(text) is None:
                self._refuse(name, text, allowed, "Correct it.")
            else:
                found[name] = read(text)
        if self._given["accelerator"] is not None:
            found["accelerator"] = self._given["accelerator"]
        return found

    def choose(self, name: str, allowed: list[str], absent: Any) -> Any:
        """One of a few words."""
        text = self._given[name]
        if text is None:
            return absent
        if text not in allowed:
            self._refuse(name, text, f"one of {', '.join(allowed)}" if len(allowed) > 1 else allowed[0], "Correct it.")
            return absent if absent is not None else allowed[0]
        return text

    def _refuse(self, name: str, text: str, allowed: str, remedy: str) -> None:
        option = f"--{name.replace('_', '-')}"
        self.problems.append(Problem(field=option, given=quoted(text), allowed=allowed, remedy=remedy).message)


def _model(arguments: argparse.Namespace, spec: LlamaDeploymentSpec | None, problems: list[str]) -> ModelFacts | None:
    asked = Asked(path=arguments.model_path, read_hub=arguments.read_hub)
    if arguments.model is not None:
        asked = dataclasses.replace(asked, source=as_source(arguments.model))
    elif spec is not None:
        asked = dataclasses.replace(asked, source=spec.model.source, revision=spec.model.revision, field="spec.model.source")
    try:
        return find_model(asked)
    except BadInput as refused:
        problems += refused.lines
        return None


def _hardware(given: Mapping[str, Any], spec: LlamaDeploymentSpec | None, problems: list[str]) -> Hardware | None:
    if "accelerator" not in given and spec is None:
        remedy = "Give one, as in --accelerator nvidia-h100-80gb, or --file."
        problems.append(Problem(field="--accelerator", given="nothing", allowed="a kind of GPU, or cpu", remedy=remedy).message)
        return None
    found = _accelerator(given, spec)
    if isinstance(found, list):
        problems += [problem.message for problem in found]
        return None
    same = spec is not None and "accelerator" not in given
    node = 0 if found.is_cpu else GPUS_PER_NODE
    if spec is not None and (same or (not found.is_cpu and spec.hardware.accelerator != CPU)):
        node = spec.hardware.gpus_per_node
    return Hardware(accelerator=found, gpus_per_node=given.get("gpus_per_node", node))


def _accelerator(given: Mapping[str, Any], spec: LlamaDeploymentSpec | None) -> Accelerator | list[Problem]:
    """The accelerator of the options, else that of the spec with what its `custom` gives; other numbers of options count over both."""
    custom = spec.hardware.custom if spec is not None and "accelerator" not in given else None
    sizes: dict[str, Any] = {}
    if custom is not None:
        sizes = {"memoryGiB": custom.memory_gib, "bandwidthGBps": custom.memory_bandwidth_gbps}
    sizes |= {key: given[name] for name, key in {"memory_gib": "memoryGiB", "bandwidth_gbps": "bandwidthGBps"}.items() if name in given}
    name = given.get("accelerator", "" if spec is None else spec.hardware.accelerator)
    found = read_accelerator({"name": name, **sizes} if sizes else name)
    if isinstance(found, Accelerator):
        return found
    by_option = "accelerator" in given or spec is None
    return [_of_accelerator(problem, by_option=by_option) for problem in found]


def _of_accelerator(problem: Problem, *, by_option: bool) -> Problem:
    """A problem of an accelerator in the user's names. Numbers are the options' always: those of a file have passed its own checks."""
    option, field = NAMES.get(problem.field, (problem.field, problem.field))
    numbers = "--memory-gib and --bandwidth-gbps"
    return dataclasses.replace(
        problem,
        field=option if by_option or option in numbers else field,
        given=quoted(problem.given) if option == "--accelerator" else problem.given,
        remedy=problem.remedy.replace("memory and bandwidth", numbers if by_option else f"{numbers}, or spec.hardware.custom"),
    )


def named_as_written(problem: Problem) -> Problem:
    """The problem under the name of a LlamaDeployment's field."""
    return dataclasses.replace(problem, field=NAMES.get(problem.field, ("", ""))[1] or problem.field)


def _named(problem: Problem, arguments: argparse.Namespace, spec: LlamaDeploymentSpec | None) -> Problem:
    """The problem under the name by which the user gave the value: the option where it was given, else the field of the file."""
    option, field = NAMES.get(problem.field, ("", ""))
    text = getattr(arguments, option.removeprefix("--").replace("-", "_"), None)
    if text is not None:
        return dataclasses.replace(problem, field=option, given=quoted(text))
    return dataclasses.replace(problem, field=(field if spec is not None and field else option) or problem.field)
