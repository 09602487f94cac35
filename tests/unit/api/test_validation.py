"""Whatever is written, the validator answers with problems in words; and what it accepts, the models and the planner accept too."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness import samples

from llama_operator.api import validation
from llama_operator.api.depth import CUT, DEEPEST, is_shallow, shallow_copy
from llama_operator.api.problems import GIVEN_LIMIT
from llama_operator.api.rules import RULES
from llama_operator.api.status import LlamaDeploymentStatus
from llama_operator.api.v1alpha1 import LlamaDeployment
from llama_operator.api.validation import validate, warnings
from llama_operator.planning.gpus import GangShape, gang_shape

SOUND: dict[str, Any] = samples.valid()["hub-405b-fp8-tp8"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def paths(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every path of fields in an object."""
    if not isinstance(value, dict):
        return [prefix]
    return [prefix, *(path for key, item in value.items() for path in paths(item, (*prefix, key)))]


def replaced(obj: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(obj)
    node = made
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return made


@given(json_values)
def test_anything_at_all_is_answered_with_problems(value: Any) -> None:
    assert validate(value)
    assert validate(SOUND | {"spec": value})


@given(st.sampled_from([path for path in paths(SOUND) if path]), json_values)
def test_warnings_are_told_of_anything_and_refuse_nothing(path: tuple[str, ...], value: Any) -> None:
    told = [*warnings(value), *warnings(replaced(SOUND, path, value))]
    assert {problem.severity for problem in told} <= {"warning"}
    assert {problem.severity for problem in validate(value)} == {"error"}


@given(st.sampled_from([path for path in paths(SOUND) if path]), json_values)
def test_any_value_in_any_field_is_accepted_or_refused_in_words(path: tuple[str, ...], value: Any) -> None:
    obj = replaced(SOUND, path, value)
    problems = validate(obj)
    for problem in problems:
        assert problem.field
        assert problem.message.startswith(f"{problem.field}: ")
        assert "pydantic" not in problem.message.lower()
        assert "input should" not in problem.message.lower()
    if not problems:
        assert isinstance(gang_shape(LlamaDeployment.model_validate(obj).spec), GangShape)


@given(json_values)
def test_a_value_is_repeated_only_in_part(value: Any) -> None:
    for problem in validate(replaced(SOUND, ("spec", "model", "source"), value)):
        if problem.field == "spec.model.source":
            assert len(problem.given) <= GIVEN_LIMIT


@given(st.text(max_size=60))
def test_names_are_accepted_as_dns_labels_are(name: str) -> None:
    refused = {problem.field for problem in validate(replaced(SOUND, ("metadata", "name"), name))}
    plain = name.isascii() and name == name.lower() and name.replace("-", "").isalnum() and len(name) <= 40
    sound = plain and name[0].isalpha() and not name.endswith("-")
    assert ("metadata.name" in refused) != sound


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        (("spec", "image"), "", "a text of at least 1 characters"),
        (("spec", "hardware", "custom"), {"memoryGiB": 0.5, "memoryBandwidthGBps": 1}, "1 or more"),
        (("spec", "autoscaling", "objective"), {"timeToFirstTokenSeconds": 0}, "0.01 or more"),
        (("spec", "image"), "x" * 2000, "a text of at most 1024 characters"),
        (("spec", "engine"), {"args": {f"a{number}": 1 for number in range(300)}}, "at most 256 entries"),
        (("spec", "autoscaling", "maxReplicas"), 2000, "at most 1000"),
        (("spec", "podTemplate"), [], "an object"),
        (("spec", "podTemplate"), {"metadata": {"labels": {"x" * 400: "v"}}}, "a text of at most 317 characters"),
    ],
)
def test_bounds_are_told_in_words(path: tuple[str, ...], value: Any, allowed: str) -> None:
    assert allowed in {problem.allowed for problem in validate(replaced(SOUND, path, value))}


def test_every_problem_is_told_at_once() -> None:
    obj = replaced(SOUND, ("spec", "replicas"), -1)
    obj["spec"]["modle"] = {}
    obj["spec"]["parallelism"] = {"tensor": 16}
    obj["spec"]["engine"] = {"args": {"max_num_seq": 1, "seed": 1.5}}
    obj["metadata"]["name"] = "x" * 63
    assert {problem.field for problem in validate(obj)} == {
        "spec.replicas",
        "spec.modle",
        "spec.parallelism.tensor",
        "spec.engine.args.max_num_seq",
        "spec.engine.args.seed",
        "metadata.name",
    }


def test_the_status_is_not_looked_at() -> None:
    assert validate(SOUND | {"status": {"replicas": "nonsense"}}) == []


def test_a_default_that_hangs_on_a_wrong_field_adds_no_problem_of_its_own() -> None:
    obj = replaced(SOUND, ("spec", "hardware"), {"accelerator": 7})
    assert [problem.field for problem in validate(obj)] == ["spec.hardware.accelerator"]


