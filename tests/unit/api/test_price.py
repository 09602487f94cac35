"""The price of an accelerator: of the annotation where it is one, of the table where there is none, and told where it is a mistake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.price import ANNOTATION, MOST, hour_price, read_price
from llama_operator.api.validation import validate, warnings

TABLE = {"nvidia-h100-80gb": 2.5}


def deployment(annotations: Any = None, accelerator: str = "nvidia-h100-80gb") -> dict[str, Any]:
    return {
        "apiVersion": "llama-operator.dev/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "llama", "annotations": annotations},
        "spec": {"model": {"source": "file:///m"}, "hardware": {"accelerator": accelerator}},
    }


@pytest.mark.parametrize(
    ("annotations", "accelerator", "price"),
    [
        (None, "nvidia-h100-80gb", 2.5),
        ({}, "nvidia-h100-80gb", 2.5),
        ({ANNOTATION: "3.1"}, "nvidia-h100-80gb", 3.1),
        ({ANNOTATION: "0"}, "nvidia-h100-80gb", 0.0),
        ({ANNOTATION: "1"}, "amd-mi300x-192gb", 1.0),
        (None, "amd-mi300x-192gb", None),
        ({ANNOTATION: "free"}, "nvidia-h100-80gb", None),
    ],
)
def test_the_annotation_counts_more_than_the_table_and_nothing_is_invented(annotations: Any, accelerator: str, price: float | None) -> None:
    assert hour_price(deployment(annotations, accelerator), TABLE) == price


@pytest.mark.parametrize(
    "given", ["", "free", "-1", "1,5", "1e3", "nan", "inf", "٣", " 2", "2 $", "1" * 400, "999999", 2.5, None, True, [1]]
)
def test_what_is_no_price_is_warned_of_and_refused_by_nobody(given: object) -> None:
    raw = deployment({ANNOTATION: given})
    assert read_price(raw["metadata"]["annotations"]) is None
    assert [problem.field for problem in warnings(raw) if "price" in problem.field] == [f"metadata.annotations[{ANNOTATION}]"]
    assert not [problem for problem in validate(raw) if "price" in problem.field]


@given(text=st.text(max_size=30))
def test_any_text_is_a_price_within_bounds_or_none(text: str) -> None:
    price = read_price({ANNOTATION: text})
    assert price is None or 0 <= price <= MOST
