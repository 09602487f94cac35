"""Whatever a hub may list: plain names with sizes, or a clear error."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llama_serving.hub_listing import parse_listing

names = st.text(max_size=12) | st.sampled_from(
    ["config.json", "../config.json", "a/b.json", "model.safetensors", "consolidated.00.safetensors"]
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "rfilename": names | st.integers(),
        "size": st.integers() | st.text(),
        "lfs": st.none() | st.dictionaries(st.just("sha256"), st.text()),
    },
)


@given(st.lists(entries | st.integers(), max_size=5))
def test_any_listing_gives_plain_names_or_a_value_error(siblings: list[Any]) -> None:
    try:
        _, files = parse_listing({"sha": "0123456789", "siblings": siblings})
    except ValueError:
        return
    assert all("/" not in file.name and not file.name.startswith(".") and file.size >= 0 for file in files)
    assert not any(file.name.startswith("consolidated") for file in files)
