"""`kubectl llama plan`: does a model fit, how is it split, what does that leave, and what to change where it does not fit."""

from __future__ import annotations

import argparse

from llama_operator.api.documents import read_documents
from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.cli import refusals
from llama_operator.cli.files import read_text, shown
from llama_operator.cli.options import DOES_NOT_FIT, FITS
from llama_operator.cli.output import open_console, write_document, write_tables
from llama_operator.cli.question import ask
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.resources import Resource, is_ours, read_resource
from llama_operator.planning.fit.document import to_json
from llama_operator.planning.fit.plan import plan_fit


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output)
        spec = None if arguments.file is None else spec_of_file(arguments.file, arguments.name)
        question = ask(arguments, spec)
        console = open_console() if arguments.output == "table" else None
    except BadInput as refused:
        return refusals.tell(refused)
    plan = plan_fit(question.model, question.hardware, question.wishes)
    if console is None:
        write_document(to_json(plan), arguments.output)
    else:
        from llama_operator.cli.plan_table import plan_tables  # needs rich

        write_tables(console, plan_tables(question, plan, console.width, ascii_only=console.options.ascii_only))
    return FITS if plan.verdict == "fits" else DOES_NOT_FIT


def spec_of_file(path: str, name: str | None) -> LlamaDeploymentSpec:
    """The spec of the one LlamaDeployment that is meant. Raises BadInput."""
    documents = read_documents(read_text(path))
    broken = [located for document in documents if not document.readable for located in document.problems]
    if broken:
        raise BadInput(f"{shown(path)}: {located.message}" for located in broken)
    found = [read_resource(document) for document in documents if is_ours(document)]
    meant = [each for each in found if name is None or each.name == name]
    if len(meant) != 1:
        raise BadInput.of(_not_one(path, name, found))
    if meant[0].spec is None:
        raise BadInput(f"{shown(path)}: {located.message}" for located in meant[0].errors)
    return meant[0].spec


def _not_one(path: str, name: str | None, found: list[Resource]) -> Problem:
    names = ", ".join(quoted(each.name) for each in found[:8]) + (" …" if len(found) > 8 else "")
    if not found:
        given = f"{quoted(path)}, which holds no LlamaDeployment"
        return Problem(field="--file", given=given, allowed="a file with one", remedy="Correct the file, or ask by options.")
    if name is None:
        given = f"{quoted(path)}, which holds {len(found)} LlamaDeployments ({names})"
        return Problem(field="--file", given=given, allowed="one at a time", remedy="Say which by --name.")
    return Problem(field="--name", given=quoted(name), allowed=f"the name of exactly one in {quoted(path)} ({names})", remedy="Correct it.")
