"""`kubectl llama validate`: every problem and warning of files at its line, and whether what they ask for fits."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from llama_operator.api.documents import Document, Place, check_text, read_documents
from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.cli import refusals
from llama_operator.cli.files import read_text, shown
from llama_operator.cli.options import DOES_NOT_FIT, FITS, PROBLEMS
from llama_operator.cli.question import hardware_of, named_as_written, of_spec
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.resources import is_ours, read_resource
from llama_operator.planning.fit.option import Fit, gib
from llama_operator.planning.fit.plan import FitPlan, plan_fit
from llama_operator.planning.models.catalogue import known_facts
from llama_operator.planning.parallelism import parallelism_of

Kind = Literal["error", "warning", "does not fit", "fits", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A line of the answer."""

    place: Place
    kind: Kind
    message: str


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status: that of a problem before that of a fit."""
    paths = [*(arguments.file or []), *arguments.files]
    if not paths:
        problem = Problem(field="--file", given="nothing", allowed="one or more files", remedy="Give one, or - for the standard input.")
        return refusals.tell(BadInput.of(problem))
    counts: Counter[Kind] = Counter()
    status = FITS
    for path in paths:
        try:
            text = read_text(path)
        except BadInput as refused:
            status = refusals.tell(refused)
            continue
        for finding in check(text):
            counts[finding.kind] += 1
            place = f"{shown(path)}:{finding.place.line}:{finding.place.column}"
            sys.stdout.write(f"{place}: {finding.kind}: {finding.message}\n")
    sys.stdout.write(f"{_sum(len(paths), counts)}\n")
    if status == PROBLEMS or counts["error"]:
        return PROBLEMS
    return DOES_NOT_FIT if counts["does not fit"] else FITS


def check(text: str) -> list[Finding]:
    """Everything that is to be said of a text, in the order of its lines."""
    found = [Finding(place=located.place, kind=located.problem.severity, message=located.problem.message) for located in check_text(text)]
    for document in read_documents(text):
        if is_ours(document):
            found += _of_the_model(document)
    return sorted(found, key=lambda finding: finding.place)


def _of_the_model(document: Document) -> Iterator[Finding]:
    """What the model and the hardware say of a LlamaDeployment whose fields are well; nothing of another."""
    resource = read_resource(document)
    if resource.spec is None:
        return
    for located in resource.of_model:
        yield Finding(place=located.place, kind="error", message=located.problem.message)
    if not resource.of_model:
        yield from _fit(document, resource.name, resource.spec)


def _fit(document: Document, name: str, spec: LlamaDeploymentSpec) -> Iterator[Finding]:
    place, name = document.place("metadata.name"), quoted(name)[1:-1]
    if spec.engine.type != "vllm":
        yield Finding(
            place=place, kind="note", message=f"{name}: the {spec.engine.type} engine loads no weights, so there is nothing to fit"
        )
        return
    model = known_facts(spec.model.source)
    if model is None:
        words = f"{name}: whether it fits is not known, for {quoted(spec.model.source)} is not in the catalogue"
        yield Finding(
            place=document.place("spec.model.source"), kind="note", message=f"{words}. Ask kubectl llama plan -f FILE --model-path DIR."
        )
        return
    hardware = hardware_of(spec)
    if isinstance(hardware, list):
        words = f"{name}: whether it fits is not known: {hardware[0].message}"
        yield Finding(place=document.place("spec.hardware.accelerator"), kind="note", message=words)
        return
    # What runs is what the operator makes of the spec, not what a planner that chooses would make of it.
    split = parallelism_of(spec)
    wishes = of_spec(spec, model, split)
    plan = plan_fit(model, hardware, wishes)
    if plan.verdict == "invalid":
        for located in document.locate(named_as_written(problem) for problem in plan.problems):
            yield Finding(place=located.place, kind="error", message=located.problem.message)
    elif plan.chosen is not None:
        yield Finding(place=place, kind="fits", message=f"{name}: {_fits(plan.chosen)}")
    else:
        yield Finding(place=place, kind="does not fit", message=f"{name}: {_does_not_fit(plan)}")


def _fits(fit: Fit) -> str:
    sequences = "1 sequence" if fit.cache.requests == 1 else f"{fit.cache.requests:,} sequences"
    where = f"{gib(fit.weight_bytes)} of weights on each rank" + (f" of {fit.gpus} GPUs" if fit.gpus > 1 else "")
    return f"{where}; the KV cache holds {fit.cache.tokens:,} tokens, which is {sequences} of the longest context"


def _does_not_fit(plan: FitPlan) -> str:
    why = "; ".join(f"{each.option}: {each.reason}" for each in plan.rejected)
    nearest = plan.nearest[0] if plan.nearest else None
    if nearest is None:
        return f"{why}. No single change makes it fit."
    split = f"{{tensor: {nearest.fit.tensor}, pipeline: {nearest.fit.pipeline}}}"
    return f"{why}. Nearest: {nearest.change}; then spec.parallelism {split} fits."


def _sum(files: int, counts: Counter[Kind]) -> str:
    def some(count: int, one: str, many: str) -> str:
        return f"{count} {one if count == 1 else many}"

    parts = [some(files, "file", "files"), some(counts["error"], "problem", "problems"), some(counts["warning"], "warning", "warnings")]
    return f"{', '.join(parts)}; fits: {counts['fits']}, does not fit: {counts['does not fit']}"
