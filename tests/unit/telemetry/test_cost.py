"""What a window cost: by hand, by properties, and never zero for want of a number."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.telemetry.cost import API_PRICES, Measured, bill, to_document
from llama_operator.telemetry.cost_queries import LONGEST_STEP, MOST_STEPS, SHORTEST_STEP, bill_queries, step_seconds

DAY = Measured(
    window_seconds=86_400,
    known_seconds=86_400,
    cost=480.0,
    idle_cost=120.0,
    accelerator_hours=192.0,
    prompt_tokens=60e6,
    generated_tokens=12e6,
    prefill_seconds=10_000,
    decode_seconds=30_000,
)
"""Eight GPUs at 2.50 for a day."""

AMOUNTS = st.none() | st.floats(min_value=0, max_value=1e12, allow_nan=False)


def test_a_day_of_eight_gpus_by_hand() -> None:
    found = bill(DAY, API_PRICES)
    assert found.per_hour == pytest.approx(20.0)
    assert found.idle_share == pytest.approx(0.25)
    assert found.prefill_share == pytest.approx(0.25)
    assert found.per_million_prompt == pytest.approx(480 * 0.25 / 60)
    assert found.per_million_generated == pytest.approx(480 * 0.75 / 12)
    hosted, gpt = found.apis
    assert (hosted.least, hosted.most) == (pytest.approx(60 * 3 + 12 * 3), pytest.approx(60 * 9 + 12 * 15))
    assert (gpt.least, gpt.most) == (pytest.approx(60 * 5 + 12 * 15), pytest.approx(60 * 5 + 12 * 15))


def test_the_default_prices_are_those_of_july_2024() -> None:
    assert [(price.as_of, price.prompt, price.generated) for price in API_PRICES] == [
        ("2024-07", (3.0, 9.0), (3.0, 15.0)),
        ("2024-07", (5.0, 5.0), (15.0, 15.0)),
    ]


@given(numbers=st.lists(AMOUNTS, min_size=7, max_size=7), known=st.floats(min_value=0, max_value=1e8))
def test_whatever_was_measured_makes_a_bill_of_numbers_or_of_nothing(numbers: list[float | None], known: float) -> None:
    names = [field.name for field in fields(Measured) if not field.name.endswith(("window_seconds", "known_seconds"))]
    measured = replace(DAY, known_seconds=known, **dict(zip(names, numbers, strict=True)))
    found = bill(measured, API_PRICES)
    shares = (found.prefill_share,)
    assert all(share is None or 0 <= share <= 1 for share in shares)
    for value in (found.per_hour, found.per_million_prompt, found.per_million_generated):
        assert value is None or value >= 0
        if measured.cost is None:
            assert value is None
    json.dumps(to_document(found))


@given(cost=st.floats(min_value=0.01, max_value=1e6), share=st.floats(min_value=0.001, max_value=0.999))
def test_what_prompts_and_answers_cost_adds_up_to_the_whole(cost: float, share: float) -> None:
    found = bill(replace(DAY, cost=cost, prefill_seconds=share, decode_seconds=1 - share), ())
    assert found.per_million_prompt is not None
    assert found.per_million_generated is not None
    whole = found.per_million_prompt * 60 + found.per_million_generated * 12
    assert math.isclose(whole, cost, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ({"cost": None}, {"per_hour", "per_million_prompt", "per_million_generated", "idle_share"}),
        ({"prompt_tokens": 0.0}, {"per_million_prompt"}),
        ({"generated_tokens": None}, {"per_million_generated"}),
        ({"prefill_seconds": None}, {"prefill_share", "per_million_prompt", "per_million_generated"}),
        ({"prefill_seconds": 0.0, "decode_seconds": 0.0}, {"prefill_share", "per_million_prompt", "per_million_generated"}),
        ({"known_seconds": 0.0}, {"per_hour"}),
        ({"idle_cost": None}, {"idle_share"}),
    ],
)
def test_what_is_missing_leaves_out_what_needs_it_and_nothing_else(change: dict[str, float | None], unknown: set[str]) -> None:
    found = bill(replace(DAY, **change), ())
    numbers = ("per_hour", "idle_share", "prefill_share", "per_million_prompt", "per_million_generated")
    assert {name for name in numbers if getattr(found, name) is None} == unknown


@pytest.mark.parametrize("window", [60, 600, 3600, 86_400, 604_800, 366 * 86_400])
def test_a_window_is_looked_at_often_enough_and_not_too_often(window: int) -> None:
    step = step_seconds(window)
    assert SHORTEST_STEP <= step <= LONGEST_STEP
    assert window / step <= MOST_STEPS or step == LONGEST_STEP


def test_the_queries_ask_for_one_deployment_of_one_namespace() -> None:
    for query in bill_queries("llm", "demo", 86_400).values():
        assert query.count('="llm"') == query.count('llama_operator_dev_deployment="demo"') > 0
        assert query.count("{") == query.count('="llm"'), "every selector names both"
