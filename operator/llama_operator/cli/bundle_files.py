"""The files of a support bundle, each redacted before it is one. Pure.

README.txt                          what is in it, and what was left out
version.json doctor.json status.json
nodes.json                          names, labels of hardware, what they offer, conditions
operator/…                          Deployments, pods, Leases, logs
NAMESPACE/NAME/…                    the LlamaDeployment, its pods, revisions, claims, Services, events, logs
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.cli.redaction import redact, redact_log, redact_text

NODE_LABELS = re.compile(
    r"(?:nvidia\.com|amd\.com|beta\.amd\.com|feature\.node\.kubernetes\.io)/|kubernetes\.io/(?:arch|os)$|node\.kubernetes\.io/instance-type$|"
    r"topology\.kubernetes\.io/"
)
"""Labels of a node that say what hardware it is and where it stands; the others are the owner's own."""
README = """Made by kubectl llama support-bundle, for whoever helps with this cluster.

Left out or replaced by [redacted]: values under names that say that they are secret, every environment variable but the operator's own,
data of Secrets (none was read) and ConfigMaps, whatever looks like a token, a key or a certificate, whatever follows the word prompt or its
like, and every log line that is not the operator's or its agents': Ray's and the engine's logs are not in here.
Look through it all the same before you send it on.

"""


@dataclass(frozen=True, kw_only=True)
class Log:
    """What one pod wrote, or why it could not be read."""

    pod: str
    lines: Sequence[str] = ()
    why_not: str | None = None


@dataclass(frozen=True, kw_only=True)
class About:
    """One LlamaDeployment and all that belongs to it; None: it may not be read."""

    deployment: Mapping[str, Any]
    objects: Mapping[str, Sequence[Mapping[str, Any]] | str]
    """By kind; a text says why they could not be read."""
    logs: Sequence[Log] = ()


@dataclass(frozen=True, kw_only=True)
class Material:
    """Everything that was read for a bundle, as it was read."""

    version: Mapping[str, Any]
    doctor: Mapping[str, Any]
    status: Mapping[str, Any]
    nodes: Sequence[Mapping[str, Any]] | str
    operator: Mapping[str, Sequence[Mapping[str, Any]] | str] = field(default_factory=dict)
    operator_logs: Sequence[Log] = ()
    about: Sequence[About] = ()


def files(material: Material) -> dict[str, str]:
    """The files by path, redacted."""
    made = dict(_files(material))
    left_out = sorted(path for path in made if path.endswith(".unread.txt"))
    lines = [f"{len(made)} files:", *sorted(made), *(["", "not readable by whoever made it:", *left_out] if left_out else [])]
    return {"README.txt": README + "\n".join(lines) + "\n", **made}


def _files(material: Material) -> Iterator[tuple[str, str]]:
    for name, value in (("version", material.version), ("doctor", material.doctor), ("status", material.status)):
        yield f"{name}.json", _json(value)
    yield _objects("nodes", material.nodes if isinstance(material.nodes, str) else [_node(node) for node in material.nodes])
    for kind, objects in material.operator.items():
        yield _objects(f"operator/{kind}", objects)
    for log in material.operator_logs:
        yield _log("operator", log)
    for about in material.about:
        metadata = about.deployment["metadata"]
        folder = f"{_safe(metadata.get('namespace', ''))}/{_safe(metadata['name'])}"
        yield f"{folder}/deployment.json", _json(about.deployment)
        for kind, objects in about.objects.items():
            yield _objects(f"{folder}/{kind}", objects)
        for log in about.logs:
            yield _log(folder, log)


def _safe(text: str) -> str:
    """A name as a part of a path: Kubernetes' names are, and what comes from elsewhere must not lead out of the archive."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip(".") or "-"


def _json(value: Any) -> str:
    return json.dumps(redact(value), indent=1, ensure_ascii=False) + "\n"


def _objects(path: str, objects: Sequence[Mapping[str, Any]] | str) -> tuple[str, str]:
    if isinstance(objects, str):
        return f"{path}.unread.txt", f"{redact_text(objects)}\n"
    return f"{path}.json", _json(list(objects))


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    status, metadata = node.get("status") or {}, node["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if NODE_LABELS.match(key)}
    kept = {key: status.get(key) for key in ("allocatable", "capacity", "conditions", "nodeInfo")}
    spec = node.get("spec") or {}
    return {"name": metadata["name"], "labels": labels, "unschedulable": spec.get("unschedulable"), "taints": spec.get("taints"), **kept}


def _log(folder: str, log: Log) -> tuple[str, str]:
    path = f"{folder}/logs/{_safe(log.pod)}.log"
    if log.why_not is not None:
        return f"{path}.unread.txt", f"{redact_text(log.why_not)}\n"
    kept, others = redact_log(log.lines)
    return path, "\n".join([*kept, *([f"({others} lines of other programs are left out)"] if others else [])]) + "\n"


def archive(made: Mapping[str, str], folder: str, now: float) -> bytes:
    """A tar.gz of the files, in one folder; readable by its owner alone once it is unpacked."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=now) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path, text in made.items():
            data = text.encode("utf-8", "backslashreplace")
            info = tarfile.TarInfo(f"{folder}/{path}")
            info.size, info.mtime, info.mode = len(data), int(now), 0o600
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()
