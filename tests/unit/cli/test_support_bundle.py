"""`kubectl llama support-bundle`: everything that helps is in it, and no canary of any kind."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.harness.builders import NEW, NOW
from tests.harness.cluster import FakeKubectl, connect, node_manifest
from tests.harness.command import assert_refused, run
from tests.unit.cli.test_doctor import Impersonating, healthy_cluster

CANARY = "CaNaRyX9"
TOKEN, KEY, PROMPT, PASSWORD = f"hf_{CANARY}token", f"{CANARY}-key", f"tell me about {CANARY} prompts", f"{CANARY}-password"


def our_line(message: str, **more: Any) -> str:
    return json.dumps({"time": "2026-09-21T14:13:20Z", "level": "info", "logger": "llama_serving.agent", "message": message, **more})


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    """A cluster with a canary of each kind wherever somebody could have put it."""
    monkeypatch.setattr("llama_operator.cli.doctor_reading.time.time", lambda: NOW)
    fake = healthy_cluster()
    llama = fake.objects[0]
    llama["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"token": TOKEN}),
        "owner/note": f"login is admin, password: {PASSWORD}",
    }
    llama["metadata"]["managedFields"] = [{"f:spec": KEY}]
    llama["spec"]["engine"] = {"args": {"api_key": KEY, "chat_template": f"https://user:{PASSWORD}@host/x"}}
    llama["spec"]["podTemplate"] = {
        "spec": {
            "containers": [{"name": "llama", "env": [{"name": "ANYTHING", "value": KEY}], "args": ["--api-key", KEY, f"--token={TOKEN}"]}]
        }
    }
    llama["status"]["conditions"].append(
        {"type": "Degraded", "status": "True", "reason": "ReplicaFailed", "message": f"401 for Authorization: Bearer {TOKEN}"}
    )
    llama["status"]["failures"] = {"lastMessage": f"the engine said: prompt: '{PROMPT}' is too long"}
    pod = {
        "metadata": {"name": f"demo-{NEW}-g0-0", "namespace": "llm", "uid": "pod-uid", "labels": {"llama-operator.dev/deployment": "demo"}},
        "spec": {
            "containers": [{"name": "llama", "env": [{"name": "HF_TOKEN", "value": TOKEN}, {"name": "LLAMA_ROLE", "value": "replica"}]}]
        },
        "status": {
            "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": f"https://u:{PASSWORD}@registry refused"}}}]
        },
    }
    operator = {
        "metadata": {"name": "op-1", "namespace": "llama-system"},
        "spec": {"containers": [{"env": [{"name": "EXTRA", "value": KEY}]}]},
    }
    fake.raw |= {
        "/api/v1/namespaces/llm/pods": {"items": [pod]},
        "/api/v1/pods": {"items": [operator]},
        **{
            path: {"items": []}
            for path in ("/apis/policy/v1/namespaces/llm/poddisruptionbudgets", "/apis/networking.k8s.io/v1/namespaces/llm/networkpolicies")
        },
        "/api/v1/namespaces/llm/services": {"items": []},
        "/apis/apps/v1/namespaces/llm/controllerrevisions": {
            "items": [{"metadata": {"uid": "r"}, "data": {"env": [{"name": "X", "value": KEY}], "token": TOKEN}}]
        },
    }
    event = {
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "llm"},
        "involvedObject": {"uid": "pod-uid"},
        "message": f"pull of x?token={TOKEN} failed",
    }
    stranger = {
        "kind": "Event",
        "metadata": {"name": "s", "namespace": "llm"},
        "involvedObject": {"uid": "other"},
        "message": "another's event",
    }
    fake.put(event, stranger, node_manifest("c", labels={"owner/secret-plan": KEY, "nvidia.com/gpu.product": "NVIDIA-H200"}))
    fake.logs[pod["metadata"]["name"]] = "\n".join(
        [
            our_line("loading weights: 42 % of 812 GB"),
            our_line(f"prompt: {PROMPT}"),
            our_line("asked", messages=[{"role": "user", "content": PROMPT}], authorization=f"Bearer {TOKEN}"),
            f"INFO 09-21 14:13:20 [logger.py:40] Received request cmpl-1: '{PROMPT}'",
            PROMPT,
            f'{{"text": "{PROMPT}"}}',
        ]
    )
    fake.logs["op-1"] = our_line("pass failed", deployment="llm/demo", error=f"GET https://hub/x?token={TOKEN}: 401")
    return connect(monkeypatch, fake)


def unpack(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        assert {member.mode for member in tar} == {0o600}
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name.partition("/")[2]: (file or io.BytesIO()).read().decode() for name, file in files.items()}


def test_no_token_key_password_or_prompt_is_in_any_file(cluster: FakeKubectl, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    answer = run("support-bundle", "demo", "--file", str(path))
    assert (answer.status, answer.err) == (0, "")
    made = unpack(path)
    assert [name for name, text in made.items() if CANARY in text] == []
    assert CANARY.encode() not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_helps_is_in_it(cluster: FakeKubectl, tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    run("support-bundle", "--file", str(path))
    made = unpack(path)
    folder = "llm/demo"
    assert {
        "README.txt",
        "version.json",
        "doctor.json",
        "status.json",
        "nodes.json",
        "operator/deployments.json",
        "operator/logs/op-1.log",
        f"{folder}/deployment.json",
        f"{folder}/events.json",
        f"{folder}/controllerrevisions.json",
        f"{folder}/logs/demo-{NEW}-g0-0.log",
    } <= set(made)
    log = made[f"{folder}/logs/demo-{NEW}-g0-0.log"]
    assert "loading weights: 42 % of 812 GB" in log
    assert "(3 lines of other programs are left out)" in log
    assert "another's event" not in made[f"{folder}/events.json"]
    assert json.loads(made["doctor.json"])["findings"]
    assert "NVIDIA-H200" in made["nodes.json"]
    assert json.loads(made[f"{folder}/deployment.json"])["status"]["phase"] == "Ready"
    assert all(name in made["README.txt"] for name in made if name != "README.txt")
    assert "LLAMA_OPERATOR_PROMETHEUS_URL" in made["operator/deployments.json"]
    assert "http://prometheus.monitoring:9090" in made["operator/deployments.json"]


@pytest.mark.parametrize("place", ["kube-system/secrets?labelSelector=&x=", "../secrets", "", "a" * 64])
@pytest.mark.parametrize("command", ["support-bundle", "doctor"])
def test_what_can_be_no_namespace_of_the_operator_reaches_no_path(command: str, place: str, cluster: FakeKubectl, tmp_path: Path) -> None:
    more = ("--file", str(tmp_path / "b.tar.gz")) if command == "support-bundle" else ()
    assert_refused((command, "--operator-namespace", place, *more), ["--operator-namespace: ", "allowed is a namespace's name"])
    assert [asked for asked in cluster.asked if "--raw" in asked] == []


def test_the_operators_namespace_is_where_it_is_looked_for(cluster: FakeKubectl, tmp_path: Path) -> None:
    run("support-bundle", "--operator-namespace", "llama-system", "--file", str(tmp_path / "b.tar.gz"))
    asked = " ".join(word for command in cluster.asked for word in command)
    for path in ("/apis/apps/v1", "/api/v1", "/apis/coordination.k8s.io/v1"):
        assert f"{path}/namespaces/llama-system/" in asked


def test_of_a_list_the_kind_of_its_items_is_known(cluster: FakeKubectl, tmp_path: Path) -> None:
    """What a ControllerRevision holds helps, and what a Secret holds is none of it."""
    path = "/apis/apps/v1/namespaces/llm/controllerrevisions"
    cluster.raw[path] = {"kind": "ControllerRevisionList", "items": [{"metadata": {"uid": "r"}, "data": {"spec": {"replicas": 7}}}]}
    run("support-bundle", "--file", str(tmp_path / "b.tar.gz"))
    assert '"replicas": 7' in unpack(tmp_path / "b.tar.gz")["llm/demo/controllerrevisions.json"]


def test_no_secret_is_asked_for(cluster: FakeKubectl, tmp_path: Path) -> None:
    run("support-bundle", "-A", "--file", str(tmp_path / "b.tar.gz"))
    assert not [command for command in cluster.asked if any("/secrets" in word or "/configmaps" in word for word in command)]


def test_what_may_not_be_read_is_said_in_its_place(cluster: FakeKubectl, tmp_path: Path) -> None:
    cluster.forbidden = {"Node", "Event"}
    cluster.logs.clear()
    path = tmp_path / "b.tar.gz"
    assert run("support-bundle", "--file", str(path)).status == 0
    made = unpack(path)
    assert "is forbidden" in made["nodes.unread.txt"]
    assert "NotFound" in made[f"llm/demo/logs/demo-{NEW}-g0-0.log.unread.txt"]
    assert "not readable by whoever made it:" in made["README.txt"]


def test_a_file_that_is_there_is_not_written_over(cluster: FakeKubectl, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("x")
    assert_refused(
        ("support-bundle", "--file", str(path)), ["--file: ", "(File exists) is given; allowed is a file that is not there yet."]
    )
    assert path.read_text() == "x"
    assert_refused(("support-bundle", "--file", str(tmp_path / "no" / "such")), ["No such file or directory"])
    assert isinstance(cluster, Impersonating)
