"""`kubectl llama validate`: every problem and warning of files at its line, and whether what they ask for fits."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from llama_operator.api.documents import Document, Place, check_text, read_documents
from llama_operator.api.problems import Problem
from llama_operator.cli import refusals
from llama_operator.cli.files import read_text, shown
from llama_operator.cli.options import DOES_NOT_FIT, FITS, PROBLEMS
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.resources import is_ours, read_resource
from llama_operator.planning.admission import Verdict, admit, known_model
from llama_operator.planning.models.catalogue import known_facts

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


KINDS: Mapping[Verdict, Kind] = {"fits": "fits", "unknown": "note", "waits": "note", "does_not_fit": "does not fit", "refused": "error"}
"""The operator's verdicts as lines of the answer."""


def _of_the_model(document: Document) -> Iterator[Finding]:
    """What the model and the hardware say of a LlamaDeployment whose fields are well, in the operator's words; nothing of another."""
    resource = read_resource(document)
    if resource.spec is None:
        return
    verdict, name = admit(resource.spec, known_model(resource.spec.model.source)), quoted(resource.name)[1:-1]
    kind = KINDS[verdict.verdict]
    for located in document.locate(verdict.problems):
        yield Finding(place=located.place, kind=kind, message=located.problem.message)
    if verdict.accepted:
        hint = ". Ask kubectl llama plan -f FILE --model-path DIR." if known_facts(resource.spec.model.source) is None else ""
        yield Finding(place=document.place("metadata.name"), kind=kind, message=f"{name}: {verdict.message}{hint}")


def _sum(files: int, counts: Counter[Kind]) -> str:
    def some(count: int, one: str, many: str) -> str:
        return f"{count} {one if count == 1 else many}"

    parts = [some(files, "file", "files"), some(counts["error"], "problem", "problems"), some(counts["warning"], "warning", "warnings")]
    return f"{', '.join(parts)}; fits: {counts['fits']}, does not fit: {counts['does not fit']}"
