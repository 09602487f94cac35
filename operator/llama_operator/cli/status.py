"""`kubectl llama status [NAME]`: what there is and how far it is, once or as it changes."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llama_operator.adapters.kubectl import KubectlError, together
from llama_operator.cli import refusals
from llama_operator.cli.cluster import Cluster
from llama_operator.cli.options import FITS
from llama_operator.cli.output import while_asked, write_document, write_tables
from llama_operator.cli.refusals import BadInput, Outage
from llama_operator.cli.status_view import SCHEMA_VERSION, Objects, deployment_view, node_views, status_document
from llama_operator.cli.texts import json_text
from llama_operator.rendering import names

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WATCH_SECONDS = 2.0
"""Between two looks: a load's percent is written by the operator every few seconds."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was read in one look. None: it may not be read."""

    deployments: Objects
    pods: Objects | None
    nodes: Objects | None = None
    every_pod: Objects | None = None
    """Of all namespaces, for what is free on nodes."""
    now: float


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output)
        cluster = Cluster.of(arguments)
        console, document = while_asked(arguments.output, partial(read, cluster, arguments))
        if arguments.watch:
            return _watch(cluster, arguments, console, document)
    except BadInput as refused:
        return refusals.tell(refused)
    if console is None:
        write_document(document, arguments.output)
    else:
        write_tables(console, _drawn(document, arguments, ascii_only=console.options.ascii_only))
    return FITS


def read(cluster: Cluster, arguments: argparse.Namespace) -> dict[str, Any]:
    """The document of one look. Raises BadInput."""
    seen = look(cluster, arguments.name, everywhere=arguments.all_namespaces)
    document = status_document(seen.deployments, seen.pods, seen.now)
    if arguments.name is None:
        return document
    view = deployment_view(seen.deployments[0], seen.pods, seen.now)
    known = seen.nodes is not None and seen.every_pod is not None
    nodes = node_views(seen.nodes or (), seen.every_pod or (), seen.deployments[0]) if known else None
    return {"schemaVersion": SCHEMA_VERSION, "deployments": [{**view, "nodes": nodes}]}


def look(cluster: Cluster, name: str | None, *, everywhere: bool) -> Look:
    """Everything that one answer needs, asked for at once. Raises BadInput."""
    namespace = None if everywhere else cluster.namespace
    labels = names.MANAGED_SELECTOR if name is None else f"{names.LABEL_DEPLOYMENT}={name}"
    if name is None:
        deployments, pods = together(
            lambda: cluster.deployments(everywhere=everywhere), lambda: _allowed(cluster, "Pod", namespace, labels=labels)
        )
        return Look(deployments=deployments, pods=pods, now=time.time())
    deployment, pods, nodes, every = together(
        lambda: cluster.deployment(name),
        lambda: _allowed(cluster, "Pod", namespace, labels=labels),
        lambda: _allowed(cluster, "Node", None),
        lambda: _allowed(cluster, "Pod", None, fields="spec.nodeName!="),
    )
    return Look(deployments=[deployment], pods=pods, nodes=nodes, every_pod=every, now=time.time())


def _allowed(
    cluster: Cluster, kind: str, namespace: str | None, *, labels: str | None = None, fields: str | None = None
) -> list[dict[str, Any]] | None:
    """Objects of a kind; None where the user may not list them. Raises BadInput."""
    with cluster.told():
        try:
            return cluster.kubectl.list(kind, namespace, labels=labels, fields=fields)
        except KubectlError as error:
            if error.why != "Forbidden":
                raise
            return None


def _drawn(document: dict[str, Any], arguments: argparse.Namespace, *, ascii_only: bool) -> Iterator[RenderableType]:
    from llama_operator.cli.status_tree import status_table, status_tree  # needs rich

    views = document["deployments"]
    if arguments.name is not None:
        yield from status_tree(views[0], views[0]["nodes"], ascii_only=ascii_only)
    elif views:
        yield from status_table(views, ascii_only=ascii_only)
    else:
        yield (
            "No LlamaDeployment in all namespaces." if arguments.all_namespaces else "No LlamaDeployment here; -A looks in all namespaces."
        )


def _watch(cluster: Cluster, arguments: argparse.Namespace, console: Console | None, document: dict[str, Any]) -> int:
    """From a first look until Ctrl-C. On a terminal the picture is drawn anew; elsewhere each change is a document or a table of its own.
    Raises BadInput where the cluster answers a later look with a refusal; where it does not answer, it is asked again.
    """
    if console is not None and console.is_terminal:
        return _live(cluster, arguments, console, document)
    said: object = None
    while True:
        if (told := _without_times(document)) != said:
            said = told
            if console is None:
                sys.stdout.write(json_text(document) + "\n")
            else:
                write_tables(console, _drawn(document, arguments, ascii_only=console.options.ascii_only))
            sys.stdout.flush()
        document = again(partial(read, cluster, arguments), WATCH_SECONDS) or document


def _live(cluster: Cluster, arguments: argparse.Namespace, console: Console, document: dict[str, Any]) -> int:
    from rich.console import Group  # needs rich
    from rich.live import Live

    def picture() -> Group:
        parts = list(_drawn(document, arguments, ascii_only=console.options.ascii_only))
        return Group(*[part for item in parts for part in (item, "")])

    with Live(picture(), console=console, auto_refresh=False) as live:
        while True:
            newer = again(partial(read, cluster, arguments), WATCH_SECONDS)
            if newer is None:
                live.update(Group(picture(), "the cluster does not answer; trying again"), refresh=True)
                continue
            document = newer
            live.update(picture(), refresh=True)


def again(ask: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any] | None:
    """The next look of a watch, after a pause; None where the cluster did not answer: an API server that restarts must not end a watch.
    Raises BadInput for what will not pass, as a deployment that was deleted.
    """
    pause(seconds)
    try:
        return ask()
    except Outage:
        return None


def pause(seconds: float) -> None:
    """Nothing, for so long."""
    threading.Event().wait(seconds)


def _without_times(value: Any) -> Any:
    """The document without what grows by itself."""
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if not key.endswith("Seconds")}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
