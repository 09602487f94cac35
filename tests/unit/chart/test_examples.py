"""The examples are accepted, and ask for the GPUs that their comments promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.chart.chart import ROOT

from llama_operator.api.v1alpha1 import LlamaDeployment
from llama_operator.api.validation import validate
from llama_operator.planning.admission import admit, known_model
from llama_operator.planning.gpus import GangShape, gang_shape

EXAMPLES = ROOT / "deploy" / "examples"

GANGS = {
    "simulated.yaml": (1, 0),
    "tiny-cpu.yaml": (1, 0),
    "llama-8b-1gpu.yaml": (1, 1),
    "llama-70b-tp4.yaml": (1, 4),
    "llama-405b-fp8-tp8.yaml": (1, 8),
    "llama-405b-bf16-tp8pp2.yaml": (2, 8),
}
"""File -> pods of one replica, GPUs of each pod."""


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {**document, "metadata": {"namespace": "llm", **document["metadata"]}}


def test_the_table_above_knows_every_example() -> None:
    assert {path.name for path in EXAMPLES.glob("*.yaml")} == set(GANGS)


@pytest.mark.parametrize("name", GANGS)
def test_an_example_is_valid_and_fits_its_model(name: str) -> None:
    document = _read(EXAMPLES / name)
    assert validate(document) == []
    spec = LlamaDeployment.model_validate(document, by_alias=True, by_name=False).spec
    assert admit(spec, known_model(spec.model.source)).verdict in {"fits", "unknown"}


@pytest.mark.parametrize("name", GANGS)
def test_an_example_makes_the_gang_that_its_name_says(name: str) -> None:
    gang = gang_shape(LlamaDeployment.model_validate(_read(EXAMPLES / name), by_alias=True, by_name=False).spec)
    assert isinstance(gang, GangShape)
    assert (gang.pods, gang.gpus_per_pod) == GANGS[name]


@pytest.mark.parametrize("name", GANGS)
def test_an_example_is_explained(name: str) -> None:
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert sum("#" in line for line in lines) >= 5
    assert max(map(len, lines)) <= 140
