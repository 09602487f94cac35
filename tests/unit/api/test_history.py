"""What was valid under an earlier schema stays readable, and is refused only for reasons that are new and stated here."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.harness import crd_history
from tests.harness.crd_history import Earlier, Schema, narrowings
from tests.harness.depth import examples

from llama_operator.api.rule import Look
from llama_operator.api.rules import RULES
from llama_operator.api.schema import custom_resource_definition
from llama_operator.api.v1alpha1 import LlamaDeployment
from llama_operator.api.validation import validate

EARLIER = crd_history.earlier()
NOW = crd_history.schema_of(custom_resource_definition())

BREAKING = {
    "0001": {
        "spec.model.licenseAccepted": "a gated model needs the word of whoever deploys it (docs/install.md, Upgrading)",
        "spec.autoscaling.scaleDownStabilizationSeconds": "a window shorter than a scrape follows every flicker (docs/install.md, Upgrading)",
        "spec.autoscaling.maxReplicas": "between two equal bounds nothing can follow the load (docs/install.md, Upgrading)",
    }
}
"""Fields whose rules refuse what that schema took, and why that was worth it."""

HARMLESS = {
    "0001": {
        "spec.model.source": "s3:// was refused before, in other words",
        "spec.hardware.custom": "a new field",
        "spec.autoscaling.objective": "inFlightPerReplica was required before",
        "spec.autoscaling.scaleToZeroAfter": "a new field",
        "spec.autoscaling.objective.percentile": "a new field",
        "spec.rollout.strategy": "a new field",
        "spec.access.apiKeysSecretRef": "a new field",
        "spec.tracing.endpoint": "a new field",
    }
}
"""Fields whose rules are new, and why they refuse nothing that the schema took."""


def new_rules(version: Earlier) -> list[Any]:
    """Rules that the API server did not have then."""
    known = set(crd_history.rules(version.schema))
    return [rule for rule in RULES if rule.cel is not None and (rule.at, rule.cel) not in known]


@pytest.mark.parametrize("version", EARLIER, ids=lambda version: version.name)
def test_no_field_goes_and_no_bound_narrows(version: Earlier) -> None:
    assert narrowings(version.schema, NOW) == []


@pytest.mark.parametrize("version", EARLIER, ids=lambda version: version.name)
def test_every_new_rule_is_stated_with_what_it_means_for_older_objects(version: Earlier) -> None:
    assert {rule.field for rule in new_rules(version)} == {*BREAKING.get(version.name, {}), *HARMLESS.get(version.name, {})}


@pytest.mark.parametrize(
    ("version", "name"),
    [(version, name) for version in EARLIER for name in version.samples],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_older_sample_is_readable_and_refused_for_stated_reasons_alone(version: Earlier, name: str) -> None:
    obj = version.samples[name]
    LlamaDeployment.model_validate(obj, by_alias=True, by_name=False)
    refused = {problem.field for problem in validate(obj)}
    assert refused <= BREAKING[version.name].keys()
    if refused:
        mended = copy.deepcopy(obj)
        mended["spec"]["model"]["licenseAccepted"] = True
        assert validate(mended) == []


def test_every_schema_of_before_has_samples() -> None:
    assert EARLIER
    assert all(version.samples for version in EARLIER)


TEXTS: dict[str, list[str]] = {
    "spec.model.source": ["hf://meta-llama/Llama-3.1-8B-Instruct", "hf://org/m", "pvc://claim/p", "pvc://claim", "file:///m"],
    "spec.model.revision": ["main", "v1.0"],
    "spec.model.servedName": ["llama", "org/m:8b"],
    "spec.model.tokenSecretRef.name": ["hf"],
    "spec.model.tokenSecretRef.key": ["token"],
    "spec.hardware.accelerator": ["cpu", "nvidia-h100-80gb", "anything"],
    "spec.hardware.gpuResource": ["amd.com/gpu"],
    "spec.image": ["registry.example/x:1"],
}
"""Texts that the patterns of every schema so far take."""


def valid_under(schema: Schema, path: str) -> st.SearchStrategy[Any]:
    """Values that a schema takes, its CEL rules apart."""
    if "properties" in schema:
        fields = {name: valid_under(child, f"{path}.{name}") for name, child in schema["properties"].items()}
        needed = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(needed, optional=fields)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if "additionalProperties" in schema:
        return st.dictionaries(st.sampled_from(["team", "example.com/x"]), st.sampled_from(["a", "b"]))
    return st.sampled_from(TEXTS[path]) if schema["type"] == "string" else st.just({})


OLD_RULES = {version.name: [rule for rule in RULES if rule not in new_rules(version)] for version in EARLIER}
SPECS = {version.name: valid_under(version.schema["properties"]["spec"], "spec") for version in EARLIER}


@settings(max_examples=examples(50))
@given(st.data())
def test_whatever_an_earlier_schema_took_is_readable_and_refused_for_stated_reasons_alone(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(sorted(SPECS)))
    spec = data.draw(SPECS[version])
    obj = {"apiVersion": "llama-operator.dev/v1alpha1", "kind": "LlamaDeployment", "metadata": {"name": "x"}, "spec": spec}
    assume(all(rule.problem(Look(obj)) is None for rule in OLD_RULES[version]))
    LlamaDeployment.model_validate(obj, by_alias=True, by_name=False)
    assert {problem.field for problem in validate(obj)} <= BREAKING[version].keys()


OLD: Schema = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 9},
        "b": {"type": "string", "enum": ["x", "y"]},
        "c": {"type": "array", "items": {"type": "string", "maxLength": 9}},
        "d": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
NARROWER: list[tuple[str, dict[str, Any], str]] = [
    ("a higher minimum", {"a": {"type": "integer", "minimum": 1, "maximum": 9}}, "a: minimum 0 became 1"),
    ("a lower maximum", {"a": {"type": "integer", "minimum": 0, "maximum": 8}}, "a: maximum 9 became 8"),
    ("a bound where none was", {"b": {"type": "string", "enum": ["x", "y"], "maxLength": 3}}, "b: maxLength None became 3"),
    ("another type", {"a": {"type": "number"}}, "a: type integer became number"),
    ("a value fewer", {"b": {"type": "string", "enum": ["x"]}}, "b: enum ['x', 'y'] became ['x']"),
    ("a pattern", {"b": {"type": "string", "enum": ["x", "y"], "pattern": "x"}}, "b: pattern None became x"),
    ("items that are narrower", {"c": {"type": "array", "items": {"type": "string", "maxLength": 8}}}, "c.items: maxLength 9 became 8"),
    ("a free-form object that is none", {"d": {"type": "object"}}, "d: unknown fields are no longer kept"),
]


@pytest.mark.parametrize(("what", "change", "words"), NARROWER, ids=[row[0] for row in NARROWER])
def test_a_narrower_schema_is_noticed(what: str, change: dict[str, Any], words: str) -> None:
    new = {**OLD, "properties": {**OLD["properties"], **change}}
    assert narrowings(OLD, new) == [words]
    assert narrowings(OLD, OLD) == []


def test_a_field_that_goes_or_becomes_required_is_noticed() -> None:
    gone = {**OLD, "properties": {name: child for name, child in OLD["properties"].items() if name != "a"}}
    assert narrowings(OLD, gone) == ["a: gone"]
    assert narrowings(OLD, {**OLD, "required": ["a"]}) == [".a: now required"]
