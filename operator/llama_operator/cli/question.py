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

from llama_operator.api.group import CPU
from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import GPUS_PER_NODE, KvCacheDtype, LlamaDeploymentSpec
from llama_operator.cli.models import Asked, as_source, find_model
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.of_spec import FIELDS, accelerator_of, custom_sizes, wishes_of
from llama_operator.planning.fit.wishes import LARGEST_SPLIT, Ranking, Wishes, check_wishes
from llama_operator.planning.hardware.accelerators import GIB, Accelerator, Hardware

RANKINGS = {"gpus": Ranking.FEWEST_GPUS, "latency": Ranking.LATENCY, "throughput": Ranking.THROUGHPUT}

OPTIONS: Mapping[str, str] = {
    "wishes.contextTokens": "--context",
    "wishes.concurrency": "--concurrency",
    "wishes.nodes": "--nodes",
    "wishes.tensor": "--tensor",
    "wishes.pipeline": "--pipeline",
    "wishes.quantization": "--quantization",
    "wishes.kvCacheDtype": "--kv-cache-dtype",
    "wishes.utilization": "--utilisation",
    "wishes.overheadBytes": "--overhead-gib",
    "wishes.pricePerGpuHour": "--gpu-hour-price",
    "wishes.readBytesPerSecond": "--read-rate",
    "hardware.gpusPerNode": "--gpus-per-node",
    "hardware.accelerator": "--accelerator",
    "hardware.accelerator.name": "--accelerator",
    "hardware.accelerator.memoryGiB": "--memory-gib",
    "hardware.accelerator.bandwidthGBps": "--bandwidth-gbps",
}
"""The planner's fields: the option that gives each. `planning.fit.of_spec.FIELDS` has the fields of a LlamaDeployment."""


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
    wishes = wishes_of(spec, model) if spec else Wishes()
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
    sizes = custom_sizes(spec) if spec is not None and "accelerator" not in given else {}
    sizes |= {key: given[name] for name, key in {"memory_gib": "memoryGiB", "bandwidth_gbps": "bandwidthGBps"}.items() if name in given}
    name = given.get("accelerator", "" if spec is None else spec.hardware.accelerator)
    found = accelerator_of(name, sizes)
    if isinstance(found, Accelerator):
        return found
    by_option = "accelerator" in given or spec is None
    return [_of_accelerator(problem, by_option=by_option) for problem in found]


def _of_accelerator(problem: Problem, *, by_option: bool) -> Problem:
    """A problem of an accelerator in the user's names. Numbers are the options' always: those of a file have passed its own checks."""
    option, field = OPTIONS.get(problem.field, problem.field), FIELDS.get(problem.field, problem.field)
    numbers = "--memory-gib and --bandwidth-gbps"
    return dataclasses.replace(
        problem,
        field=option if by_option or option in numbers else field,
        given=quoted(problem.given) if option == "--accelerator" else problem.given,
        remedy=problem.remedy.replace("memory and bandwidth", numbers if by_option else f"{numbers}, or spec.hardware.custom"),
    )


def _named(problem: Problem, arguments: argparse.Namespace, spec: LlamaDeploymentSpec | None) -> Problem:
    """The problem under the name by which the user gave the value: the option where it was given, else the field of the file."""
    option, field = OPTIONS.get(problem.field, ""), FIELDS.get(problem.field, "")
    text = getattr(arguments, option.removeprefix("--").replace("-", "_"), None)
    if text is not None:
        return dataclasses.replace(problem, field=option, given=quoted(text))
    return dataclasses.replace(problem, field=(field if spec is not None and field else option) or problem.field)
