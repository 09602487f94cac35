"""Which cluster a command asks, and what it says when that does not answer."""

from __future__ import annotations

import argparse

import pytest
from tests.harness.kubectl import Scripted, refused

from llama_operator.adapters.kubectl import Finished, Kubectl, KubectlError
from llama_operator.cli.cluster import Cluster, problem_of
from llama_operator.cli.refusals import BadInput

ALL = "/apis/llama-operator.dev/v1alpha1/llamadeployments?limit=500"
HERE = "/apis/llama-operator.dev/v1alpha1/namespaces/llm/llamadeployments"
ABSENT = refused('Error from server (NotFound): llamadeployments.llama-operator.dev "c" not found')
NO_CRD = refused("Error from server (NotFound): the server could not find the requested resource")
FORBIDDEN = refused('Error from server (Forbidden): llamadeployments.llama-operator.dev is forbidden: User "bob" cannot list resource')


def of(answers: dict[str, object]) -> Cluster:
    return Cluster(Kubectl(run=Scripted(answers)), "llm")


def items(*keys: str) -> dict[str, object]:
    return {"items": [{"metadata": dict(zip(("namespace", "name"), key.split("/"), strict=True))} for key in keys]}


def test_a_deployment_that_is_there_is_read_in_one_question() -> None:
    run = Scripted({f"{HERE}/c": {"metadata": {"name": "c"}}})
    assert Cluster(Kubectl(run=run), "llm").deployment("c") == {"metadata": {"name": "c"}}
    assert len(run.asked) == 1


@pytest.mark.parametrize(
    ("here", "everywhere", "says"),
    [
        (
            items("llm/a", "llm/b"),
            items("llm/a", "llm/b"),
            'NAME: "c" in namespace llm is given; allowed is one of a, b. Choose one of these',
        ),
        (items("llm/a"), items("llm/a", "prod/c"), "It lies in namespace prod: add -n prod."),
        (items(), items("prod/x", "test/y"), "that namespace has no LlamaDeployment. Choose one of prod/x, test/y, with -n."),
        (items(), items(), "that namespace has no LlamaDeployment. Choose another namespace with -n."),
        (items("llm/a"), FORBIDDEN, "allowed is one of a."),
        (NO_CRD, NO_CRD, "cluster: one that knows no LlamaDeployments is given; allowed is one with the operator's CRD."),
        (FORBIDDEN, FORBIDDEN, "allowed is what you may read. Ask for the right that the message names"),
    ],
)
def test_one_that_is_not_there_is_answered_with_those_that_are(here: object, everywhere: object, says: str) -> None:
    with pytest.raises(BadInput, match="is given; allowed is") as raised:
        of({f"{HERE}/c": ABSENT, f"{HERE}?limit=500": here, ALL: everywhere}).deployment("c")
    assert says in raised.value.lines[0]


def test_a_long_list_is_cut_and_counted() -> None:
    many = items(*(f"llm/n{number:03}" for number in range(50)))
    with pytest.raises(BadInput, match=r"n019 and 30 more\."):
        of({f"{HERE}/c": ABSENT, f"{HERE}?limit=500": many, ALL: many}).deployment("c")


@pytest.mark.parametrize("name", ["", "A", "a/b", "a?x=1", "..", "a" * 300])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(BadInput, match="NAME: "):
        of({}).deployment(name)


def test_the_flags_are_kubectls() -> None:
    given = argparse.Namespace(namespace="prod", context="c", kubeconfig="/k")
    cluster = Cluster.of(given)
    assert cluster.namespace == "prod"
    assert cluster.kubectl.command()[1:] == ["--kubeconfig=/k", "--context=c"]
    with pytest.raises(BadInput, match="--namespace"):
        Cluster.of(argparse.Namespace(namespace="no/such", context=None, kubeconfig=None))


def test_a_context_that_is_not_there_is_a_line_with_a_remedy() -> None:
    asked = {"--output=jsonpath={..namespace}": refused('error: context "x" does not exist')}
    with pytest.raises(
        BadInput, match=r'--context: no answer \(context "x" does not exist\) is given; allowed is a context of your kubeconfig'
    ):
        _ = Cluster(Kubectl(run=Scripted(asked))).namespace


def test_every_failure_has_its_words() -> None:
    for why in ("NoKubectl", "NoSuchConfig", "NoAnswer", "Unauthorized", "Forbidden", "NotFound", "Refused"):
        assert "because is" not in problem_of(KubectlError(why, "error: because.")).message  # type: ignore[arg-type]
        assert problem_of(KubectlError(why, "error: because.")).given == "no answer (because)"  # type: ignore[arg-type]
    assert Finished(status=0, out="", err="").status == 0
