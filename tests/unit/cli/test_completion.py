"""Commands, options and names are completed, and nothing is said where nothing is known."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.harness.cluster import FakeKubectl, connect, loading_cluster
from tests.harness.command import assert_refused, run


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    return connect(monkeypatch, loading_cluster())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("st",), ["status"]),
        (("s",), ["simulate", "status", "support-bundle"]),
        (("status", "--all"), ["--all-namespaces"]),
        (("status", ""), ["demo"]),
        (("status", "x"), []),
        (("why", "d"), ["demo"]),
        (("plan", ""), []),
        (("nonsense", ""), []),
    ],
)
def test_the_last_word_is_completed(words: tuple[str, ...], found: list[str]) -> None:
    answer = run("complete", "--", *words)
    assert (answer.status, answer.out.splitlines(), answer.err) == (0, found, "")


def test_a_cluster_that_does_not_answer_has_no_names(cluster: FakeKubectl) -> None:
    cluster.forbidden = {"LlamaDeployment"}
    answer = run("complete", "--", "status", "")
    assert (answer.status, answer.out, answer.err) == (0, "", "")


def test_what_can_be_no_namespace_is_not_asked_for(cluster: FakeKubectl) -> None:
    answer = run("complete", "--", "status", "-n", "llm/secrets?x=", "status", "")
    assert (answer.status, answer.out, answer.err, cluster.asked) == (0, "", "", [])


def test_the_scripts_ask_this_command(tmp_path: Path) -> None:
    """With a kubectl-llama that repeats what it is asked."""
    for name, text in (("kubectl-llama", '#!/bin/sh\necho "$*"\n'), ("kubectl_complete-llama", run("completion", "kubectl").out)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}/usr/bin:/bin"}
    done = subprocess.run(["kubectl_complete-llama", "status", ""], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split("\n")[:2] == ["complete -- status ", ":4"]
    script = run("completion", "bash").out + 'COMP_WORDS=(kubectl-llama status d); COMP_CWORD=2; _kubectl_llama; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "complete -- status d"


def test_an_unknown_shell_is_refused() -> None:
    assert_refused(("completion", "dash"), ['completion: "dash" is given; allowed is one of kubectl, bash.'])
