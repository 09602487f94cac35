"""The Job of `kubectl llama bench` in the cluster: made, followed, and deleted however it ends.

    create ─▶ wait for its pod ─▶ follow its log to the driver's last line ─▶ delete

Should this process be killed, the cluster ends the Job at its deadline and removes it TTL_SECONDS later, and with the LlamaDeployment.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from llama_operator.adapters.kubectl import KubectlError, explain
from llama_operator.api.problems import Problem
from llama_operator.cli.bench_job import CONTAINER
from llama_operator.cli.bench_log import Said, read_log
from llama_operator.cli.cluster import PASSES, Cluster, problem_of
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.rendering import names

LABEL_JOB = "batch.kubernetes.io/job-name"
"""Of a Job's pods (https://kubernetes.io/docs/reference/labels-annotations-taints/#batch-kubernetes-io-job-name)."""
LOOK_SECONDS = 1.0
NO_POD_SECONDS = 20.0
"""Without a pod the Job was refused one: by a quota, a policy, an admission webhook."""
START_SECONDS = 900.0
"""For the scheduler and for the image, of which a node without it pulls 10 to 20 GB."""
LOOKS, OUTAGE_SECONDS = 10, 5.0
"""How often a cluster that does not answer is asked again, and how long after."""
LATE_SECONDS = 60.0
"""After the Job's deadline, by which the cluster has ended it."""
HOPELESS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"})
MOST_LINE = 1024 * 1024

Tell = Callable[[str], None]


@contextlib.contextmanager
def created(cluster: Cluster, manifest: Mapping[str, Any]) -> Iterator[str]:
    """The name of the Job, which is gone from the cluster when the block ends. Raises BadInput."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(manifest, file)
            file.flush()
            with _rights("to create jobs (batch) in this namespace"):
                done = cluster.kubectl.finish("create", "--namespace", namespace, "--filename", file.name, "--output", "name")
                if done.status:
                    raise explain(done)
        yield name
    finally:
        # Also where kubectl was interrupted: whether the Job came to be is not known then.
        with contextlib.suppress(KubectlError):
            cluster.kubectl.finish("delete", "--namespace", namespace, f"job/{name}", "--ignore-not-found", "--wait=false")


def follow(cluster: Cluster, job: str, longest: float, tell: Tell) -> Said:
    """What the driver said, once it has said its last. `longest` is the Job's deadline, in seconds; `tell` gets a line whenever there is
    something new. Raises BadInput.
    """
    with _rights("to list pods and to read their logs in this namespace"):
        pod = _started(cluster, job, tell)
        while True:
            said = _followed(cluster, pod, longest + LATE_SECONDS, tell)
            if said.over:
                return said
            ended = _ended(_pod(cluster, job))
            if ended is None:
                pause(LOOK_SECONDS)  # the connection was lost, and the pod goes on
                continue
            # Its last lines may not have been on their way yet.
            said = read_log(_log(cluster, pod))
            if said.over:
                return said
            raise _failed(f"the pod of job {job} ended ({ended}) before the test did", "Ask for less, or for longer with --longest.")


def pause(seconds: float) -> None:
    """Nothing, for so long."""
    threading.Event().wait(seconds)


def _started(cluster: Cluster, job: str, tell: Tell) -> str:
    """The pod's name, once it runs or has ended."""
    begun, told = time.monotonic(), ""
    while True:
        pod, lasted = _pod(cluster, job), time.monotonic() - begun
        if pod is None:
            if lasted > NO_POD_SECONDS:
                raise _failed(f"no pod for job {job}{_refusals(cluster, job)}", "See the namespace's quotas and policies.")
            waits = "a pod"
        else:
            if (pod.get("status") or {}).get("phase") != "Pending":
                return str(pod["metadata"]["name"])
            reason, waits = _waits(pod)
            if reason in HOPELESS:
                raise _failed(f"a pod that cannot start ({waits})", "It has the image of the serving pods: see what their node has more.")
            if lasted > START_SECONDS:
                raise _failed(f"a pod that did not start within {START_SECONDS:.0f} s ({waits})", "Make room for it.")
        if waits != told:
            tell(f"waiting for {waits}")
            told = waits
        pause(LOOK_SECONDS)


