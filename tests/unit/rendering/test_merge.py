"""The user's pod template over the rendered pod."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.rendering.merge import MERGE_KEYS, overlay

CASES: dict[str, tuple[Any, Any, Any]] = {
    "maps merge": ({"a": 1, "b": {"c": 1}}, {"b": {"d": 2}}, {"a": 1, "b": {"c": 1, "d": 2}}),
    "scalars are replaced": ({"a": 1}, {"a": 2}, {"a": 2}),
    "a named container is merged, another is added": (
        {"containers": [{"name": "llama", "image": "x"}]},
        {"containers": [{"name": "llama", "env": [{"name": "A", "value": "1"}]}, {"name": "side"}]},
        {"containers": [{"name": "llama", "image": "x", "env": [{"name": "A", "value": "1"}]}, {"name": "side"}]},
    ),
    "a variable of the same name is replaced in its place": (
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
    ),
    "a mount on another path is added": (
        {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
        {"volumeMounts": [{"name": "a", "mountPath": "/b"}]},
        {"volumeMounts": [{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/b"}]},
    ),
    "tolerations add up, each once": (
        {"tolerations": [{"key": "a"}]},
        {"tolerations": [{"key": "b"}, {"key": "a"}]},
        {"tolerations": [{"key": "a"}, {"key": "b"}]},
    ),
    "a list without keys is replaced": ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
    "items that lack the key replace the list": ({"env": [{"name": "A"}]}, {"env": [{"value": "1"}]}, {"env": [{"value": "1"}]}),
    "a key that is no text replaces the list": ({"env": [{"name": "A"}]}, {"env": [{"name": {}}]}, {"env": [{"name": {}}]}),
    "an item named twice in the template is one": (
        {"env": []},
        {"env": [{"name": "A"}, {"name": "A", "value": "1"}]},
        {"env": [{"name": "A", "value": "1"}]},
    ),
    "another type replaces": ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    "an empty template changes nothing": ({"a": [1]}, {}, {"a": [1]}),
}


@pytest.mark.parametrize("sentence", CASES)
def test_overlay(sentence: str) -> None:
    base, patch, want = CASES[sentence]
    before = repr((base, patch))
    assert overlay(base, patch) == want
    assert repr((base, patch)) == before, "neither is changed"


keys = st.sampled_from(["a", "b", "spec", "env", "containers", "tolerations", "command"])
named = st.fixed_dictionaries({"name": st.sampled_from("xyz")}, optional={"value": st.integers(0, 3), "image": st.text(max_size=2)})
trees = st.recursive(
    st.one_of(st.none(), st.integers(0, 3), st.text(max_size=2), st.lists(named, max_size=3, unique_by=lambda item: item["name"])),
    lambda inner: st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, trees, max_size=4), st.dictionaries(keys, trees, max_size=4))
def test_laying_a_template_over_twice_is_laying_it_over_once(base: Any, patch: Any) -> None:
    """Names are unique within a list, as the API server wants them."""
    once = overlay(base, patch)
    assert overlay(once, patch) == once


@given(st.dictionaries(keys, trees, max_size=4))
def test_what_the_template_does_not_name_stays(base: Any) -> None:
    assert overlay(base, {}) == base
    assert overlay(base, {"other": 1}) == {**base, "other": 1}


def test_every_merge_key_is_one_of_kubernetes() -> None:
    assert MERGE_KEYS["containers"] == "name"
    assert MERGE_KEYS["ports"] == "containerPort"
