"""Prometheus in the cluster: an image made from Debian's binary, and the manifests that run it as monitoring/prometheus."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from . import archive
from .api import Api, ApiError
from .errors import LocalClusterError
from .waiting import wait_for

if TYPE_CHECKING:
    from .cluster import Cluster
    from .debian import DebianPrograms
    from .settings import Settings

NAME = "docker.io/llama-local/prometheus"
DEPLOYMENT = "/apis/apps/v1/namespaces/monitoring/deployments/prometheus"
DIGEST = "llama-operator.dev/rules"
"""The annotation with the digest of the manifest and the rules: another starts a new pod."""
MANIFEST = Path(__file__).resolve().parent.parent / "manifests" / "prometheus.yaml"
RULES_MAP = "llama-rules"
RULES = Path(__file__).resolve().parents[3] / "helm" / "llama-operator" / "rules" / "llama-operator.yaml"


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


def ensure(cluster: Cluster) -> None:
    """Load the image, apply the manifests and wait until Prometheus is available; nothing is done if it is, from that very image and with
    the chart's rules as they are now. One that gets other rules begins anew, without its past.

    Raises:
        NotReady: it is not available after 90 s.

    """
    target, name = image(cluster.settings, cluster.layout.debian)
    rules = RULES.read_text(encoding="utf-8")
    # The manifest too: one that an earlier version of it started may read its rules elsewhere.
    digest = hashlib.sha256((MANIFEST.read_text(encoding="utf-8") + rules).encode()).hexdigest()[:12]
    if _available(cluster, name, digest):
        return
    with cluster.progress.step("start Prometheus in the cluster"):
        cluster.load_image(target)
        cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})
        put_rules(cluster.api, rules)
        cluster.api.apply_file(MANIFEST, IMAGE=name, DISCOVERY=str(cluster.layout.scrape_targets.parent), RULES=digest)
        hint = "See: localcluster kubectl -- -n monitoring describe pods"
        wait_for("Prometheus is available", lambda: _available(cluster, name, digest), seconds=90, every=0.3, hint=hint)


def put_rules(api: Api, text: str) -> None:
    """The rules that Prometheus reads when it starts; a running one keeps those that it has."""
    metadata = {"name": RULES_MAP, "namespace": "monitoring"}
    api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"llama-operator.yaml": text}})


def _available(cluster: Cluster, name: str, digest: str) -> bool:
    try:
        found = cluster.api.get(DEPLOYMENT)
    except ApiError as error:
        if error.code == 404:
            return False
        raise
    status, template = found.get("status", {}), found["spec"]["template"]
    wanted: bool = template["spec"]["containers"][0]["image"] == name and template["metadata"].get("annotations", {}).get(DIGEST) == digest
    # One pod in all: while another starts, the one of before may still count as available.
    alone = int(status.get("replicas", 0)) == int(status.get("updatedReplicas", 0)) == int(status.get("availableReplicas", 0)) == 1
    return wanted and status.get("observedGeneration") == found["metadata"]["generation"] and alone
