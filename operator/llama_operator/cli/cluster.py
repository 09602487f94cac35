"""The cluster that a command asks: which one, as kubectl's flags say it, and every failure in words.

    cluster = Cluster.of(arguments)         # --kubeconfig, --context, -n
    cluster.deployment("llama-405b")        # or BadInput that lists those that are there
    cluster.kubectl.list("Pod", cluster.namespace, labels=…)   # inside `with cluster.told():`

A command only reads. `told` turns what kubectl says into lines with a remedy; a command that goes on without an answer, as `doctor` does,
catches KubectlError itself.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from llama_operator.adapters.kubectl import Kubectl, KubectlError
from llama_operator.api.problems import Problem
from llama_operator.cli.refusals import BadInput, Outage, quoted
from llama_operator.rendering import names

NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""A label of DNS: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"""
PASSES = frozenset({"NoAnswer", "Refused"})
"""Failures that a restart of the API server brings. Refused is what has no word of its own, as a timeout of etcd."""
SHOWN = 20
"""Names of a list that a message repeats."""


def check_namespace(field: str, given: str | None) -> None:
    """Raises BadInput for what is no namespace's name: it goes into a path of the API server, where a / or a ? would lead elsewhere."""
    if given is not None and re.fullmatch(NAMESPACE, given) is None:
        problem = Problem(field=field, given=quoted(given), allowed="a namespace's name", remedy="See kubectl get namespaces.")
        raise BadInput.of(problem)


class Cluster:
    """One cluster, and the namespace that is meant."""

    def __init__(self, kubectl: Kubectl, namespace: str | None = None) -> None:
        """`namespace` None: the context's own."""
        self.kubectl = kubectl
        self._given = namespace

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Cluster:
        """From a command line that `options.add_cluster` has read. Raises BadInput."""
        check_namespace("--namespace", arguments.namespace)
        return cls(Kubectl(kubeconfig=arguments.kubeconfig, context=arguments.context), arguments.namespace)

    @cached_property
    def namespace(self) -> str:
        """The namespace that is meant. Raises BadInput."""
        if self._given is not None:
            return self._given
        with self.told():
            return self.kubectl.namespace()

    def deployment(self, name: str) -> dict[str, Any]:
        """The LlamaDeployment of that name. Raises BadInput, which lists those that are there instead."""
        if not _is_name(name):
            problem = Problem(field="NAME", given=quoted(name), allowed="the name of a LlamaDeployment", remedy="See kubectl get lld -A.")
            raise BadInput.of(problem)
        with self.told():
            found = self.kubectl.get(names.KIND, self.namespace, name)
            if found is not None:
                return found
            raise BadInput.of(self._absent(name, self.deployments()))

    def deployments(self, *, everywhere: bool = False) -> list[dict[str, Any]]:
        """All LlamaDeployments of the namespace, or of all. Raises BadInput."""
        with self.told():
            try:
                return self.kubectl.list(names.KIND, None if everywhere else self.namespace)
            except KubectlError as error:
                if error.why != "NotFound":
                    raise
                problem = Problem(
                    field="cluster",
                    given="one that knows no LlamaDeployments",
                    allowed="one with the operator's CRD",
                    remedy="Install the chart (docs/install.md), or choose another cluster with --context.",
                )
                raise BadInput.of(problem) from None

    def _absent(self, name: str, here: list[dict[str, Any]]) -> Problem:
        allowed = (
            f"one of {_listed(sorted(item['metadata']['name'] for item in here))}"
            if here
            else "none: that namespace has no LlamaDeployment"
        )
        try:
            everywhere = self.kubectl.list(names.KIND)
        except KubectlError:
            everywhere = []  # who may see one namespace alone is told of that one alone
        same = sorted(item["metadata"]["namespace"] for item in everywhere if item["metadata"]["name"] == name)
        others = sorted(f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in everywhere)
        remedy = "Choose one of these, or another namespace with -n." if here else "Choose another namespace with -n."
        if same:
            remedy = f"It lies in namespace {_listed(same)}: add -n {same[0]}."
        elif others and not here:
            remedy = f"Choose one of {_listed(others)}, with -n."
        return Problem(field="NAME", given=f"{quoted(name)} in namespace {self.namespace}", allowed=allowed, remedy=remedy)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raises BadInput where kubectl inside raised KubectlError; Outage where that may pass."""
        try:
            yield
        except KubectlError as error:
            kind = Outage if error.why in PASSES else BadInput
            raise kind.of(problem_of(error)) from None


_WORDS: Mapping[str, tuple[str, str, str]] = {
    "NoKubectl": ("PATH", "kubectl, which speaks to the cluster", "Install it: https://kubernetes.io/docs/tasks/tools/."),
    "NoSuchConfig": ("--context", "a context of your kubeconfig", "See kubectl config get-contexts; --kubeconfig names another file."),
    "NoAnswer": ("cluster", "one that answers", "See kubectl cluster-info; --context chooses another cluster."),
    "Unauthorized": ("cluster", "one that knows you", "Log in as you do for kubectl: kubectl get lld must work."),
    "Forbidden": ("cluster", "what you may read", "Ask for the right that the message names; reading is all that is needed."),
    "NotFound": ("cluster", "what is there", "See kubectl get lld -A."),
    "Refused": ("cluster", "an answer", "See whether kubectl get lld works."),
}
"""Of each failure: the field, what is allowed, the remedy."""


def problem_of(error: KubectlError) -> Problem:
    """A failure in the words of every other problem."""
    field, allowed, remedy = _WORDS[error.why]
    said = error.message.removeprefix("error: ").rstrip(".")
    return Problem(field=field, given=f"no answer ({said})", allowed=allowed, remedy=remedy)


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text) is not None


def _listed(texts: list[str]) -> str:
    more = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")
