"""Checks of one LlamaDeployment that need more than a field's type and bounds, each written once for both of its readers.

A rule holds its condition twice, as CEL for the API server and as Python for `llama_operator.api.validation`, beside the words that
both say. The samples in `crds/samples` run through both, so that the two cannot drift apart unseen. The rules without CEL look into
free-form objects, which CEL cannot read: the operator alone refuses those.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_operator.api.problems import Problem, show
from llama_operator.api.v1alpha1 import CPU, GPUS_PER_NODE, NAME_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
SOURCE = (
    r"(file:///[^\x00-\x20\x7f?#]+"
    r"|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^\x00-\x20\x7f?#]*)?"
    "|hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)"
)
REVISION = "[A-Za-z0-9][A-Za-z0-9._/-]*"
SERVED_NAME = "[A-Za-z0-9][A-Za-z0-9._/:-]*"
ACCELERATOR = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
GPU_RESOURCE = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
SECRET_NAME = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"  # noqa: S105 -- a pattern, not a secret
SECRET_KEY = "[-._A-Za-z0-9]+"  # noqa: S105 -- a pattern, not a secret
LABEL_KEY = "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_VALUE = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"

OWN_PREFIX = "llama-operator.dev/"
OWN_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by")

_LISTS = ("containers", "initContainers", "volumes", "tolerations", "imagePullSecrets", "topologySpreadConstraints")
"""Fields of a PodSpec that hold lists of objects."""


class Look:
    """Reads values out of a raw LlamaDeployment, whatever is wrong with the rest of it."""

    def __init__(self, obj: Mapping[str, Any]) -> None:
        self._obj = obj

    def at(self, path: str) -> Any:
        """The value at a dotted path, or None."""
        value: Any = self._obj
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def text(self, path: str) -> str | None:
        """The text at a path, or None where there is none."""
        value = self.at(path)
        return value if isinstance(value, str) else None

    def number(self, path: str, default: int | None = None) -> int | None:
        """The whole number at a path, `default` where the field is absent, None where it holds something else."""
        value = self.at(path)
        if value is None:
            return default
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def mapping(self, path: str) -> dict[str, Any]:
        """The object at a path, else an empty one."""
        value = self.at(path)
        return {key: item for key, item in value.items() if isinstance(key, str)} if isinstance(value, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One check. `broken` gives what was given where the rule is broken, else None.

    `cel` is true where the rule holds; `self` is the object at `at`. The API server's message says `given`, or where that is a text of the
    object itself, the value of `given_cel`. Numbers are said in words there: CEL's cost estimate takes the text of a number to be endless.
    """

    field: str
    allowed: str
    remedy: str
    broken: Callable[[Look], str | None]
    at: str = ""
    cel: str | None = None
    given: str = "something else"
    given_cel: str | None = None

    def problem(self, look: Look) -> Problem | None:
        """The rule's problem with that object, or None."""
        given = self.broken(look)
        return None if given is None else Problem(field=self.field, given=given, allowed=self.allowed, remedy=self.remedy)

    def schema(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`. Only for rules that have CEL."""
        static = Problem(field=self.field, given=self.given, allowed=self.allowed, remedy=self.remedy)
        entry = {"rule": self.cel or "", "message": static.message}
        if self.given_cel:
            tail = f'" is given; allowed is {self.allowed}. {self.remedy}'
            head = self.field + ': "'
            entry["messageExpression"] = f"{quote(head)} + {self.given_cel} + {quote(tail)}"
        if self.at:
            entry["fieldPath"] = self.field.removeprefix(self.at)
        return entry


def quote(text: str) -> str:
    """A CEL string literal: JSON's escapes are CEL's, and non-ASCII characters stand as they are."""
    return json.dumps(text, ensure_ascii=False)


def _pattern(field: str, pattern: str, allowed: str, remedy: str, *, no_dots: bool = False) -> Rule:
    """A rule that an optional text matches a pattern whole, and where asked holds no `..`."""
    at, _, name = field.rpartition(".")
    compiled = re.compile(pattern)  # only what RE2, which CEL uses, and Python read alike: no \s, no [:space:]

    def broken(look: Look) -> str | None:
        text = look.text(field)
        ok = text is None or (compiled.fullmatch(text) and not (no_dots and ".." in text))
        return None if ok else show(text)

    cel = f"!has(self.{name}) || (self.{name}.matches({quote(f'^{pattern}$')})"
    cel += f" && !self.{name}.contains({quote('..')}))" if no_dots else ")"
    return Rule(field=field, allowed=allowed, remedy=remedy, broken=broken, at=at, cel=cel, given_cel=f"self.{name}")


def _name(look: Look) -> str | None:
    name = look.text("metadata.name")
    return None if name is not None and len(name) <= NAME_MAX and re.fullmatch(NAME, name) else show(look.at("metadata.name"))


def _revision_without_hub(look: Look) -> str | None:
    source, revision = look.text("spec.model.source"), look.text("spec.model.revision")
    return show(revision) if revision is not None and source is not None and not source.startswith("hf://") else None


def _gpus_fit_accelerator(look: Look) -> str | None:
    accelerator, gpus = look.text("spec.hardware.accelerator"), look.number("spec.hardware.gpusPerNode")
    if accelerator is None or gpus is None or (accelerator == CPU) == (gpus == 0):
        return None
    return f"{gpus} with accelerator {accelerator}"


def _tensor_in_node(look: Look) -> str | None:
    gpus, tensor = look.number("spec.hardware.gpusPerNode", GPUS_PER_NODE), look.number("spec.parallelism.tensor", 1)
    if look.text("spec.hardware.accelerator") in {None, CPU} or gpus is None or tensor is None or gpus == 0 or tensor <= gpus:
        return None
    return f"{tensor} with {gpus} GPUs per node"


def _min_above_max(look: Look) -> str | None:
    least, most = look.number("spec.autoscaling.minReplicas", 1), look.number("spec.autoscaling.maxReplicas")
    return f"{least} with maxReplicas {most}" if least is not None and most is not None and least > most else None


def _replicas_beside_autoscaling(look: Look) -> str | None:
    replicas = look.number("spec.replicas", 1)
    return str(replicas) if isinstance(look.at("spec.autoscaling"), dict) and replicas not in {None, 1} else None


def _own_labels(look: Look) -> str | None:
    labels = look.mapping("spec.podTemplate.metadata.labels")
    return next((show(key) for key in labels if key.startswith(OWN_PREFIX) or key in OWN_LABELS), None)


def _own_annotations(look: Look) -> str | None:
    return next((show(key) for key in look.mapping("spec.podTemplate.metadata.annotations") if key.startswith(OWN_PREFIX)), None)


def _label_syntax(look: Look) -> str | None:
    for key, value in look.mapping("spec.podTemplate.metadata.labels").items():
        if not re.fullmatch(LABEL_KEY, key) or (isinstance(value, str) and not re.fullmatch(LABEL_VALUE, value)):
            return f"{show(key)}: {show(value)}"
    return None


def _restart_policy(look: Look) -> str | None:
    policy = look.at("spec.podTemplate.spec.restartPolicy")
    return None if policy in {None, "Never"} else show(policy)


def _pod_lists(look: Look) -> str | None:
    for name in _LISTS:
        value = look.at(f"spec.podTemplate.spec.{name}")
        if value is not None and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
            return f"{name}: {show(value)}"
    return None


def _named_items(look: Look) -> str | None:
    for name in ("containers", "initContainers", "volumes"):
        items = look.at(f"spec.podTemplate.spec.{name}")
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and not (isinstance(item.get("name"), str) and item["name"]):
                return f"an item of {name} without a name"
    return None


_TENSOR_GPUS = f"(has(self.hardware.gpusPerNode) ? self.hardware.gpusPerNode : {GPUS_PER_NODE})"
_TENSOR = "(has(self.parallelism) && has(self.parallelism.tensor) ? self.parallelism.tensor : 1)"
_MIN = "(has(self.minReplicas) ? self.minReplicas : 1)"

RULES: tuple[Rule, ...] = (
    Rule(
        field="metadata.name",
        allowed=f"a DNS label that begins with a letter, of at most {NAME_MAX} characters",
        remedy="Pods are named after it; choose a shorter or plainer name.",
        broken=_name,
        cel=f"size(self.metadata.name) <= {NAME_MAX} && self.metadata.name.matches({quote(f'^{NAME}$')})",
        given_cel="self.metadata.name",
    ),
    _pattern(
        "spec.model.source",
        SOURCE,
        "hf://ORGANISATION/NAME, pvc://CLAIM/PATH or file:///PATH",
        "Write the source in one of these forms, without .. in it.",
        no_dots=True,
    ),
    _pattern(
        "spec.model.revision",
        REVISION,
        "a branch, a tag or a commit: letters, digits, dots, dashes, underscores and slashes",
        "Copy it from the model's page.",
        no_dots=True,
    ),
    Rule(
        field="spec.model.revision",
        allowed="a revision beside an hf:// source alone",
        remedy="Remove it, or use an hf:// source: files on a volume have no revision.",
        broken=_revision_without_hub,
        at="spec.model",
        cel='!has(self.revision) || self.source.startsWith("hf://")',
        given_cel="self.revision",
    ),
    _pattern(
        "spec.model.servedName",
        SERVED_NAME,
        "letters, digits, dots, dashes, underscores, slashes and colons, the first a letter or digit",
        "Choose such a name; clients send it as model.",
    ),
    _pattern("spec.model.tokenSecretRef.name", SECRET_NAME, "a Secret's name", "Name a Secret of the same namespace, in lower case."),
    _pattern(
        "spec.model.tokenSecretRef.key", SECRET_KEY, "a Secret's key: letters, digits, dots, dashes and underscores", "Correct the key."
    ),
    _pattern(
        "spec.hardware.accelerator",
        ACCELERATOR,
        "lower-case letters, digits and dashes, as in nvidia-h100-80gb, or cpu",
        "Write it in that form.",
    ),
    _pattern("spec.hardware.gpuResource", GPU_RESOURCE, "a resource's name, as in nvidia.com/gpu", "See the nodes: kubectl describe node."),
    Rule(
        field="spec.hardware.gpusPerNode",
        allowed="0 where the accelerator is cpu, 1 or more elsewhere",
        remedy="Remove it for the default, or correct spec.hardware.accelerator.",
        broken=_gpus_fit_accelerator,
        at="spec.hardware",
        cel='!has(self.gpusPerNode) || (self.accelerator == "cpu") == (self.gpusPerNode == 0)',
        given="a number that does not fit spec.hardware.accelerator",
    ),
    Rule(
        field="spec.parallelism.tensor",
        allowed="at most spec.hardware.gpusPerNode: tensor parallelism stays inside a node",
        remedy="Lower it and raise spec.parallelism.pipeline, which may span nodes, or correct spec.hardware.gpusPerNode.",
        broken=_tensor_in_node,
        at="spec",
        cel=f'self.hardware.accelerator == "cpu" || {_TENSOR_GPUS} == 0 || {_TENSOR} <= {_TENSOR_GPUS}',
        given="more than spec.hardware.gpusPerNode",
    ),
    Rule(
        field="spec.autoscaling.minReplicas",
        allowed="at most spec.autoscaling.maxReplicas",
        remedy="Lower minReplicas or raise maxReplicas.",
        broken=_min_above_max,
        at="spec.autoscaling",
        cel=f"{_MIN} <= self.maxReplicas",
        given="more than spec.autoscaling.maxReplicas",
    ),
    Rule(
        field="spec.replicas",
        allowed="nothing (or 1) while spec.autoscaling is set: the autoscaler chooses between minReplicas and maxReplicas",
        remedy="Remove spec.replicas, or remove spec.autoscaling to choose the number yourself.",
        broken=_replicas_beside_autoscaling,
        at="spec",
        cel="!has(self.autoscaling) || !has(self.replicas) || self.replicas == 1",
        given="a number beside spec.autoscaling",
    ),
    Rule(
        field="spec.podTemplate.metadata.labels",
        allowed=f"any label but {OWN_PREFIX}... and {', '.join(OWN_LABELS)}",
        remedy="Remove it: the operator finds its pods by these.",
        broken=_own_labels,
        at="spec.podTemplate.metadata",
        cel=f"!has(self.labels) || self.labels.all(k, !k.startsWith({quote(OWN_PREFIX)}) && !(k in {list(OWN_LABELS)}))",
        given="a label of the operator",
    ),
    Rule(
        field="spec.podTemplate.metadata.annotations",
        allowed=f"any annotation but {OWN_PREFIX}...",
        remedy="Remove it: the operator writes these itself.",
        broken=_own_annotations,
        at="spec.podTemplate.metadata",
        cel=f"!has(self.annotations) || self.annotations.all(k, !k.startsWith({quote(OWN_PREFIX)}))",
        given="an annotation of the operator",
    ),
    Rule(
        field="spec.podTemplate.metadata.labels",
        allowed="a Kubernetes label: [prefix/]name and a value of at most 63 letters, digits, dots, dashes and underscores",
        remedy="Correct the key or the value.",
        broken=_label_syntax,
    ),
    Rule(
        field="spec.podTemplate.spec.restartPolicy",
        allowed="Never: a gang is replaced whole",
        remedy="Remove it.",
        broken=_restart_policy,
    ),
    Rule(
        field="spec.podTemplate.spec",
        allowed="a PodSpec, where that field is a list of objects",
        remedy="See kubectl explain pod.spec.",
        broken=_pod_lists,
    ),
    Rule(
        field="spec.podTemplate.spec",
        allowed="items with a name, by which they are merged",
        remedy="Name it; the serving container is llama.",
        broken=_named_items,
    ),
    _pattern("spec.image", "[!-~]+", "an image reference without blanks", "Correct the reference."),
)
"""Every rule, in the order in which problems are told."""
