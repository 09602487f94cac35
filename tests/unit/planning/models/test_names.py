"""Lists of module names mean what their tools mean by them, and no list from a stranger takes long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.planning.models.names import NAMES_MAX, Style, read_names
from llama_operator.planning.models.reading import Refused

UP = "model.layers.11.mlp.up_proj"


@pytest.mark.parametrize(
    ("style", "entries", "module", "named"),
    [
        ("inside", ["model.layers.11.mlp.up_proj"], UP, True),
        ("inside", ["model.layers.11"], UP, True),
        ("inside", ["model.layers.1"], UP, False),
        ("inside", ["up_proj"], UP, False),
        ("inside", ["lm_head"], "lm_head", True),
        ("anywhere", ["mlp.up"], UP, True),
        ("anywhere", ["visual"], UP, False),
        ("anywhere", [f"model.layers.{layer}" for layer in range(100)], UP, True),
        ("anywhere", [f"layers.{layer}." for layer in range(100)], UP, False),
        ("pattern", ["re:.*up_proj"], UP, True),
        ("pattern", ["re:up_proj"], UP, False),
        ("pattern", [r"re:model\.layers\.1\d\..*"], UP, True),
        ("pattern", ["re:.*(q|k|v)_proj$"], UP, False),
        ("pattern", ["model.layers.1*"], UP, True),
        ("pattern", ["*self_attn*"], UP, False),
        ("pattern", ["model.layers.11"], UP, True),
    ],
)
def test_who_is_named(style: Style, entries: list[str], module: str, named: bool) -> None:
    assert (module in read_names(tuple(entries), style, "ignore")) == named


def test_a_list_without_end_is_refused() -> None:
    with pytest.raises(Refused, match="at most"):
        read_names(("a",) * (NAMES_MAX + 1), "inside", "ignore")


@given(st.lists(st.text(alphabet="ab.*+?|()[]{}2\\d^$:re", max_size=30).map("re:".__add__) | st.text(max_size=10), max_size=6))
def test_any_patterns_are_refused_or_quick(entries: list[str]) -> None:
    """A thousand names of a model take a moment with every list that is accepted."""
    try:
        names = read_names(tuple(entries), "pattern", "ignore")
    except Refused:
        return
    for letter in "ab":
        assert isinstance(letter * 40 + "c" in names, bool)
    assert all(re.compile(pattern.pattern) for pattern in names.patterns)
