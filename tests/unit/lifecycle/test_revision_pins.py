"""An operator upgrade restarts no model: the revision of every published object is what it was when it was published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.revision import revision_of

ROOT = Path(__file__).parents[3]
PINNED: dict[str, str] = yaml.safe_load((ROOT / "tests" / "golden" / "revisions.yaml").read_text(encoding="utf-8"))
SAMPLES = "crds/samples/valid"
FIRST = "crds/history/0001/samples"


def named(path: str) -> str:
    obj: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return revision_of(LlamaDeploymentSpec.model_validate(obj["spec"], by_alias=True, by_name=False))


@pytest.mark.parametrize("path", PINNED)
def test_a_published_object_keeps_its_revision(path: str) -> None:
    assert named(path) == PINNED[path]


@pytest.mark.parametrize("path", [path for path in PINNED if path.startswith(FIRST)])
def test_a_sample_that_gained_fields_without_pods_keeps_its_revision(path: str) -> None:
    assert named(path.replace(FIRST, SAMPLES)) == PINNED[path]


def test_every_example_and_every_sample_of_an_earlier_schema_is_pinned() -> None:
    found = [*(ROOT / "crds" / "history").glob("*/samples/*.yaml"), *(ROOT / "deploy" / "examples").glob("*.yaml")]
    assert {str(path.relative_to(ROOT)) for path in found} == set(PINNED)
