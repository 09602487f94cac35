"""The CR's `podTemplate` for the local cluster: Ray pods that run on the machine's own Python and serving environment.

An engine image holds Ray, vLLM and torch. Here none can be pulled, and a 6 GB one need not be built: the pod's image is almost empty, and
the machine's /usr, its certificates, the environment and the models are mounted read-only at the paths they have on the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from .errors import ForeignCluster

if TYPE_CHECKING:
    from pathlib import Path

CONTAINER = "llama"


def make(*, serving_env: Path, models: Path) -> dict[str, Any]:
    """`spec.podTemplate` of a LlamaDeployment. Lists are merged by name over what the operator renders; init containers are untouched."""
    mounts = {"machine-usr": "/usr", "machine-certificates": "/etc/ssl", "serving-env": str(serving_env), "local-models": str(models)}
    env = {
        "PATH": f"{serving_env}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB: two replicas fit a 16 GiB machine
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # pods share the machine's cores
        "VLLM_NO_USAGE_STATS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    container = {
        "name": CONTAINER,
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": [{"name": name, "mountPath": path, "readOnly": True} for name, path in mounts.items()],
    }
    volumes = [{"name": name, "hostPath": {"path": path, "type": "Directory"}} for name, path in mounts.items()]
    return {"spec": {"containers": [container], "volumes": volumes}}


def read(path: Path) -> dict[str, Any]:
    """`spec.podTemplate` from a file, for a cluster whose pods need something of their own.

    Raises ForeignCluster where it cannot be read, or is no pod template.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ForeignCluster(f"LLAMA_DEMO_POD_TEMPLATE: {path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not found or not found.keys() <= {"metadata", "spec"}:
        raise ForeignCluster(
            f"LLAMA_DEMO_POD_TEMPLATE: {path} is no pod template: its keys must be metadata or spec, as in spec.podTemplate"
        )
    return found
