"""Reads what `kubectl llama doctor` looks at, all at once. Whatever cannot be read is Unread, and the rest is looked at."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from llama_operator.adapters.kubectl import Kubectl, KubectlError, together
from llama_operator.adapters.prometheus_instant import PrometheusError, PrometheusInstant
from llama_operator.cli.cluster import check_namespace
from llama_operator.cli.doctor_facts import Facts, Object, Objects, Samples, setting
from llama_operator.cli.findings import Unread
from llama_operator.rendering import names
from llama_operator.telemetry import names as metric

OPERATORS = "app.kubernetes.io/name=llama-operator"
CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{names.PLURAL}.{names.GROUP}"
PAGE_SIZE = 500
SCRAPES = f'count by ({metric.LABEL_NAMESPACE}, {metric.LABEL_POD}) ({metric.REQUESTS_IN_FLIGHT}{{{metric.LABEL_DEPLOYMENT}!=""}})'
"""How many series each serving pod has of a gauge of which it exports one."""

T = TypeVar("T")


def read_facts(kubectl: Kubectl, operator_namespace: str | None) -> Facts:
    """Everything. Raises KubectlError where the cluster does not answer at all, or knows nobody of that name, and BadInput for a namespace
    that can be none.
    """
    operators = of_operators(operator_namespace, "/apis/apps/v1", "deployments")
    leases = of_operators(operator_namespace, "/apis/coordination.k8s.io/v1", "leases")
    heads = f"{names.MANAGED_SELECTOR}"
    found = together(
        lambda: _try(lambda: _object(kubectl, "/version"), fatal=("NoKubectl", "NoSuchConfig", "NoAnswer", "Unauthorized")),
        lambda: _try(lambda: _maybe(kubectl, CRD_PATH)),
        lambda: _try(lambda: everything(kubectl, operators, OPERATORS)),
        lambda: _try(lambda: everything(kubectl, leases)),
        lambda: _try(lambda: kubectl.list(names.KIND), absent=[]),
        lambda: _try(lambda: kubectl.list("Node")),
        lambda: _try(lambda: everything(kubectl, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")),
        lambda: _try(lambda: everything(kubectl, "/apis/storage.k8s.io/v1/storageclasses")),
        lambda: _try(lambda: kubectl.list("PersistentVolumeClaim", labels=heads)),
        lambda: _try(lambda: everything(kubectl, "/apis/nvidia.com/v1/clusterpolicies"), absent=None),
        lambda: _try(lambda: _object(kubectl, "/apis/monitoring.coreos.com/v1"), absent=None),
    )
    version, crd, deployed, leases_there, llamas, nodes, node_leases, classes, claims, policies, monitors = found
    samples, rights = together(
        lambda: _samples(kubectl, deployed),
        lambda: _rights(kubectl, deployed, llamas),
    )
    return Facts(
        version=version,
        crd=crd,
        operators=deployed,
        leases=leases_there,
        deployments=llamas,
        nodes=nodes,
        node_leases=node_leases,
        storage_classes=classes,
        claims=claims,
        cluster_policies=policies,
        pod_monitors=monitors if isinstance(monitors, Unread) else monitors is not None,
        samples=samples,
        rights=rights,
        now=time.time(),
    )


_MUST_BE: Any = object()


def _try(ask: Callable[[], T], *, absent: Any = _MUST_BE, fatal: tuple[str, ...] = ()) -> T | Unread:
    """The answer; `absent`, where it is given, for what the cluster does not know."""
    try:
        return ask()
    except KubectlError as error:
        if error.why in fatal:
            raise
        if error.why == "NotFound" and absent is not _MUST_BE:
            none: T = absent
            return none
        return Unread(error.message)


def everything(kubectl: Kubectl, path: str, labels: str | None = None) -> list[dict[str, Any]]:
    """All objects at a path, page by page, with the kind that a list says once for all of them. Raises KubectlError."""
    query = {"limit": str(PAGE_SIZE), **({"labelSelector": labels} if labels else {})}
    items: list[dict[str, Any]] = []
    while True:
        page = _object(kubectl, f"{path}?{urlencode(query)}")
        kind = str(page.get("kind") or "").removesuffix("List")
        items += [{**({"kind": kind} if kind else {}), **item} for item in page.get("items") or []]
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return items
        query["continue"] = token


def _object(kubectl: Kubectl, path: str) -> dict[str, Any]:
    try:
        body = json.loads(kubectl.raw(path))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise KubectlError("Refused", f"{path}: the answer is no JSON object")
    return body


def _maybe(kubectl: Kubectl, path: str) -> dict[str, Any] | None:
    try:
        return _object(kubectl, path)
    except KubectlError as error:
        if error.why == "NotFound":
            return None
        raise


def of_operators(namespace: str | None, prefix: str, plural: str) -> str:
    """The path of objects of the operator's namespace, or of all where it is looked for. Raises BadInput."""
    check_namespace("--operator-namespace", namespace)
    return f"{prefix}/{plural}" if namespace is None else f"{prefix}/namespaces/{namespace}/{plural}"


