"""What the contract names and nothing serves yet is refused in words, never taken silently."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness import samples

from llama_operator.api.not_served import RULES
from llama_operator.api.v1alpha1 import LlamaDeployment
from llama_operator.api.validation import validate
from llama_operator.planning.gpus import GangShape, gang_shape
from llama_operator.planning.parallelism import Parallelism, parallelism_of

BASE: dict[str, Any] = samples.valid()["hub-405b-fp8-tp8"]


def spec_with(**over: Any) -> dict[str, Any]:
    return {**BASE, "spec": {**BASE["spec"], **over}}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.field)
def test_each_says_that_it_is_not_served_yet_to_both_readers_and_has_a_sample(rule: Any) -> None:
    assert "not served yet" in rule.allowed
    assert rule.cel is not None
    assert [sample for sample in samples.invalid() if sample.field == rule.field and "not served yet" in sample.says]


def test_everything_that_is_not_served_is_told_at_once() -> None:
    obj = spec_with(
        model={"source": "s3://bucket/llama"},
        rollout={"strategy": "Surge"},
        access={"apiKeysSecretRef": {"name": "keys"}},
    )
    assert {problem.field for problem in validate(obj)} == {rule.field for rule in RULES}


def test_false_is_not_zero() -> None:
    obj = spec_with(autoscaling={"minReplicas": False, "maxReplicas": 2, "objective": {"inFlightPerReplica": 8}})
    assert [problem.allowed for problem in validate(obj)] == ["a whole number"]


@pytest.mark.parametrize(
    ("given", "runs"),
    [({}, (1, 1)), ({"tensor": 8}, (8, 1)), ({"pipeline": 2}, (1, 2)), ({"tensor": 4, "pipeline": 2}, (4, 2))],
    ids=str,
)
def test_parallelism_that_is_left_out_runs_unsplit(given: dict[str, int], runs: tuple[int, int]) -> None:
    spec = LlamaDeployment.model_validate(spec_with(parallelism=given)).spec
    assert parallelism_of(spec) == Parallelism(tensor=runs[0], pipeline=runs[1])
    shape = gang_shape(spec)
    assert isinstance(shape, GangShape)
    assert shape.gpus == runs[0] * runs[1]
