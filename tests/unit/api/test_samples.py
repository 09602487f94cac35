"""Every sample is accepted or refused as it says: here by the operator, in tests/cluster by a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness import samples

from llama_operator.api.v1alpha1 import LlamaDeployment
from llama_operator.api.validation import validate
from llama_operator.planning.admission import Admission, admit, known_model
from llama_operator.planning.gpus import GangShape, gang_shape
from llama_operator.planning.parallelism import with_split

VALID, INVALID = samples.valid(), samples.invalid()


def problems_of(obj: dict[str, Any]) -> list[Any]:
    """As the operator finds them: of the resource, and then of the model."""
    return validate(obj) or [*verdict_on(obj).problems]


def verdict_on(obj: dict[str, Any]) -> Admission:
    spec = LlamaDeployment.model_validate(obj).spec
    return admit(spec, known_model(spec.model.source))


@pytest.mark.parametrize("name", VALID)
def test_a_valid_sample_is_accepted_and_has_a_gang(name: str) -> None:
    assert problems_of(VALID[name]) == []
    split = verdict_on(VALID[name]).split
    assert split is not None
    assert isinstance(gang_shape(with_split(LlamaDeployment.model_validate(VALID[name]).spec, split)), GangShape)


@pytest.mark.parametrize("sample", INVALID, ids=lambda sample: sample.name)
def test_an_invalid_sample_is_refused_at_its_field_in_its_words_and_for_nothing_else(sample: samples.Invalid) -> None:
    assert samples.OPERATOR in sample.refused_by, "the operator refuses whatever is wrong"
    (problem,) = problems_of(sample.obj)
    assert problem.field == sample.field
    assert sample.says in problem.message


def test_there_are_samples_of_both_kinds() -> None:
    assert len(VALID) >= 15
    assert len(INVALID) >= 60
