"""A port of this machine that leads to a pod, for as long as it is needed: kubectl port-forward.

The API server's proxy would be one connection less, but it takes the Authorization header away, and is often forbidden where a
port-forward is not. Both go through the API server: what is measured here is the way of this command, not that of users in the cluster.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from llama_operator.adapters.kubectl import Finished, explain, together
from llama_operator.api.problems import Problem
from llama_operator.cli.cluster import Cluster, problem_of
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.lifecycle.observed import Pod
from llama_operator.rendering import names
from llama_serving.config import HTTP_PORT

READY_SECONDS = 15.0
"""Within which kubectl must say on which port it listens."""
LISTENS = re.compile(r"Forwarding from 127\.0\.0\.1:([0-9]+) ->")


def entrance(cluster: Cluster, name: str) -> tuple[dict[str, Any], str]:
    """The LlamaDeployment, and a pod of it that takes users' requests: a replica's, or the head's, which holds them while there is none.
    Raises BadInput.
    """
    with cluster.told():
        deployment, pods = together(
            lambda: cluster.deployment(name),
            lambda: cluster.kubectl.list("Pod", cluster.namespace, labels=f"{names.LABEL_DEPLOYMENT}={name}"),
        )
    return deployment, choose_pod(pods, name, (deployment.get("status") or {}).get("phase"))


def choose_pod(pods: Sequence[Mapping[str, Any]], name: str, phase: str | None) -> str:
    """A ready pod that the Service would choose, a replica's first. Raises BadInput."""
    open_to_users = [pod for pod in map(Pod.of, pods) if pod.traffic and pod.ready and pod.running and not pod.deleting]
    if not open_to_users:
        given = f"{quoted(name)}, which is {phase or 'without status'} and has no pod that takes requests"
        raise BadInput.of(Problem(field="NAME", given=given, allowed="one that serves", remedy=f"Ask kubectl llama why {name}."))
    return min(open_to_users, key=lambda pod: (pod.component == names.HEAD, pod.name)).name


@contextmanager
def forwarded(cluster: Cluster, pod: str, port: int = HTTP_PORT) -> Iterator[str]:
    """`http://127.0.0.1:PORT` of this machine, which is the pod's. Raises BadInput."""
    words = ["port-forward", "--namespace", cluster.namespace, "--address=127.0.0.1", f"pod/{pod}", f":{port}"]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as complaints,
        # A session of its own: Ctrl-C ends an answer, and must not end the way to the next one.
        subprocess.Popen(
            cluster.kubectl.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield f"http://127.0.0.1:{_listening(process, complaints)}"
        finally:
            process.terminate()


def _listening(process: subprocess.Popen[str], complaints: IO[str]) -> int:
    found: list[int] = []
    told = threading.Event()

    def read() -> None:
        # To its end: kubectl writes a line for each connection, and would stop when nobody reads.
        for line in process.stdout or ():
            match = LISTENS.search(line)
            if match and not found:
                found.append(int(match[1]))
                told.set()
        told.set()

    threading.Thread(target=read, daemon=True).start()
    begun = time.monotonic()
    told.wait(READY_SECONDS)
    if found:
        return found[0]
    process.terminate()
    process.wait()
    complaints.seek(0)
    said = complaints.read() or f"kubectl port-forward said nothing for {time.monotonic() - begun:.0f} s"
    raise BadInput.of(problem_of(explain(Finished(status=1, out="", err=said))))
