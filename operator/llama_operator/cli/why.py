"""`kubectl llama why`: why a LlamaDeployment has as many replicas as it has, or does not serve; now, or at a time before."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from llama_operator.adapters.kubectl import KubectlError, together
from llama_operator.api.group import KIND
from llama_operator.api.problems import Problem
from llama_operator.cli import refusals
from llama_operator.cli.cluster import Cluster
from llama_operator.cli.moments import read_moment
from llama_operator.cli.options import FITS
from llama_operator.cli.output import while_asked, write_document, write_tables
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.why_answer import explain

if TYPE_CHECKING:
    from rich.console import Console


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output)
        now = time.time()
        at = None if arguments.at is None else _moment(arguments.at, now)
        console, answer = while_asked(arguments.output, partial(_ask, Cluster.of(arguments), arguments.name, now, at))
        _write(answer, arguments.output, now, console)
    except BadInput as refused:
        return refusals.tell(refused)
    return FITS


def _moment(text: str, now: float) -> float:
    moment = read_moment(text, now)
    if moment is None or moment > now:
        given = quoted(text) if moment is None else f"{quoted(text)}, which is yet to come"
        allowed = "a time that has passed, as in 2026-11-21T15:02:00Z, 15:02 (UTC) or 10m (ago)"
        raise BadInput.of(Problem(field="--at", given=given, allowed=allowed, remedy="Write it in one of these forms."))
    return moment


def _ask(cluster: Cluster, name: str, now: float, at: float | None) -> dict[str, Any]:
    if at is None:
        return explain(cluster.deployment(name), now)
    cluster.namespace  # noqa: B018 - asked once, before both questions need it
    raw, events = together(lambda: cluster.deployment(name), lambda: _events(cluster, name))
    return explain(raw, now, at=at, events=events)


def _events(cluster: Cluster, name: str) -> list[Mapping[str, Any]] | None:
    """Of that LlamaDeployment; None where they may not be read, which the answer says."""
    try:
        found = cluster.kubectl.list("Event", cluster.namespace, fields=f"involvedObject.kind={KIND},involvedObject.name={name}")
    except KubectlError:
        return None
    return list(found)


def _write(answer: dict[str, Any], output: str, now: float, console: Console | None) -> None:
    if console is None:
        write_document(answer, output)
        return
    from llama_operator.cli.why_table import tables  # needs rich

    write_tables(console, tables(answer, now))
