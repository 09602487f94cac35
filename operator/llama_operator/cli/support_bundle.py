"""`kubectl llama support-bundle`: one file for whoever helps, from which no token, key or prompt can be read. Secrets are never read."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from llama_operator import __version__
from llama_operator.adapters.kubectl import Kubectl, KubectlError, explain, together
from llama_operator.api.problems import Problem
from llama_operator.cli import doctor, refusals
from llama_operator.cli.bundle_files import About, Log, Material, archive, files
from llama_operator.cli.cluster import Cluster
from llama_operator.cli.doctor_reading import OPERATORS, everything, of_operators
from llama_operator.cli.numbers import whole
from llama_operator.cli.options import FITS
from llama_operator.cli.output import write_document
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.cli.status_view import status_document
from llama_operator.rendering import names

SCHEMA_VERSION = 1
CHILDREN = {
    "pods": "/api/v1/namespaces/{}/pods",
    "services": "/api/v1/namespaces/{}/services",
    "persistentvolumeclaims": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "controllerrevisions": "/apis/apps/v1/namespaces/{}/controllerrevisions",
    "poddisruptionbudgets": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "networkpolicies": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
"""What belongs to a LlamaDeployment and is no Secret."""
LOGS_AT_ONCE = 8

Read = Sequence[Mapping[str, Any]] | str


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output)
        now = time.time()
        tail = whole("--tail", "2000" if arguments.tail is None else arguments.tail, 1, 100_000)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path = arguments.file or f"llama-support-{stamp}.tar.gz"
        cluster = Cluster.of(arguments)
        made = files(gather(cluster, arguments, tail, now))
        _write(path, archive(made, f"llama-support-{stamp}", now))
    except BadInput as refused:
        return refusals.tell(refused)
    if arguments.output == "table":
        sys.stdout.write(f"{path}: {len(made)} files, redacted. Look through it before you send it on: tar tzf {path}\n")
    else:
        write_document({"schemaVersion": SCHEMA_VERSION, "file": path, "files": sorted(made)}, arguments.output)
    return FITS


def gather(cluster: Cluster, arguments: argparse.Namespace, tail: int, now: float) -> Material:
    """Everything, as it is; nothing of it is redacted yet. Raises BadInput."""
    kubectl, place = cluster.kubectl, arguments.operator_namespace
    groups = {"deployments": "/apis/apps/v1", "pods": "/api/v1", "leases": "/apis/coordination.k8s.io/v1"}
    operators, operator_pods, all_leases = (of_operators(place, group, plural) for plural, group in groups.items())
    if arguments.name is not None:
        deployments = [cluster.deployment(arguments.name)]
    else:
        deployments = cluster.deployments(everywhere=arguments.all_namespaces)
    nodes, deployed, pods, leases, *about = together(
        partial(_read, lambda: kubectl.list("Node")),
        partial(_read, lambda: everything(kubectl, operators, OPERATORS)),
        partial(_read, lambda: everything(kubectl, operator_pods, OPERATORS)),
        partial(_read, lambda: everything(kubectl, all_leases)),
        *(partial(_about, kubectl, item, tail) for item in deployments),
    )
    findings = doctor.examine(cluster, place)
    every_pod = [pod for item in about for pod in item.objects["pods"] if not isinstance(item.objects["pods"], str)]
    return Material(
        version={"kubectlLlama": __version__, "python": platform.python_version(), "machine": platform.machine()},
        doctor=doctor.document(findings),
        status=status_document(deployments, every_pod, now),
        nodes=nodes,
        operator={"deployments": deployed, "pods": pods, "leases": _ours(leases)},
        operator_logs=_logs(kubectl, pods, tail),
        about=about,
    )


def _about(kubectl: Kubectl, deployment: Mapping[str, Any], tail: int) -> About:
    namespace, name = str(deployment["metadata"].get("namespace", "")), str(deployment["metadata"]["name"])
    labels = f"{names.LABEL_DEPLOYMENT}={name}"
    objects: dict[str, Read] = {
        kind: _read(partial(everything, kubectl, path.format(namespace), labels)) for kind, path in CHILDREN.items()
    }
    uids = {str((item.get("metadata") or {}).get("uid")) for found in objects.values() if not isinstance(found, str) for item in found}
    uids.add(str(deployment["metadata"].get("uid")))
    events = _read(lambda: kubectl.list("Event", namespace))
    if not isinstance(events, str):
        events = [event for event in events if str((event.get("involvedObject") or {}).get("uid")) in uids]
    return About(deployment=deployment, objects={**objects, "events": events}, logs=_logs(kubectl, objects["pods"], tail))


def _read(ask: Callable[[], Any]) -> Any:
    """The objects, or why they could not be read."""
    try:
        return ask()
    except KubectlError as error:
        return error.message


def _ours(leases: Read) -> Read:
    """Of the Leases of all namespaces those of an operator: they bear its name, unless the chart was told another."""
    return leases if isinstance(leases, str) else [item for item in leases if "llama" in str(item["metadata"]["name"])]


def _logs(kubectl: Kubectl, pods: Read, tail: int) -> list[Log]:
    places = [] if isinstance(pods, str) else [(str(pod["metadata"]["namespace"]), str(pod["metadata"]["name"])) for pod in pods]
    found: list[Log] = []
    for begin in range(0, len(places), LOGS_AT_ONCE):
        found += together(*(partial(_log, kubectl, *place, tail) for place in places[begin : begin + LOGS_AT_ONCE]))
    return found


def _log(kubectl: Kubectl, namespace: str, pod: str, tail: int) -> Log:
    try:
        done = kubectl.finish("logs", "--namespace", namespace, f"--tail={tail}", f"pod/{pod}")
    except KubectlError as error:
        return Log(pod=pod, why_not=error.message)
    return Log(pod=pod, why_not=explain(done).message) if done.status else Log(pod=pod, lines=done.out.splitlines())


def _write(path: str, data: bytes) -> None:
    """A new file that its owner alone may read. Raises BadInput."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except (OSError, ValueError) as error:
        given = f"{quoted(path)} ({getattr(error, 'strerror', None) or error})"
        exists = isinstance(error, FileExistsError) and Path(path).exists()
        remedy = "Name another file." if exists else "Name one that you may write."
        raise BadInput.of(Problem(field="--file", given=given, allowed="a file that is not there yet", remedy=remedy)) from None
