"""kubectl as the command uses it: read-only, in the words that kubectl 1.34 says, and every failure told apart."""

from __future__ import annotations

import sys

import pytest
from tests.harness.kubectl import Scripted, refused

from llama_operator.adapters import kubectl
from llama_operator.adapters.kubectl import Finished, Kubectl, KubectlError, Why, explain, together

PODS = "/api/v1/namespaces/llm/pods"


def test_everything_is_a_get_with_the_users_own_flags() -> None:
    run = Scripted({f"{PODS}/a": {"kind": "Pod"}})
    assert Kubectl(kubeconfig="/k", context="c", run=run).get("Pod", "llm", "a") == {"kind": "Pod"}
    assert run.asked == [["kubectl", "--kubeconfig=/k", "--context=c", "--request-timeout=15s", "get", "--raw", f"{PODS}/a"]]
    assert Kubectl(context="c").command("logs", "a") == ["kubectl", "--context=c", "logs", "a"]


def test_what_is_not_there_is_none() -> None:
    assert Kubectl(run=Scripted({f"{PODS}/a": refused('Error from server (NotFound): pods "a" not found')})).get("Pod", "llm", "a") is None


def test_a_list_is_read_page_by_page_and_its_items_say_what_they_are() -> None:
    first = f"{PODS}?limit=500&labelSelector=a%3Db"
    run = Scripted(
        {
            first: {"items": [{"metadata": {"name": "x"}}], "metadata": {"continue": "t/1"}},
            f"{first}&continue=t%2F1": {"items": [{"metadata": {"name": "y"}}], "metadata": {}},
        }
    )
    found = Kubectl(run=run).list("Pod", "llm", labels="a=b")
    assert [(item["kind"], item["apiVersion"], item["metadata"]["name"]) for item in found] == [("Pod", "v1", "x"), ("Pod", "v1", "y")]


@pytest.mark.parametrize(
    ("done", "namespace"),
    [
        (Finished(status=0, out="llm", err=""), "llm"),
        (Finished(status=0, out="", err=""), "default"),
        (refused("error: current-context must exist in order to minify"), "default"),
    ],
)
def test_the_namespace_is_the_contexts(done: Finished, namespace: str) -> None:
    assert Kubectl(run=Scripted({"--output=jsonpath={..namespace}": done})).namespace() == namespace


@pytest.mark.parametrize(
    ("said", "why"),
    [
        # As kubectl 1.34.4 says it.
        ("The connection to the server localhost:8080 was refused - did you specify the right host or port?", "NoAnswer"),
        ("Unable to connect to the server: dial tcp: lookup no.such.host: no such host", "NoAnswer"),
        ('error: context "nope" does not exist', "NoSuchConfig"),
        ("error: stat /nope: no such file or directory", "NoSuchConfig"),
        ("Please enter Username: error: EOF", "Unauthorized"),
        ("error: You must be logged in to the server (Unauthorized)", "Unauthorized"),
        (
            'Error from server (Forbidden): llamadeployments.llama-operator.dev "a" is forbidden: User "bob" cannot get it',
            "Forbidden",
        ),
        ("Error from server (NotFound): the server could not find the requested resource", "NotFound"),
        ("Error from server (InternalError): an error on the server", "Refused"),
        ("", "Refused"),
    ],
)
def test_each_failure_is_told_apart(said: str, why: Why) -> None:
    assert explain(refused(f"W0101 a warning of the client\n{said}\n" if said else said)).why == why


def test_an_answer_that_is_no_json_is_a_failure() -> None:
    with pytest.raises(KubectlError, match="no JSON object"):
        Kubectl(run=Scripted({f"{PODS}/a": "<html>"})).get("Pod", "llm", "a")


def test_a_machine_without_kubectl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(KubectlError) as raised:
        Kubectl().raw("/version")
    assert raised.value.why == "NoKubectl"


def test_a_program_gets_no_input_and_is_ended_when_it_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kubectl.start([sys.executable, "-c", "import sys; print(len(sys.stdin.read()))"]).out == "0\n"
    monkeypatch.setattr(kubectl, "ENDS_SECONDS", 0.05)
    with pytest.raises(KubectlError, match="did not end"):
        kubectl.start([sys.executable, "-c", "import threading; threading.Event().wait()"])


def test_a_program_that_writes_without_end_is_ended_and_its_last_words_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    said = kubectl.start([sys.executable, "-c", "import sys; sys.exit('x' * 100_000 + '\\nlast')"])
    assert (said.status, said.err[-6:], len(said.err)) == (1, "\nlast\n", kubectl.MAX_ERROR_BYTES)
    monkeypatch.setattr(kubectl, "MAX_BYTES", 1000)
    with pytest.raises(KubectlError, match="larger than 1000 bytes"):
        kubectl.start([sys.executable, "-c", "while True: print('y' * 1000)"])


def test_questions_are_asked_at_once_and_answered_in_order() -> None:
    assert list(together(lambda: 1, lambda: 2)) == [1, 2]
    with pytest.raises(KubectlError):
        list(together(lambda: 1, lambda: Kubectl(run=lambda _: refused("no")).raw("/")))
