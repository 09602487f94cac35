"""What is read from a Pod, an agent's answer, nodes: defensively, and without ever taking nothing for zero."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from tests.harness.builders import NEW, NOW, pinned

from llama_operator.lifecycle.free_gpus import free_gpus
from llama_operator.lifecycle.observed import Agent, NodeGpus, Pod, RootCause, rfc3339, timestamp
from llama_operator.planning.hardware.requests import gpu_holders, requested
from llama_operator.rendering import names
from llama_serving.rootcause import MESSAGE_LIMIT
from llama_serving.status import Reason


def manifest(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    made = pinned(size=2, gpus=8).gang_pods(3)[1]
    made["metadata"].update(uid="u1", creationTimestamp="2026-09-21T14:13:20Z", **metadata)
    made["status"] = status or {}
    return made


def test_a_pod_is_read_back_from_what_was_rendered() -> None:
    pod = Pod.of(
        manifest(
            {
                "phase": "Running",
                "podIP": "10.0.0.9",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-09-21T14:13:25Z"}],
            }
        )
    )
    assert (pod.name, pod.revision, pod.component, pod.gang, pod.rank) == (f"demo-{NEW}-g3-1", NEW, names.REPLICA, 3, 1)
    assert (pod.ready, pod.ready_since, pod.created, pod.running, pod.traffic) == (True, NOW + 5, NOW, True, False)


STOPPED = {"terminated": {"exitCode": 1, "reason": "Error"}}
ENDED: dict[str, tuple[dict[str, Any], str | None]] = {
    "a pod that runs has not ended": ({"phase": "Running", "containerStatuses": [{"name": "llama", "state": STOPPED}]}, None),
    "an eviction is said": ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted: low on memory"),
    "a reason without words": ({"phase": "Failed", "reason": "NodeLost"}, "NodeLost"),
    "the container that failed is named": (
        {"phase": "Failed", "initContainerStatuses": [{"name": "code", "state": STOPPED}]},
        "container code ended: Error, exit code 1",
    ),
    "a serving container that ends well has ended too": (
        {"phase": "Succeeded", "containerStatuses": [{"name": "llama", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]},
        "container llama ended: Completed, exit code 0",
    ),
    "nothing is known but the phase": ({"phase": "Failed"}, "pod Failed"),
}


@pytest.mark.parametrize("sentence", ENDED)
def test_why_a_pod_ended(sentence: str) -> None:
    status, ended = ENDED[sentence]
    pod = Pod.of(manifest(status))
    assert pod.ended == ended
    assert pod.running is (ended is None)


WAITING = [
    ({"reason": "ContainerCreating"}, None),
    ({"reason": "PodInitializing"}, None),
    ({"reason": "ImagePullBackOff", "message": "no such image"}, "ImagePullBackOff: no such image"),
    ({"reason": "CreateContainerConfigError"}, "CreateContainerConfigError"),
    ({}, None),
]


@pytest.mark.parametrize(("waiting", "said"), WAITING)
def test_what_a_container_waits_for_is_told_where_somebody_must_help(waiting: dict[str, str], said: str | None) -> None:
    assert Pod.of(manifest({"phase": "Pending", "containerStatuses": [{"name": "llama", "state": {"waiting": waiting}}]})).waiting == said


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"status": "False", "message": "0/2 nodes"}, "0/2 nodes"),
        ({"status": "False"}, "no node fits"),
        ({"status": "True", "message": "x"}, None),
    ],
)
def test_the_schedulers_words(condition: dict[str, str], said: str | None) -> None:
    assert Pod.of(manifest({"conditions": [{"type": "PodScheduled", **condition}]})).unschedulable == said


@pytest.mark.parametrize("value", ["x", "", "1.5"])
def test_a_label_that_somebody_spoilt_does_not_stop_the_operator(value: str) -> None:
    spoilt = manifest()
    spoilt["metadata"]["labels"].update({names.LABEL_GANG: value, names.LABEL_RANK: value})
    pod = Pod.of(spoilt)
    assert (pod.gang, pod.rank) == (-1, 0)


def test_times_of_the_api_server_are_read_and_written_in_seconds() -> None:
    assert (rfc3339(NOW), timestamp("2026-09-21T14:13:20Z"), timestamp(None), timestamp("")) == ("2026-09-21T14:13:20Z", NOW, None, None)


@pytest.mark.parametrize("said", ["x", "", "12", "2026-09-21", "2026-09-21T14:13:20", "2026-13-01T00:00:00Z", "９"])
def test_a_time_that_somebody_spoilt_is_none(said: str) -> None:
    spoilt = manifest(annotations={names.ANNOTATION_DRAIN_SINCE: said})
    assert Pod.of(spoilt).drain_since is None
    assert timestamp(3) is None


def test_an_agents_answer_is_read() -> None:
    body = {
        "phase": "LoadingWeights",
        "since": NOW,
        "progress": {"percent": 42.5, "done": 1, "total": 2, "unit": "bytes"},
        "message": "loading",
        "rootCause": None,
        "ray": {"joined": True, "nodeId": "ab"},
        "engine": {"pid": 1, "kvCacheTokens": 46592, "inFlight": 3},
    }
    assert Agent.of(body) == Agent(
        phase="LoadingWeights", since=NOW, percent=42.5, message="loading", joined=True, in_flight=3, kv_cache_tokens=46592
    )


def test_an_agent_that_says_little_leaves_the_rest_unknown() -> None:
    said = Agent.of({"phase": "Starting", "rootCause": {"reason": "RayFailed", "message": "x"}, "engine": None, "ray": None})
    assert said == Agent(phase="Starting", root_cause=RootCause(reason="RayFailed", message="x", retryable=True))


def test_what_an_agent_says_in_words_is_cut_and_a_reason_that_is_none_of_ours_is_other() -> None:
    said = Agent.of(
        {"phase": "Failed", "message": "a\x1b[2J" + "b" * 5000, "rootCause": {"reason": "R1\n" * 900, "message": "\x07c" * 5000}}
    )
    assert said.message.startswith("a[2Jbb")
    assert said.root_cause is not None
    assert said.root_cause.reason == "Other"
    assert said.root_cause.message == "c" * 599 + "…"
    assert len(said.message) == 600


def test_every_reason_of_the_serving_side_is_kept() -> None:
    for reason in get_args(Reason):
        said = Agent.of({"phase": "Failed", "rootCause": {"reason": reason, "message": "x" * MESSAGE_LIMIT}})
        assert said.root_cause == RootCause(reason=reason, message="x" * MESSAGE_LIMIT)


NO_ANSWERS: list[Any] = [
    {},
    [],
    None,
    "Ready",
    {"phase": "Ready", "progress": {"done": 1}},
    {"phase": "Ready", "progress": {"percent": float("nan")}},
    {"phase": "Ready", "progress": 3},
    {"phase": "Ready", "rootCause": {"reason": "x"}},
    {"phase": "Ready", "rootCause": "x"},
    {"phase": "Ready", "since": "soon"},
    {"phase": "Ready", "engine": "busy"},
    {"phase": "Ready", "engine": {"inFlight": "3"}},
    {"phase": "Ready", "engine": {"inFlight": True}},
    {"phase": "Ready", "ray": [1]},
]


@pytest.mark.parametrize("body", NO_ANSWERS, ids=str)
def test_what_is_no_answer_of_an_agent_is_refused(body: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Agent.of(body)


def node(name: str, gpus: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"allocatable": {"nvidia.com/gpu": gpus} if gpus else {}}, "spec": spec}


def user(node_name: str, *gpus: int, init: int = 0, phase: str = "Running") -> dict[str, Any]:
    def container(count: int) -> dict[str, Any]:
        return {"resources": {"requests": {"nvidia.com/gpu": str(count)} if count else {}}}

    spec = {"nodeName": node_name, "containers": [container(count) for count in gpus], "initContainers": [container(init)]}
    return {"spec": spec, "status": {"phase": phase}}


def test_free_gpus_are_what_nodes_offer_less_what_pods_asked_for() -> None:
    nodes = [node("a", "8"), node("b", "8"), node("c", None), node("d", "4", unschedulable=True)]
    pods = [user("a", 4, 1), user("a", 2, phase="Succeeded"), user("b", 8), user("b", 8, phase="Failed"), user("", 8)]
    assert free_gpus(nodes, gpu_holders(pods, "nvidia.com/gpu"), "nvidia.com/gpu") == [
        NodeGpus(node="a", total=8, free=3),
        NodeGpus(node="b", total=8, free=0),
        NodeGpus(node="d", total=4, free=0, cordoned=True),
    ]


def test_more_asked_for_than_offered_is_none_free() -> None:
    holders = gpu_holders([user("a", 3)], "nvidia.com/gpu")
    assert free_gpus([node("a", "2")], holders, "nvidia.com/gpu") == [NodeGpus(node="a", total=2, free=0)]


@pytest.mark.parametrize(("gpus", "init", "want"), [((4, 4), 0, 8), ((2,), 6, 6), ((), 0, 0)])
def test_the_scheduler_counts_the_sum_of_containers_or_the_largest_init_container(gpus: tuple[int, ...], init: int, want: int) -> None:
    assert requested(user("a", *gpus, init=init), "nvidia.com/gpu") == want
