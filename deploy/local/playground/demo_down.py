"""`make demo-down`: stop the local cluster; from a cluster of the user's own take what the demo put there, and nothing else."""

from __future__ import annotations

import sys

from rich.console import Console

from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError
from playground.demo import NAME, NAMESPACE
from playground.kube import LLAMAS, Namespace
from playground.stage import Stage


def clear(stage: Stage) -> list[str]:
    """Take the demo's deployment and namespace, and the operator unless it has other work. Returns what was done and what was left, and
    why. Raises LocalClusterError.
    """
    space = Namespace(stage.api, NAMESPACE)
    if not space.made_here():
        return [f"there is no namespace {NAMESPACE} that the demo made: nothing was touched"]
    if space.get(space.llama_path(NAME)):
        space.delete_llama(NAME)
        space.wait_gone(NAME, 90)
    space.remove()
    said = [f"the LlamaDeployment {NAME} and the namespace {NAMESPACE} are gone"]
    others = stage.api.get(f"{LLAMAS}/llamadeployments")["items"]
    if others:
        return [*said, f"the operator stays: it looks after {len(others)} other LlamaDeployments"]
    stage.operator.uninstall()
    return [*said, "the operator is uninstalled; Helm leaves the CRD llamadeployments.llama-operator.dev and the namespace llama-system"]


def main() -> int:
    """Exit status 0 when all of it is gone."""
    console = Console(highlight=False)
    try:
        cluster = Cluster()
        if cluster.foreign:
            for line in clear(Stage()):
                console.print(line)
        else:
            cluster.down()
    except LocalClusterError as error:
        console.print(f"[bold red]not all of the demo is gone:[/bold red] {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
