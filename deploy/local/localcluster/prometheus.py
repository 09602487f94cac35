"""Prometheus in the cluster: an image made from Debian's binary, and the manifests that run it as monitoring/prometheus."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import archive
from .api import ApiError
from .errors import LocalClusterError
from .waiting import wait_for

if TYPE_CHECKING:
    from .cluster import Cluster
    from .debian import DebianPrograms
    from .settings import Settings

NAME = "docker.io/llama-local/prometheus"
DEPLOYMENT = "/apis/apps/v1/namespaces/monitoring/deployments/prometheus"
RULES = "llama-operator.dev/rules"
"""The annotation with the digest of the rules: another starts a new pod."""
MANIFEST = Path(__file__).resolve().parent.parent / "manifests" / "prometheus.yaml"


def libraries(ldd_output: str) -> list[Path]:
    """The files that `ldd` found, the loader included."""
    found = re.findall(r"(?:=> |^\s*)(/\S+) \(0x", ldd_output, flags=re.MULTILINE)
    return [Path(path) for path in dict.fromkeys(found)]


def image(settings: Settings, debian: DebianPrograms) -> tuple[Path, str]:
    """The archive and name of an image with Prometheus and the libraries it needs.

    Raises:
        LocalClusterError: a library is missing on this machine.

    """
    program = debian.root / "usr/bin/prometheus"
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=30, check=True).stdout
    if "not found" in listed:
        raise LocalClusterError(f"{program} needs libraries that this machine lacks:\n{listed}")
    # A library keeps the path it was found at: the loader's own is compiled into the program.
    files = {str(path).lstrip("/"): (path.read_bytes(), 0o755) for path in libraries(listed)}
    files["bin/prometheus"] = (program.read_bytes(), 0o755)
    files["etc/passwd"] = (b"nobody:x:65534:65534:nobody:/:/bin/false\n", 0o644)
    digest = hashlib.sha256()
    for path, (content, _) in sorted(files.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    name = f"{NAME}:{digest.hexdigest()[:12]}"
    target = settings.images / f"prometheus-{digest.hexdigest()[:12]}.tar"
    if not target.exists():
        archive.write(target, name, archive.layer(files), entrypoint=["/bin/prometheus"], user="65534:65534")
    return target, name


def ensure(cluster: Cluster, rules: str | None = None) -> None:
    """Load the image, apply the manifests and wait until Prometheus is available; nothing is done if it is, from that very image and with
    those rules.

    `rules` is the text of a rules file; None leaves those that are there. A Prometheus that gets others begins anew, without its past.

    Raises:
        NotReady: it is not available after 90 s.

    """
    target, name = image(cluster.settings, cluster.layout.debian)
    digest = _digest(cluster) if rules is None else hashlib.sha256(rules.encode()).hexdigest()[:12]
    if _available(cluster, name, digest):
        return
    with cluster.progress.step("start Prometheus in the cluster"):
        cluster.load_image(target)
        cluster.api.apply_file(MANIFEST, IMAGE=name, DISCOVERY=str(cluster.layout.scrape_targets.parent), RULES=digest)
        if rules is not None:
            about = {"name": "prometheus-rules", "namespace": "monitoring"}
            cluster.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"rules.yaml": rules}})
        hint = "See: localcluster kubectl -- -n monitoring describe pods"
        wait_for("Prometheus is available", lambda: _available(cluster, name, digest), seconds=90, every=0.3, hint=hint)


def _digest(cluster: Cluster) -> str:
    """Of the rules that it was started with; empty where there are none."""
    template = (_found(cluster) or {}).get("spec", {}).get("template", {})
    return str(template.get("metadata", {}).get("annotations", {}).get(RULES, ""))


def _found(cluster: Cluster) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = cluster.api.get(DEPLOYMENT)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    return found


def _available(cluster: Cluster, name: str, digest: str) -> bool:
    found = _found(cluster)
    if found is None:
        return False
    status, containers = found.get("status", {}), found["spec"]["template"]["spec"]["containers"]
    current: bool = status.get("observedGeneration") == found["metadata"]["generation"] and containers[0]["image"] == name
    # One pod in all: while a new one starts, the old one still counts as available.
    alone = int(status.get("replicas", 0)) == int(status.get("updatedReplicas", 0)) == 1
    return current and alone and _digest(cluster) == digest and int(status.get("availableReplicas", 0)) >= 1
