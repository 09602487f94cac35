"""`kubectl llama simulate`: traffic against scaling policies on modelled replicas, and what each of them attains and costs."""

from __future__ import annotations

import argparse
import json
import sys
from io import StringIO
from pathlib import Path

from llama_operator.api.problems import Problem
from llama_operator.cli import refusals
from llama_operator.cli.options import FITS, SIMULATE_OUTPUTS
from llama_operator.cli.output import open_console, write_tables
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.simulate_progress import Progress
from llama_operator.cli.simulate_question import Question, ask
from llama_operator.simulate.compare import Run, compare, neighbours, variations
from llama_operator.simulate.document import REFERENCE, to_json
from llama_operator.simulate.policies.clairvoyant import USES


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    form, path = arguments.form, arguments.output
    progress = Progress(1, 1)
    try:
        refusals.check_output(form, SIMULATE_OUTPUTS, "-o")
        _check_path(path)
        text = StringIO()
        console = open_console(text if path else None) if form == "table" else None
        progress.say("reading the traffic")
        question = ask(arguments)
    except BadInput as refused:
        progress.end()
        return refusals.tell(refused)
    runs = _runs(question)
    if console is not None:
        from llama_operator.cli.simulate_table import tables  # needs rich

        write_tables(console, tables(question, runs, console.width))
    elif form == "json":
        document = to_json([each.figures for each in runs])
        text.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        from llama_operator.cli.simulate_page import page  # only a page needs it

        text.write(page(question, runs))
    if path is not None:
        return _save(path, text.getvalue())
    sys.stdout.write(text.getvalue())
    return FITS


def _runs(question: Question) -> list[Run]:
    contest = question.contest
    beside = len(list(variations(contest))) if question.resource else 0
    count = sum(len(USES) if entry.name == REFERENCE else 1 for entry in contest.entries) + beside
    progress = Progress(count, len(contest.traffic))
    try:
        runs = list(compare(contest, progress.watch))
        if question.resource:
            runs += neighbours(contest, progress.watch)
    finally:
        progress.end()
    return runs


def _check_path(path: str | None) -> None:
    """Said before a long simulation, not after it."""
    if path in SIMULATE_OUTPUTS:
        problem = Problem(field="--output", given=quoted(path), allowed="the name of a file", remedy=f"Did you mean -o {path}?")
        raise BadInput.of(problem)
    if path is not None and not Path(path).absolute().parent.is_dir():
        problem = Problem(field="--output", given=quoted(path), allowed="a file in a folder that is there", remedy="Make the folder.")
        raise BadInput.of(problem)


def _save(path: str, text: str) -> int:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        problem = Problem(
            field="--output", given=f"{quoted(path)} ({error.strerror})", allowed="a file that can be written", remedy="Correct the path."
        )
        return refusals.tell(BadInput.of(problem))
    return FITS
