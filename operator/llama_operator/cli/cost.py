"""`kubectl llama cost`: what a deployment cost, what of it was idle, what a million tokens cost, and what an API would have taken."""

from __future__ import annotations

import argparse

from llama_operator.cli import refusals
from llama_operator.cli.cost_question import answer, read_question
from llama_operator.cli.options import COST_OUTPUTS, FITS
from llama_operator.cli.output import while_asked, write_document, write_tables
from llama_operator.cli.refusals import BadInput
from llama_operator.telemetry.cost import to_document

SCHEMA_VERSION = 1


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output, COST_OUTPUTS)
        console, found = while_asked(arguments.output, lambda: answer(read_question(arguments)))
    except BadInput as refused:
        return refusals.tell(refused)
    if console is None:
        who = {"schemaVersion": SCHEMA_VERSION, "namespace": found.question.namespace, "name": found.question.name}
        write_document({**who, **to_document(found.bill), "notes": list(found.notes)}, arguments.output)
    else:
        from llama_operator.cli.cost_table import tables  # needs rich

        write_tables(console, tables(found))
    return FITS
