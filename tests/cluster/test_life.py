"""One deployment of two simulated replicas, and what befalls it: the operator, the API server, the head, a worker and a user's edit.

The tests run in order on one deployment, as a bad night does; each leaves it with two ready replicas.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.command import run

from playground.client import Client
from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster
NAME = "life"
URL = f"http://{NAME}"
TOKENS_PER_SECOND = 20
CONTEXT, MORE_CONTEXT = 4096, 8192


@pytest.fixture(scope="module")
def alive(stage: Stage, namespace: Namespace) -> Iterator[str]:
    """Two ready replicas."""
    namespace.apply(stage.simulated(NAME, args={"tokensPerSecond": TOKENS_PER_SECOND}, replicas=2, context={"maxTokens": CONTEXT}))
    namespace.wait_ready(NAME, 2, 240)
    yield NAME
    namespace.delete_llama(NAME)
    namespace.wait_gone(NAME, 60)


def uids(namespace: Namespace, component: str = "replica") -> dict[str, str]:
    """Pods by name."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in namespace.pods(NAME, component)}


def test_a_chat_completion_comes_back_through_the_service(alive: str, client: Client) -> None:
    answer = client.chat(URL, NAME, "Who are you?")
    assert answer["status"] == 200
    assert answer["text"]


def test_the_commands_say_what_is_so_and_nothing_of_what_was_said(
    alive: str, stage: Stage, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in (stage.cluster.environment | {"PATH": f"{Path(stage.tools.program('kubectl')).parent}:/usr/bin:/bin"}).items():
        monkeypatch.setenv(variable, value)
    at = ("-n", namespace.name, "--kubeconfig", str(stage.cluster.kubeconfig), "--context", stage.cluster.context)
    canary = "canary-of-a-prompt"

    chatted = run("chat", NAME, "-p", f"Say {canary}", "--max-tokens", "8", "-o", "json", *at)
    assert chatted.status == 0, chatted.err
    answer = json.loads(chatted.out)
    assert (answer["outputTokens"], answer["complete"]) == (8, True)
    assert 0 < answer["firstTokenSeconds"] < answer["seconds"]

    (view,) = json.loads(run("status", NAME, "-o", "json", *at).out)["deployments"]
    assert (view["ready"], [gang["phase"] for gang in view["revisions"][0]["gangs"]]) == ("2/2", ["Ready", "Ready"])
    assert all(pod["node"] and pod["ready"] for gang in view["revisions"][0]["gangs"] for pod in gang["pods"])
    assert NAME in run("status", *at).out

    logged = run("logs", NAME, "--tail", "2000", *at)
    engines = run("logs", NAME, "--engine", "--tail", "2000", *at)
    assert (logged.status, engines.status) == (0, 0), logged.err + engines.err
    assert {line.split()[0] for line in logged.out.splitlines() if line[:1] in "gh"} >= {"head", "g0-0", "g1-0"}
    assert engines.out

    findings = json.loads(run("doctor", "-o", "json", *at).out)["findings"]
    bad = [item for item in findings if item["severity"] == "error" and namespace.name in item["message"]]
    assert bad == []
    assert {"crd", "operator", "rights", "prometheus"} <= {item["check"] for item in findings if item["severity"] == "ok"}, findings

    bundle = tmp_path / "bundle.tar.gz"
    made = run("support-bundle", NAME, "--file", str(bundle), *at)
    assert made.status == 0, made.err
    with tarfile.open(bundle) as tar:
        packed = {member.name: (tar.extractfile(member) or io.BytesIO()).read().decode() for member in tar}
    assert sum(name.endswith(".log") for name in packed) >= 4
    for text in (logged.out, engines.out, stage.operator.logs(2000), *packed.values()):
        assert canary not in text


def test_every_child_has_an_owner_and_is_least_privileged(alive: str, namespace: Namespace) -> None:
    owner = namespace.llama(NAME)["metadata"]["uid"]
    children = namespace.children(NAME)
    kinds = {key.split("/")[0] for key in children}
    expected = {"Pod", "Secret", "Service", "PersistentVolumeClaim", "ControllerRevision", "PodDisruptionBudget", "NetworkPolicy"}
    assert kinds == expected
    for key, child in children.items():
        assert [item["uid"] for item in child["metadata"]["ownerReferences"]] == [owner], key
    for pod in [*namespace.pods(NAME), *namespace.pods(NAME, "head")]:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
        assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_one_pod_of_two_replicas_may_be_evicted_and_one_by_an_earlier_operator_is_put_right(alive: str, namespace: Namespace) -> None:
    path = f"/apis/policy/v1/namespaces/{namespace.name}/poddisruptionbudgets/{NAME}"

    def counted() -> bool:
        found = namespace.api.get(path)
        status, spec = found.get("status") or {}, found["spec"]
        seen = tuple(status.get(field) for field in ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"))
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return current and (spec.get("minAvailable"), spec.get("maxUnavailable"), seen) == (1, None, (2, 1, 2, 1))

    namespace.wait("the budget counts both pods and spares one", counted, 30, NAME)
    made = namespace.api.get(path)
    earlier = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {name: made["metadata"][name] for name in ("name", "labels", "ownerReferences")},
        "spec": {"maxUnavailable": 1, "selector": made["spec"]["selector"]},
    }
    as_the_operator = f"{path}?fieldManager=llama-operator&force=true"
    namespace.api.request("PATCH", as_the_operator, earlier, content_type="application/apply-patch+yaml")
    namespace.wait("the operator has put it right", counted, 60, NAME)


def kill_operator(stage: Stage, namespace: Namespace) -> None:
    """Kill the process that leads, and wait until another does: the Lease of one that could not give it up runs for 15 s."""
    killed = stage.operator.identity()
    stage.kill_operator()
    namespace.wait("another operator leads", lambda: stage.operator.identity() not in ("", killed), 90)


def test_the_operator_killed_while_a_replica_comes_and_while_one_goes_restarts_no_pod_and_makes_no_duplicate(
    alive: str, stage: Stage, namespace: Namespace
) -> None:
    before, engines = {**uids(namespace), **uids(namespace, "head")}, namespace.engines(NAME)
    children = set(namespace.children(NAME))
    namespace.patch_llama(NAME, {"spec": {"replicas": 3}})
    namespace.wait("the third replica's pod is made", lambda: len(uids(namespace)) == 3, 30, NAME)
    assert namespace.status(NAME)["ready"] != "3/3"
    kill_operator(stage, namespace)
    namespace.wait_ready(NAME, 3, 120)
    after = {**uids(namespace), **uids(namespace, "head")}
    assert before.items() <= after.items()
    three = namespace.engines(NAME)
    assert engines.items() <= three.items()
    made = set(namespace.children(NAME))
    assert children <= made
    assert made - children == {f"Pod/{name}" for name in after.keys() - before.keys()}
    assert len(made) == len(children) + 1

    namespace.patch_llama(NAME, {"spec": {"replicas": 2}})
    kill_operator(stage, namespace)
    namespace.wait_ready(NAME, 2, 120)
    assert {**uids(namespace), **uids(namespace, "head")}.items() <= after.items()
    assert namespace.engines(NAME).items() <= three.items()
    left = set(namespace.children(NAME))
    assert left < made
    assert len(left) == len(children)


def test_a_child_deleted_while_the_operator_was_down_is_made_again(alive: str, stage: Stage, namespace: Namespace) -> None:
    stage.operator.scale(0)
    namespace.api.delete(f"/api/v1/namespaces/{namespace.name}/services/{NAME}")
    namespace.api.delete(f"/apis/policy/v1/namespaces/{namespace.name}/poddisruptionbudgets/{NAME}")
    victim = namespace.pods(NAME)[-1]["metadata"]["name"]
    namespace.kill_pod(victim)
    stage.operator.scale(1)
    namespace.wait("the Service is there again", lambda: f"Service/{NAME}" in namespace.children(NAME), 40, NAME)
    namespace.wait("the budget is there again", lambda: f"PodDisruptionBudget/{NAME}" in namespace.children(NAME), 40, NAME)
    namespace.wait_ready(NAME, 2, 120)


def test_the_api_server_restarted_changes_nothing_and_is_followed_afterwards(alive: str, local: Stage, namespace: Namespace) -> None:
    before = uids(namespace)
    local.cluster.restart_apiserver()
    # Not the Service: made anew it has another address, and clients go to the old one as long as DNS remembers it.
    namespace.api.delete(f"/apis/policy/v1/namespaces/{namespace.name}/poddisruptionbudgets/{NAME}")
    namespace.wait("the budget is there again", lambda: f"PodDisruptionBudget/{NAME}" in namespace.children(NAME), 60, NAME)
    namespace.wait_ready(NAME, 2, 120)
    assert uids(namespace) == before


def test_a_head_lost_for_twenty_seconds_under_streams_costs_no_request_and_no_engine_process(
    alive: str, stage: Stage, namespace: Namespace, client: Client
) -> None:
    before, engines = uids(namespace), namespace.engines(NAME)
    load = client.load(URL, NAME, streams=6, seconds=60, tokens=TOKENS_PER_SECOND * 15)
    begun = time.monotonic()
    namespace.wait("the streams are well under way", lambda: load.running and time.monotonic() - begun > 8, 30, NAME)
    head = namespace.pods(NAME, "head")[0]["metadata"]
    stage.operator.scale(0)  # nobody makes a new head meanwhile
    namespace.kill_pod(head["name"])
    lost = time.monotonic()
    namespace.wait("twenty seconds without a head", lambda: time.monotonic() - lost > 20, 30, NAME)
    assert not namespace.pods(NAME, "head")
    stage.operator.scale(1)
    namespace.wait("a new head", lambda: uids(namespace, "head").get(head["name"]) not in (None, head["uid"]), 60, NAME)
    result = load.result()
    assert result["requests"] >= 18
    assert result["errors"] == []
    assert (uids(namespace), namespace.engines(NAME)) == (before, engines)
    namespace.wait_reason(NAME, "Degraded", "Healthy", 120)
    namespace.patch_llama(NAME, {"spec": {"replicas": 3}})
    namespace.wait_ready(NAME, 3, 120)


def test_streams_finish_when_replicas_are_taken_away(alive: str, namespace: Namespace, client: Client) -> None:
    namespace.wait_ready(NAME, 3, 120)
    load = client.load(URL, NAME, streams=9, seconds=5, tokens=TOKENS_PER_SECOND * 30)
    begun = time.monotonic()
    namespace.wait("the streams are well under way", lambda: load.running and time.monotonic() - begun > 5, 30, NAME)
    namespace.patch_llama(NAME, {"spec": {"replicas": 1}})
    result = load.result()
    assert result["requests"] >= 9
    assert result["errors"] == []
    assert result["longest"] >= 25
    namespace.wait_ready(NAME, 1, 120)
    namespace.patch_llama(NAME, {"spec": {"replicas": 2}})
    namespace.wait_ready(NAME, 2, 120)


def test_a_lost_worker_breaks_its_own_streams_only_and_its_gang_is_replaced(
    alive: str, stage: Stage, namespace: Namespace, client: Client
) -> None:
    before, engines = uids(namespace), namespace.engines(NAME)
    # So long that none ends and none begins while the pod is lost, and a second row of them after it.
    load = client.load(URL, NAME, streams=12, seconds=35, tokens=TOKENS_PER_SECOND * 20)
    namespace.wait("every stream is open", lambda: namespace.in_flight(NAME) == 12, 60, NAME)
    pod = namespace.pods(NAME)[0]
    victim, own = pod["metadata"], stage.streams_through(namespace, pod)
    assert 0 < own <= 12
    namespace.kill_pod(victim["name"])
    namespace.wait("the gang is replaced", lambda: victim["uid"] not in uids(namespace).values() and len(uids(namespace)) == 2, 60, NAME)
    result = load.result()
    assert result["requests"] >= 24
    assert result["failed"] <= own, result
    namespace.wait_ready(NAME, 2, 120)
    survivors = {name: uid for name, uid in before.items() if uid != victim["uid"]}
    assert len(survivors) == 1
    assert survivors.items() <= uids(namespace).items()
    assert {name: engines[name] for name in survivors}.items() <= namespace.engines(NAME).items()


def refusal(client: Client, model: str, tokens: int) -> str:
    """What a user who asks for more tokens than the context holds is told."""
    result = client.load(URL, model, streams=1, seconds=30, tokens=tokens, requests=1).result()
    assert (result["requests"], result["failed"]) == (1, 1), result
    return str(result["errors"][0])


def test_an_edit_of_name_and_context_leads_to_one_new_revision_and_the_old_one_is_gone(
    alive: str, namespace: Namespace, client: Client
) -> None:
    old, before = namespace.status(NAME)["revision"], uids(namespace)
    assert f"maximum context length is {CONTEXT} tokens" in refusal(client, NAME, CONTEXT + 1)
    namespace.patch_llama(NAME, {"spec": {"model": {"servedName": "renamed"}, "context": {"maxTokens": MORE_CONTEXT}}})
    namespace.wait("a new revision", lambda: namespace.status(NAME).get("revision") not in (None, old), 30, NAME)
    new = namespace.status(NAME)["revision"]
    namespace.wait_reason(NAME, "Progressing", "Complete", 300)
    status = namespace.status(NAME)
    assert (status["ready"], status["revision"]) == ("2/2", new)
    children = namespace.children(NAME)
    assert not [key for key in children if old in key]
    assert [key for key in children if key.startswith("ControllerRevision/")] == [f"ControllerRevision/{NAME}-{new}"]
    assert not set(before.values()) & set(uids(namespace).values())
    assert client.chat(URL, "renamed", "Who are you?")["status"] == 200
    assert client.chat(URL, NAME, "Who are you?")["status"] == 404
    assert f"maximum context length is {MORE_CONTEXT} tokens" in refusal(client, "renamed", MORE_CONTEXT + 1)


def test_deleting_it_under_open_streams_leaves_nothing_behind_within_a_minute(alive: str, namespace: Namespace, client: Client) -> None:
    # Longer than the minute: they break, since the pods of a deleted one get 15 s.
    load = client.load(URL, "renamed", streams=4, seconds=1, tokens=TOKENS_PER_SECOND * 90)
    namespace.wait("every stream is open", lambda: namespace.in_flight(NAME) == 4, 60, NAME)
    namespace.delete_llama(NAME)
    namespace.wait_gone(NAME, 60)
    assert load.result(120)["requests"] == 4


def test_deleting_it_while_it_loads_leaves_nothing_behind(stage: Stage, namespace: Namespace) -> None:
    namespace.apply(stage.simulated("loading", args={"loadSeconds": 600}))
    namespace.wait_reason("loading", "Progressing", "Loading", 120)
    namespace.delete_llama("loading")
    namespace.wait_gone("loading", 60)
