"""A gated Llama needs the word of whoever deploys it, and a name that the licence may want otherwise is warned of, never refused."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.api.licence import GATED
from llama_operator.api.problems import Problem
from llama_operator.api.validation import validate, warnings


def deployment(name: str = "support", engine: str = "vllm", **model: Any) -> dict[str, Any]:
    return {
        "apiVersion": "llama-operator.dev/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": name},
        "spec": {"model": model, "hardware": {"accelerator": "nvidia-h100-80gb"}, "engine": {"type": engine}},
    }


META = f"{GATED}Llama-3.1-8B-Instruct"


@pytest.mark.parametrize("word", [{}, {"licenseAccepted": False}], ids=str)
def test_a_gated_model_is_refused_until_its_licence_is_accepted(word: dict[str, Any]) -> None:
    (problem,) = validate(deployment(source=META, **word))
    assert problem.field == "spec.model.licenseAccepted"
    assert "https://huggingface.co/meta-llama" in problem.remedy
    assert validate(deployment(source=META, licenseAccepted=True)) == []


@pytest.mark.parametrize("source", ["hf://acme/Llama-3.1-8B-Support", "pvc://models/llama", "file:///models/meta-llama/x"])
def test_other_sources_need_no_word(source: str) -> None:
    assert validate(deployment(source=source)) == []
    assert validate(deployment(source=source, licenseAccepted=True)) == []


QUIET = [
    ("Meta's own model under any name", deployment(source=META, servedName="chat")),
    ("a name that begins so", deployment(source="pvc://m/x", servedName="Llama-3.1-8B-Support")),
    ("behind an organisation", deployment(source="hf://acme/x", servedName="acme/Llama-3.1-8B-Support")),
    ("the resource's name, in lower case", deployment(name="llama-support", source="pvc://m/x")),
    ("a note says why not", deployment(source="pvc://m/x", licenseNotes="trained from scratch")),
    ("no model is served at all", deployment(engine="simulated", source="file:///none")),
    ("a source that is refused anyway", deployment(source=7)),
    ("no document", "nonsense"),
]
LOUD = [
    ("another name", deployment(source="hf://acme/Llama-3.1-8B-Support", servedName="support-8b"), '"support-8b"'),
    ("Llama, but not at the beginning", deployment(source="pvc://m/x", servedName="our-llama"), '"our-llama"'),
    ("the organisation's name alone", deployment(source="pvc://m/x", servedName="llama/support"), '"llama/support"'),
    ("the resource's name", deployment(name="support", source="pvc://m/x"), '"support"'),
]


@pytest.mark.parametrize(("what", "obj"), QUIET, ids=[row[0] for row in QUIET])
def test_nothing_is_said_of(what: str, obj: Any) -> None:
    assert warnings(obj) == []


@pytest.mark.parametrize(("what", "obj", "given"), LOUD, ids=[row[0] for row in LOUD])
def test_a_derived_model_is_warned_of_and_accepted(what: str, obj: dict[str, Any], given: str) -> None:
    assert validate(obj) == []
    (warning,) = warnings(obj)
    assert (warning.field, warning.given, warning.severity) == ("spec.model.servedName", given, "warning")
    assert "licenseNotes" in warning.remedy


def test_a_warning_advises_where_an_error_allows() -> None:
    said = {"field": "spec.x", "given": "1", "allowed": "2", "remedy": "Do."}
    assert Problem(**said).message == "spec.x: 1 is given; allowed is 2. Do."
    assert Problem(**said, severity="warning").message == "spec.x: 1 is given; advised is 2. Do."
