"""`kubectl llama validate` says every problem, warning and verdict of files at its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.harness import samples
from tests.harness.command import compare, run

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))

MIXED = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: passed-over}
---
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: fits
spec:
  model: {source: hf://meta-llama/Llama-3.1-8B, licenseAccepted: true, servedName: Llama-8B}
  hardware: {accelerator: nvidia-h100-80gb, gpusPerNode: 8}
---
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: too-large
spec:
  model: {source: hf://meta-llama/Llama-3.1-405B, licenseAccepted: true, servedName: Llama-405B}
  hardware: {accelerator: nvidia-h100-80gb, gpusPerNode: 8}
  parallelism: {tensor: 8, pipeline: 1}
---
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: wrong
spec:
  model: {source: hf://meta-llama/Llama-3.1-8B, licenseAccepted: true, servedName: Llama-8B}
  hardware: {acelerator: nvidia-h100-80gb}
  replicas: "2"
---
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: not-divided
spec:
  model: {source: hf://meta-llama/Llama-3.1-8B, licenseAccepted: true, servedName: Llama-8B}
  hardware: {accelerator: nvidia-h100-80gb}
  parallelism: {tensor: 3}
  context: {maxTokens: 200000}
---
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: warned
spec:
  model: {source: pvc://models/ours}
  hardware: {accelerator: nvidia-h100-80gb}
---
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: share
spec:
  model: {source: hf://meta-llama/Llama-3.1-8B, licenseAccepted: true, servedName: Llama-8B}
  hardware: {accelerator: ours}
---
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: rehearsal
spec:
  model: {source: hf://meta-llama/Llama-3.1-8B, licenseAccepted: true, servedName: Llama-8B}
  hardware: {accelerator: cpu}
  engine: {type: simulated}
"""


def test_everything_is_said_at_its_line_and_at_once() -> None:
    answer = run("validate", "-f", "-", stdin=MIXED.encode())
    assert (answer.status, answer.err) == (1, "")
    compare("validate.txt", answer.out)


def one(name: str) -> str:
    """The document of that name alone."""
    return next(part for part in MIXED.split("---\n") if f"name: {name}\n" in part)


@pytest.mark.parametrize(
    ("name", "status"), [("fits", 0), ("warned", 0), ("rehearsal", 0), ("share", 0), ("too-large", 2), ("wrong", 1), ("not-divided", 1)]
)
def test_the_exit_status_is_that_of_the_worst(name: str, status: int, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(one(name))
    assert run("validate", str(path)).status == status
    worst = tmp_path / "wrong.yaml"
    worst.write_text(one("wrong"))
    assert run("validate", str(path), "-f", str(worst)).status == 1


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name alone: a long path would be wrapped
    Path("fits.yaml").write_text(one("fits"))
    answer = run("validate", "/no/such/file", "fits.yaml")
    assert answer.status == 1
    assert '--file: "/no/such/file" (No such file or directory) is given' in answer.err
    assert "fits.yaml:4:3: fits: fits: " in answer.out
    assert answer.out.endswith("2 files, 0 problems, 0 warnings; fits: 1, does not fit: 0\n")


def test_a_text_without_a_deployment_is_a_problem() -> None:
    answer = run("validate", "-", stdin=b"apiVersion: v1\nkind: ConfigMap\n")
    assert answer.status == 1
    assert "<stdin>:1:1: error: document: no such object is given" in answer.out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_well(path: Path) -> None:
    answer = run("validate", str(path))
    assert (answer.status, answer.err) == (0, "")
    assert ": error: " not in answer.out


@pytest.mark.parametrize("sample", samples.invalid(), ids=lambda sample: sample.name)
def test_what_the_operator_refuses_is_refused_before_it_sees_it(sample: samples.Invalid) -> None:
    answer = run("validate", str(samples.FOLDER / "invalid" / f"{sample.name}.yaml"))
    assert answer.status == 1
    assert ": error: " in answer.out
