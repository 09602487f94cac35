"""Where things lie and which ranges are used: read once from the environment, then passed on as a value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ForeignCluster, LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT = "llama-local"
DEFAULT_RANGE = "10.213.0.0/16"
COVERED = ("/proc", "/run", "/var/run", "/var/lib", "/var/log")  # see boxinit
PROJECT_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The local cluster's place on this machine.

    `cache` keeps what is slow to make (programs, images, the Python environment, models) and survives `down`. `run` holds the running
    cluster and nothing else. `range` is an IPv4 /16 in CIDR notation. `name` (at most 8 letters) tells clusters on one machine apart: tests
    of starting and stopping use one of their own.
    """

    cache: Path
    range: str = DEFAULT_RANGE
    name: str = "local"

    @property
    def link(self) -> str:
        """The host's end of the link to the box."""
        return f"llama-{self.name}0"

    @property
    def cgroup(self) -> str:
        """The name of the cgroup that holds the nodes' ones, in every hierarchy."""
        return f"llama-{self.name}"

    @property
    def run(self) -> Path:
        """State of the running cluster: certificates, etcd's data, containerd's roots, logs. Removed by `down`."""
        return self.cache / "run" / ("cluster" if self.name == "local" else f"cluster-{self.name}")

    @property
    def last_logs(self) -> Path:
        """The logs of the cluster that was stopped last: a failure can be read after `down`."""
        return self.run.with_name(f"{self.run.name}-last-logs")

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.run / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The cluster's own kubeconfig, context `llama-local`. The user's is never read or written."""
        return self.run / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, level Metadata, one JSON object a line."""
        return self.run / "audit" / "audit.log"

    @property
    def programs(self) -> Path:
        """Programs by name and version."""
        return self.cache / "programs"

    @property
    def images(self) -> Path:
        """Docker archives by content key, and buildah's storage."""
        return self.cache / "images"

    @property
    def serving_env(self) -> Path:
        """The Python environment of the serving side."""
        return self.cache / "serving-env"

    @property
    def models(self) -> Path:
        """Model directories in Hugging Face's layout."""
        return self.cache / "models"


def default_cache(environ: Mapping[str, str], *, root: bool) -> Path:
    """$LLAMA_CACHE, else /var/cache/llama-operator for root, else ~/.cache/llama-operator."""
    given = environ.get("LLAMA_CACHE")
    if given:
        path = Path(given)
        if not path.is_absolute():
            raise LocalClusterError(f"LLAMA_CACHE: {given!r} is not an absolute path. Give one, for example /var/cache/llama-operator")
        return path
    if root:
        return Path("/var/cache/llama-operator")
    return Path(environ.get("HOME", "/")) / ".cache" / "llama-operator"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        LocalClusterError: LLAMA_CACHE is not an absolute path, or lies where the box puts directories of its own.

    """
    environ = os.environ if environ is None else environ
    cache = default_cache(environ, root=os.geteuid() == 0)
    covered = [path for path in COVERED if cache.is_relative_to(path)]
    if covered:
        raise LocalClusterError(
            f"LLAMA_CACHE: {cache} lies under {covered[0]}, which the cluster covers with its own. "
            "Choose another, for example /var/cache/llama-operator"
        )
    return Settings(cache=cache, range=environ.get("LLAMA_LOCAL_RANGE") or DEFAULT_RANGE)


@dataclass(frozen=True)
class Foreign:
    """A cluster that the user named: used as it is, never started, stopped or given images."""

    kubeconfig: Path
    context: str


def foreign(environ: Mapping[str, str]) -> Foreign | None:
    """The cluster that LLAMA_KUBECONFIG and LLAMA_CONTEXT name, or None when neither is set.

    Raises:
        ForeignCluster: only one of the two is set, or the file is not there. Both are asked for so that nobody runs a chaos test on the
            cluster that happens to be the current context.

    """
    kubeconfig, context = environ.get("LLAMA_KUBECONFIG"), environ.get("LLAMA_CONTEXT")
    if not kubeconfig and not context:
        return None
    if not kubeconfig or not context:
        unset = "LLAMA_CONTEXT" if kubeconfig else "LLAMA_KUBECONFIG"
        raise ForeignCluster(
            f"{unset} is not set. Set LLAMA_KUBECONFIG (a file) and LLAMA_CONTEXT (a context in it), or neither for the local cluster"
        )
    path = Path(kubeconfig)
    if not path.is_file():
        raise ForeignCluster(f"LLAMA_KUBECONFIG: there is no file {kubeconfig}. Give the kubeconfig that holds the context {context}")
    return Foreign(path, context)
