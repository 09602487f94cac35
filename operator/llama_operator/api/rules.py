"""Checks of one LlamaDeployment that need more than a field's type and bounds, each written once for both of its readers.

A rule holds its condition twice, as CEL for the API server and as Python for `llama_operator.api.validation`, beside the words that
both say. The samples in `crds/samples` run through both, so that the two cannot drift apart unseen. The rules without CEL look into
free-form objects, which CEL cannot read: the operator alone refuses those.
"""

from __future__ import annotations

import re

from llama_operator.api import licence, not_served, price, scaling_rules
from llama_operator.api.group import CPU, NAME
from llama_operator.api.problems import show
from llama_operator.api.rule import Look, Rule, pattern_rule, quote
from llama_operator.api.v1alpha1 import GPUS_PER_NODE, NAME_MAX

SOURCE = (
    r"(file:///[^\x00-\x20\x7f?#]+"
    r"|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^\x00-\x20\x7f?#]*)?"
    r"|s3://[^\x00-\x20\x7f?#]*"  # refused in its own words: not_served
    "|hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)"
)
REVISION = "[A-Za-z0-9][A-Za-z0-9._/-]*"
SERVED_NAME = "[A-Za-z0-9][A-Za-z0-9._/:-]*"
ACCELERATOR = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
GPU_RESOURCE = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
SECRET_NAME = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"  # noqa: S105 -- a pattern, not a secret
SECRET_KEY = "[-._A-Za-z0-9]+"  # noqa: S105 -- a pattern, not a secret
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
COLLECTOR = f"https?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:{_PORT})?(/[-A-Za-z0-9._~/%+]*)?"
SECRET_PARTS = "[@?#]"  # noqa: S105 -- a pattern: what divides a URL's credentials and query from the rest of it
LABEL_KEY = "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_VALUE = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"

OWN_PREFIX = "llama-operator.dev/"
OWN_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by")

_LISTS = ("containers", "initContainers", "volumes", "tolerations", "imagePullSecrets", "topologySpreadConstraints")
"""Fields of a PodSpec that hold lists of objects."""


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


def _custom_without_gpu(look: Look) -> str | None:
    custom = look.at("spec.hardware.custom")
    return show(custom) if custom is not None and look.text("spec.hardware.accelerator") == CPU else None


def _tensor_in_node(look: Look) -> str | None:
    gpus, tensor = look.number("spec.hardware.gpusPerNode", GPUS_PER_NODE), look.number("spec.parallelism.tensor", 1)
    if look.text("spec.hardware.accelerator") in {None, CPU} or gpus is None or tensor is None or gpus == 0 or tensor <= gpus:
        return None
    return f"{tensor} with {gpus} GPUs per node"


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


def _collector_with_secret(look: Look) -> str | None:
    endpoint = look.text("spec.tracing.endpoint")
    # Not repeated: what stands there may be a password or a key.
    return "a URL with credentials, a query or a fragment" if endpoint and re.search(SECRET_PARTS, endpoint) else None


def _collector(look: Look) -> str | None:
    endpoint = look.text("spec.tracing.endpoint")
    if endpoint is None or re.search(SECRET_PARTS, endpoint) or re.fullmatch(COLLECTOR, endpoint):
        return None
    return show(endpoint)


_TENSOR_GPUS = f"(has(self.hardware.gpusPerNode) ? self.hardware.gpusPerNode : {GPUS_PER_NODE})"
_TENSOR = "(has(self.parallelism) && has(self.parallelism.tensor) ? self.parallelism.tensor : 1)"

RULES: tuple[Rule, ...] = (
    Rule(
        field="metadata.name",
        allowed=f"a DNS label that begins with a letter, of at most {NAME_MAX} characters",
        remedy="Pods are named after it; choose a shorter or plainer name.",
        broken=_name,
        cel=f"size(self.metadata.name) <= {NAME_MAX} && self.metadata.name.matches({quote(f'^{NAME}$')})",
        given_cel="self.metadata.name",
    ),
    pattern_rule(
        "spec.model.source",
        SOURCE,
        "hf://ORGANISATION/NAME, pvc://CLAIM/PATH or file:///PATH",
        "Write the source in one of these forms, without .. in it.",
        no_dots=True,
    ),
    pattern_rule(
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
    pattern_rule(
        "spec.model.servedName",
        SERVED_NAME,
        "letters, digits, dots, dashes, underscores, slashes and colons, the first a letter or digit",
        "Choose such a name; clients send it as model.",
    ),
    pattern_rule("spec.model.tokenSecretRef.name", SECRET_NAME, "a Secret's name", "Name a Secret of the same namespace, in lower case."),
    pattern_rule(
        "spec.model.tokenSecretRef.key", SECRET_KEY, "a Secret's key: letters, digits, dots, dashes and underscores", "Correct the key."
    ),
    pattern_rule(
        "spec.hardware.accelerator",
        ACCELERATOR,
        "lower-case letters, digits and dashes, as in nvidia-h100-80gb, or cpu",
        "Write it in that form.",
    ),
    pattern_rule(
        "spec.hardware.gpuResource", GPU_RESOURCE, "a resource's name, as in nvidia.com/gpu", "See the nodes: kubectl describe node."
    ),
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
        field="spec.hardware.custom",
        allowed="nothing where the accelerator is cpu",
        remedy="Remove it, or correct spec.hardware.accelerator.",
        broken=_custom_without_gpu,
        at="spec.hardware",
        cel='!has(self.custom) || self.accelerator != "cpu"',
        given="a GPU's memory and bandwidth",
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
    *scaling_rules.RULES,
    Rule(
        field="spec.tracing.endpoint",
        allowed="a URL of scheme, host, port and path alone",
        remedy="Give a secret as a header, from a Secret: OTEL_EXPORTER_OTLP_HEADERS in spec.podTemplate (docs/tracing.md).",
        broken=_collector_with_secret,
        at="spec.tracing",
        cel=f"!self.endpoint.matches({quote(SECRET_PARTS)})",
        given="a URL with credentials, a query or a fragment",
    ),
    Rule(
        field="spec.tracing.endpoint",
        allowed="http://HOST:PORT or https://HOST:PORT, and a path where the collector wants another than /v1/traces",
        remedy="Write it as in http://otel-collector.observability:4318.",
        broken=_collector,
        at="spec.tracing",
        cel=f"self.endpoint.matches({quote(SECRET_PARTS)}) || self.endpoint.matches({quote(f'^{COLLECTOR}$')})",
        given="something else",
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
    pattern_rule("spec.image", "[!-~]+", "an image reference without blanks", "Correct the reference."),
    licence.GATE,
    *not_served.RULES,
)
"""Every rule, in the order in which problems are told."""

WARNINGS: tuple[Rule, ...] = (licence.NAMING, price.READABLE, scaling_rules.REPLICAS_BESIDE)
"""Rules that refuse nothing: what they find is told as a warning."""
