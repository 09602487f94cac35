"""`kubectl llama top [NAME]`: what each deployment does now. The cluster says what there is; Prometheus says how busy it is.

A number that Prometheus does not have is blank, never 0: an idle vLLM exports no gauge, and a deployment that loads has served nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llama_operator.adapters.kubectl import Kubectl, KubectlError, together
from llama_operator.adapters.prometheus_instant import PrometheusError, PrometheusInstant, Sample
from llama_operator.cli import refusals
from llama_operator.cli.cluster import Cluster, check_namespace
from llama_operator.cli.doctor_reading import OPERATORS, Ambiguous, everything, of_operators, prometheus_url
from llama_operator.cli.numbers import seconds
from llama_operator.cli.options import FITS
from llama_operator.cli.output import while_asked, write_document, write_tables
from llama_operator.cli.refusals import BadInput
from llama_operator.cli.status import again, look
from llama_operator.cli.status_view import status_document
from llama_operator.telemetry import names as metric
from llama_operator.telemetry.top import queries

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SCHEMA_VERSION = 1
WATCH_SECONDS = 5.0
COLUMNS = (
    "inFlight",
    "held",
    "promptTokensPerSecond",
    "outputTokensPerSecond",
    "firstTokenSecondsP50",
    "firstTokenSecondsP95",
    "kvCacheUse",
)


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output)
        check_namespace("--operator-namespace", arguments.operator_namespace)
        window = seconds("--window", "5m" if arguments.window is None else arguments.window, 7)
        cluster = Cluster.of(arguments)
        look_again = partial(read, cluster, arguments, window)
        document: dict[str, Any] | None
        console, document = while_asked(arguments.output, look_again)
        while True:
            if document is not None:
                _show(document, arguments.output, console)
            if not arguments.watch:
                return FITS
            document = again(look_again, WATCH_SECONDS)
            if document is None:
                refusals.tell(BadInput(["the cluster does not answer; trying again."]))
    except BadInput as refused:
        return refusals.tell(refused)


def read(cluster: Cluster, arguments: argparse.Namespace, window: int) -> dict[str, Any]:
    """The document. Raises BadInput."""
    everywhere = arguments.all_namespaces
    # Two rounds of questions: where Prometheus is and which namespace is meant, then what there is and how busy it is.
    namespace, url = together(
        lambda: None if everywhere else cluster.namespace,
        lambda: find_prometheus(cluster.kubectl, arguments.prometheus, arguments.operator_namespace),
    )
    seen, (measured, why_not) = together(
        lambda: look(cluster, arguments.name, everywhere=everywhere),
        lambda: measure(cluster.kubectl, url, window, namespace, direct=arguments.prometheus is not None),
    )
    views = status_document(seen.deployments, seen.pods, time.time())["deployments"]
    return {"schemaVersion": SCHEMA_VERSION, "windowSeconds": window, "unmeasured": why_not, "deployments": rows(views, measured)}


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """No Prometheus is known, and why."""

    why: str


def find_prometheus(kubectl: Kubectl, given: str | None, place: str | None = None) -> str | Unknown:
    """The one that is given, else the operator's. `place`: its namespace, where it is not to be looked for."""
    if given:
        return given
    try:
        url = prometheus_url(everything(kubectl, of_operators(place, "/apis/apps/v1", "deployments"), OPERATORS))
    except KubectlError as error:
        return Unknown(why=f"the operator's settings could not be read ({error.message}); name Prometheus with --prometheus")
    except Ambiguous as error:
        return Unknown(why=f"{error}; name Prometheus with --prometheus, or the operator's with --operator-namespace")
    return Unknown(why="the operator was given no Prometheus") if url is None else url


def measure(
    kubectl: Kubectl, url: str | Unknown, window: int, namespace: str | None, *, direct: bool = False
) -> tuple[Mapping[str, Sequence[Sample]], str | None]:
    """Prometheus' answers by column, and why there are none. `direct`: as this machine reaches it, else as the cluster's pods do."""
    if isinstance(url, Unknown):
        return {}, url.why
    asked = queries(window, namespace)
    try:
        return dict(zip(asked, PrometheusInstant(kubectl, url, direct=direct).vectors([*asked.values()]), strict=True)), None
    except PrometheusError as error:
        return {}, str(error)


def rows(views: Sequence[Mapping[str, Any]], measured: Mapping[str, Sequence[Sample]]) -> list[dict[str, Any]]:
    """A row for each deployment; null is what was not measured."""
    by_owner = {
        column: {(item.labels.get(metric.LABEL_NAMESPACE), item.labels.get(metric.LABEL_DEPLOYMENT)): item.value for item in samples}
        for column, samples in measured.items()
    }
    return [
        {
            **{key: view[key] for key in ("namespace", "name", "ready", "phase", "gpus")},
            **{column: by_owner.get(column, {}).get((view["namespace"], view["name"])) for column in COLUMNS},
        }
        for view in views
    ]


def _show(document: dict[str, Any], output: str, console: Console | None) -> None:
    if console is None:
        write_document(document, output)
    else:
        if console.is_terminal:
            console.clear()
        write_tables(console, _drawn(document, ascii_only=console.options.ascii_only))
        if document["unmeasured"]:
            refusals.tell(BadInput([f"Prometheus was not asked: {document['unmeasured']}."]))
    sys.stdout.flush()


def _drawn(document: Mapping[str, Any], *, ascii_only: bool) -> Iterator[RenderableType]:
    from rich import box  # needs rich
    from rich.table import Table

    table = Table(box=None if ascii_only else box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    titles = (
        "namespace",
        "name",
        "ready",
        "phase",
        "GPUs",
        "in\nflight",
        "held",
        "prompt\ntokens/s",
        "output\ntokens/s",
        "TTFT s\np50",
        "TTFT s\np95",
        "KV\nuse",
    )
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index < 4 else "right", overflow="fold")
    for row in document["deployments"]:
        table.add_row(
            row["namespace"],
            row["name"],
            row["ready"] or "-",
            row["phase"] or "-",
            _number(row["gpus"], 0),
            _number(row["inFlight"], 0),
            _number(row["held"], 0),
            _number(row["promptTokensPerSecond"], 0),
            _number(row["outputTokensPerSecond"], 0),
            _number(row["firstTokenSecondsP50"], 2),
            _number(row["firstTokenSecondsP95"], 2),
            "" if row["kvCacheUse"] is None else f"{row['kvCacheUse']:.0%}",
        )
    yield table if document["deployments"] else "No LlamaDeployment here; -A looks in all namespaces."


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
