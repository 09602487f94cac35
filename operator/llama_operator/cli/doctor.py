"""`kubectl llama doctor`: what the cluster lacks for Llamas to be served well, each finding with its remedy.

Exit status: 0 all is well, 2 something does not work, 3 something should be looked at; 1, as ever, when the cluster could not be asked.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from llama_operator import __version__
from llama_operator.adapters.kubectl import KubectlError
from llama_operator.cli import refusals
from llama_operator.cli.cluster import Cluster, problem_of
from llama_operator.cli.doctor_checks import look
from llama_operator.cli.doctor_reading import read_facts
from llama_operator.cli.findings import RANK, Finding, Severity, worst
from llama_operator.cli.options import DOES_NOT_FIT, FITS
from llama_operator.cli.output import while_asked, write_document, write_tables
from llama_operator.cli.refusals import BadInput

if TYPE_CHECKING:
    from rich.console import RenderableType

SCHEMA_VERSION = 1
WARNINGS = 3
STATUSES: dict[Severity, int] = {"ok": FITS, "note": FITS, "warning": WARNINGS, "error": DOES_NOT_FIT}
"""Exit status of the worst finding. A note is no fault of the cluster's."""
STYLES: dict[Severity, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output)
        cluster = Cluster.of(arguments)
        console, findings = while_asked(arguments.output, partial(examine, cluster, arguments.operator_namespace))
    except BadInput as refused:
        return refusals.tell(refused)
    if console is None:
        write_document(document(findings), arguments.output)
    else:
        write_tables(console, _drawn(findings))
    return STATUSES[worst(findings)]


def examine(cluster: Cluster, operator_namespace: str | None) -> list[Finding]:
    """Every finding. Raises BadInput where the cluster does not answer at all."""
    try:
        return look(read_facts(cluster.kubectl, operator_namespace))
    except KubectlError as error:
        raise BadInput.of(problem_of(error)) from None


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """As `-o json` shows them."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "version": __version__,
        "worst": worst(findings),
        "findings": [finding.to_json() for finding in findings],
    }


def _drawn(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    from rich.table import Table  # needs rich
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        words = Text(finding.message)
        if finding.severity != "ok" and finding.remedy:
            words.append(f"\n{finding.remedy}", style="italic")
        table.add_row(Text(finding.severity, style=STYLES[finding.severity]), finding.check, words)
    yield table
    counts = Counter(finding.severity for finding in findings)
    plurals = {"error": "errors", "warning": "warnings", "note": "notes", "ok": "ok"}
    yield ", ".join(f"{counts[severity]} {severity if counts[severity] == 1 else plurals[severity]}" for severity in reversed(list(RANK)))