def _pod(cluster: Cluster, job: str) -> dict[str, Any] | None:
    for attempt in range(LOOKS):
        try:
            found = cluster.kubectl.list("Pod", cluster.namespace, labels=f"{LABEL_JOB}={job}")
            return found[0] if found else None
        except KubectlError as error:
            # A test of half an hour must not end with a restart of the API server.
            if error.why not in PASSES or attempt == LOOKS - 1:
                raise
            pause(OUTAGE_SECONDS)
    return None


def _waits(pod: Mapping[str, Any]) -> tuple[str, str]:
    """Why it does not run: a word, and in words."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"]), f"{waiting['reason']}: {waiting.get('message', 'no message')}"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            return "Unscheduled", str(condition.get("message") or "a node for the pod")
    return "Pending", "the pod to start"


def _ended(pod: Mapping[str, Any] | None) -> str | None:
    """How it ended; None while it runs."""
    if pod is None:
        return "it was deleted"
    status = pod.get("status") or {}
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    for container in status.get("containerStatuses") or []:
        done = (container.get("state") or {}).get("terminated") or {}
        if done.get("reason"):
            return f"{done['reason']}, status {done.get('exitCode')}"
    return str(status.get("reason") or status.get("phase"))


def _refusals(cluster: Cluster, job: str) -> str:
    """What the cluster said of the Job; empty where it cannot be read."""
    try:
        events = cluster.kubectl.list("Event", cluster.namespace, fields=f"involvedObject.name={job}")
    except KubectlError:
        return ""
    said = [str(event.get("message")) for event in events if event.get("type") == "Warning"]
    return f": {said[-1]}" if said else ""


def _followed(cluster: Cluster, pod: str, longest: float, tell: Tell) -> Said:
    """What the driver says until it has said its last, or until the connection ends, or so many seconds have passed."""
    said = Said()
    words = ["logs", "--namespace", cluster.namespace, "--container", CONTAINER, "--follow", f"pod/{pod}"]
    # A session of its own: Ctrl-C ends the test, and then the log is not needed any more.
    with subprocess.Popen(
        cluster.kubectl.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        # A connection that is lost without a word would be waited for without end.
        timer = threading.Timer(longest, process.terminate)
        timer.daemon = True
        timer.start()
        try:
            for line in _lines(process.stdout):
                said.read(line)
                if said.over:
                    break
                if said.done is not None:
                    tell("load {}: {:,} of {:,} requests".format(said.done[0] + 1, *said.done[1:]))
                elif said.begun:
                    tell("the load tool starts")
        finally:
            timer.cancel()
            process.terminate()
    return said


def _lines(stream: IO[bytes] | None) -> Iterator[str]:
    while stream is not None and (line := stream.readline(MOST_LINE)):
        yield line.decode("utf-8", "replace").rstrip("\n")


def _log(cluster: Cluster, pod: str) -> list[str]:
    done = cluster.kubectl.finish("logs", "--namespace", cluster.namespace, "--container", CONTAINER, f"pod/{pod}")
    return done.out.splitlines()


@contextlib.contextmanager
def _rights(which: str) -> Iterator[None]:
    """A refusal of the cluster in words: unlike other commands this one needs to do more than read."""
    try:
        yield
    except KubectlError as error:
        problem = problem_of(error)
        if error.why == "Forbidden":
            remedy = f"Ask for the right {which}; {names.PLURAL} and their pods must be readable, too."
            problem = Problem(field=problem.field, given=problem.given, allowed="what you may do", remedy=remedy)
        raise BadInput.of(problem) from None


def _failed(given: str, remedy: str) -> BadInput:
    return BadInput.of(Problem(field="bench", given=given, allowed="a test that runs to its end", remedy=remedy))


def failure(said: Said) -> BadInput:
    """What the driver said when it could not go on."""
    first, *rest = (said.failed or "").splitlines() or ["no reason"]
    given = f"a test that failed ({quoted(first)[1:-1]})" if len(first) <= 80 else f"a test that failed ({first[:600]})"
    problem = Problem(field="bench", given=given, allowed="one that ends", remedy="Correct what it says, or see kubectl llama logs.")
    return BadInput([problem.message, *(f"  {line}" for line in rest[-12:])])
