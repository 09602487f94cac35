"""kubectl and helm, pointed at the cluster in use and at nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from localcluster.cluster import Cluster
from localcluster.commands import run
from localcluster.errors import MissingTool


class Tools:
    """The programs of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        """The local cluster's own programs, or those on the PATH for a foreign one."""
        self._cluster = cluster

    def program(self, name: str) -> str:
        """Path of `kubectl` or `helm`. Raises MissingTool."""
        if not self._cluster.foreign:
            return str(self._cluster.layout.programs[name])
        found = shutil.which(name)
        if not found:
            raise MissingTool(f"{name} is needed for the cluster of LLAMA_KUBECONFIG and is not on the PATH; install it")
        return found

    def env(self) -> dict[str, str]:
        """The environment in which they see this cluster only, and write nothing to the user's home."""
        return {**os.environ, **self._cluster.environment}

    def kubectl(self) -> list[str]:
        """The beginning of a kubectl command line."""
        return [self.program("kubectl"), "--context", self._cluster.context]

    def execute(self, namespace: str, pod: str, *command: str, seconds: float = 60) -> str:
        """What a command in a pod's main container prints. Raises LocalClusterError with what it said when it fails."""
        words = [*self.kubectl(), "exec", "-n", namespace, pod, "--", *command]
        return run(words, env=self._cluster.environment, seconds=seconds)

    def helm(self, *arguments: str, seconds: float = 180) -> str:
        """Run helm. Raises LocalClusterError with what it said."""
        command = [self.program("helm"), "--kube-context", self._cluster.context, *arguments]
        return run(command, env=self._cluster.environment, seconds=seconds)

    def chart(self) -> Path:
        """The operator's chart in this checkout."""
        return Path(__file__).resolve().parents[3] / "helm" / "llama-operator"
