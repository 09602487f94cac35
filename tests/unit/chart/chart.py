"""The chart as the real Helm renders it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from tests.harness import yaml_files
from tests.harness.programs import QUICK_GO

from localcluster import programs

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "helm" / "llama-operator"
KUBERNETES = programs.KUBERNETES
POD_MONITOR = "monitoring.coreos.com/v1/PodMonitor"
PROMETHEUS_RULE = "monitoring.coreos.com/v1/PrometheusRule"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What `helm template` made of some values."""

    text: str

    @cached_property
    def manifests(self) -> list[Manifest]:
        """Every object, in Helm's order of installation."""
        return yaml_files.read_all(self.text)

    def of_kind(self, *kinds: str) -> list[Manifest]:
        """The objects of these kinds."""
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    @property
    def deployment(self) -> Manifest:
        """The operator's Deployment."""
        (only,) = self.of_kind("Deployment")
        return only

    @property
    def pod(self) -> Manifest:
        """The template of the operator's pod."""
        template: Manifest = self.deployment["spec"]["template"]
        return template

    @property
    def environment(self) -> dict[str, Any]:
        """The operator container's environment: name to the whole entry."""
        (container,) = self.pod["spec"]["containers"]
        return {entry["name"]: entry for entry in container["env"]}


class Helm:
    """The program, and the chart that it renders."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run Helm without a cluster and without the user's configuration."""
        clean = {**os.environ, **QUICK_GO, "KUBECONFIG": os.devnull}
        return subprocess.run([self._program, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False, env=clean)

    def refuse(self, values: Mapping[str, Any]) -> str:
        """What Helm says against these values; fails where it takes them."""
        done = self._template(values, [])
        assert done.returncode != 0, f"the chart took {values}"
        return done.stderr

    def render(self, values: Mapping[str, Any] | None = None, apis: Sequence[str] = ()) -> Rendered:
        """The manifests for these values, in a cluster that also knows `apis`."""
        done = self._template(values or {}, apis)
        assert done.returncode == 0, done.stderr
        return Rendered(done.stdout)

    def _template(self, values: Mapping[str, Any], apis: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._once(yaml.safe_dump(dict(values)), tuple(apis))

    @cache  # noqa: B019 - there is one Helm in a session, and many tests look at what it makes of the same values
    def _once(self, values: str, apis: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        given = [word for api in apis for word in ("--api-versions", api)]
        arguments = ["template", "llama", str(CHART), "--namespace", "llama-system", "--kube-version", KUBERNETES, "--values", "-", *given]
        return self.run(*arguments, stdin=values)