class Ambiguous(Exception):
    """Several namespaces say that the operator runs there, and name different addresses; the text says so."""


def prometheus_url(operators: Objects) -> str | None:
    """What the operator was given; None where it was given none, or there is no operator. Raises Ambiguous.

    Whoever may make a Deployment anywhere can label it as the operator's, and a Lease beside it: where namespaces differ, none is believed.
    """
    given: dict[str, set[str]] = {}
    for item in operators:
        there = given.setdefault(str(item["metadata"].get("namespace", "")), set())
        there.update(url for url in (setting(item, "PROMETHEUS_URL"),) if url)
    answers = {url for there in given.values() for url in there or {""}}
    if len(answers) > 1:
        raise Ambiguous(f"the operators of this cluster, in {', '.join(sorted(given))}, do not name one Prometheus but {len(answers)}")
    return (answers.pop() or None) if answers else None


def _samples(kubectl: Kubectl, operators: Objects | Unread) -> Samples | Unread | None:
    if isinstance(operators, Unread):
        return Unread(operators.why)
    try:
        url = prometheus_url(operators)
        if url is None:
            return None
        found = PrometheusInstant(kubectl, url).vector(SCRAPES)
    except (Ambiguous, PrometheusError) as error:
        return Unread(str(error))
    return Samples(
        pods={f"{item.labels.get(metric.LABEL_NAMESPACE)}/{item.labels.get(metric.LABEL_POD)}": int(item.value) for item in found}
    )


def _rights(kubectl: Kubectl, operators: Objects | Unread, llamas: Objects | Unread) -> Objects | Unread | None:
    """The rules of the operator's account, by a review that is asked for as that account: it needs the right to impersonate."""
    if isinstance(operators, Unread) or not operators:
        return operators if isinstance(operators, Unread) else None
    account = _account(operators[0])
    watched = (setting(operators[0], "WATCH_NAMESPACES") or "").split(",")[0].strip()
    first = "" if isinstance(llamas, Unread) or not llamas else str(llamas[0]["metadata"].get("namespace", ""))
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": first or watched or operators[0]["metadata"]["namespace"]},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "review.json"
        file.write_text(json.dumps(body), encoding="utf-8")
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        try:
            done = kubectl.finish(f"--as={account}", "create", "--raw", path, "-f", str(file))
        except KubectlError as error:
            return Unread(error.message)
    if done.status:
        return Unread(done.err.strip().splitlines()[-1] if done.err.strip() else "kubectl said nothing")
    try:
        status = json.loads(done.out)["status"]
        rules: list[Object] = status["resourceRules"]
    except (KeyError, TypeError, ValueError):
        return Unread("the review's answer is of another shape")
    return Unread(f"the API server's list is incomplete: {status.get('evaluationError')}") if status.get("incomplete") else rules


def _account(operator: Object) -> str:
    name = operator["spec"]["template"]["spec"].get("serviceAccountName") or "default"
    return f"system:serviceaccount:{operator['metadata']['namespace']}:{name}"