OTHERS: list[tuple[str, tuple[str, ...], Any]] = [
    ("spec.model.tokenSecretRef.name", ("spec", "model", "tokenSecretRef"), {"name": "My Secret"}),
    ("spec.model.tokenSecretRef.key", ("spec", "model", "tokenSecretRef"), {"name": "hf", "key": "a b"}),
    ("spec.hardware.accelerator", ("spec", "hardware", "accelerator"), "H100"),
    ("spec.model.revision", ("spec", "model", "revision"), "../main"),
    ("spec.podTemplate.metadata.annotations", ("spec", "podTemplate"), {"metadata": {"annotations": {"llama-operator.dev/x": "1"}}}),
    ("spec.podTemplate.spec", ("spec", "podTemplate"), {"spec": {"tolerations": {"key": "x"}}}),
    ("spec.podTemplate.spec", ("spec", "podTemplate"), {"spec": {"volumes": ["x"]}}),
]
"""Patterns that have no sample of their own."""


@pytest.mark.parametrize(("field", "path", "value"), OTHERS)
def test_the_other_patterns_refuse_too(field: str, path: tuple[str, ...], value: Any) -> None:
    assert [problem.field for problem in validate(replaced(SOUND, path, value))] == [field]


def test_every_rule_is_broken_by_some_sample() -> None:
    told = {(problem.field, problem.allowed) for sample in samples.invalid() for problem in validate(sample.obj)}
    others = {(problem.field, problem.allowed) for _, path, value in OTHERS for problem in validate(replaced(SOUND, path, value))}
    assert {(rule.field, rule.allowed) for rule in RULES} <= told | others


@given(json_values)
def test_a_status_from_another_version_is_read_or_named_never_half_read(extra: Any) -> None:
    status = LlamaDeploymentStatus.model_validate({"phase": "Ready", "invented": extra, "replicas": [{"gang": 0, "later": extra}]})
    assert status.phase == "Ready"
    assert status.replicas[0].gang == 0


def test_what_is_dumped_is_read_back_the_same() -> None:
    for obj in samples.valid().values():
        made = LlamaDeployment.model_validate(obj)
        assert LlamaDeployment.model_validate(made.model_dump(by_alias=True, exclude_none=True)) == made
        assert validate(made.model_dump(by_alias=True, exclude_none=True)) == []


def test_what_pydantic_may_come_to_say_is_repeated_as_a_problem() -> None:
    """A newer pydantic may know other errors; none of them is lost."""
    problem = validation._in_words({"loc": ("spec", "x"), "type": "new_error", "msg": "Even numbers only", "input": 3})
    assert problem.message == "spec.x: 3 is given; allowed is even numbers only. Correct the value."


def test_half_a_character_is_no_text() -> None:
    (problem,) = validate(replaced(SOUND, ("spec", "image"), "\ud800"))
    assert (problem.field, problem.allowed) == ("spec.image", "a text")


def test_a_model_goes_by_its_served_name_else_by_the_resources() -> None:
    bare = LlamaDeployment.model_validate(samples.valid()["pvc-whole-claim"])
    assert (bare.name, bare.namespace, bare.served_name) == ("pvc-whole-claim", "default", "pvc-whole-claim")
    named = LlamaDeployment.model_validate(samples.valid()["hub-8b-gated"])
    assert (named.namespace, named.served_name) == ("llm", "meta-llama/Llama-3.1-8B-Instruct")


def nested(levels: int) -> Any:
    """So many objects and lists within each other."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 3 == 0 else {"a": value}
    return value


OPEN = [("spec.podTemplate", ("spec", "podTemplate")), ("spec.engine.args", ("spec", "engine"))]


@pytest.mark.parametrize("levels", [DEEPEST + 1, CUT, CUT + 1, 9_990])
@pytest.mark.parametrize(("field", "path"), OPEN)
def test_a_field_that_is_nested_too_deeply_is_refused_alone_also_once_it_was_cut(field: str, path: tuple[str, ...], levels: int) -> None:
    value = {"args": {"a": nested(levels)}} if field.endswith("args") else {"a": nested(levels)}
    obj = {**SOUND, "spec": {**SOUND["spec"], path[-1]: value}}
    for seen in (obj, shallow_copy(obj)):
        (problem,) = validate(seen)
        assert problem.field == field
        assert f"at most {DEEPEST} levels" in problem.message
        assert warnings(seen) == []


@given(st.integers(min_value=0, max_value=3 * CUT))
def test_a_shallow_copy_is_equal_up_to_its_depth_and_cut_beyond(levels: int) -> None:
    value = nested(levels)
    copied = shallow_copy(value)
    assert is_shallow(copied, CUT)
    assert is_shallow(value, CUT) == (levels <= CUT) == (copied == value)
    assert isinstance(value, int) or copied is not value
