"""The cells of bench/scaling.py: every traffic is explained on its page, and a short piece of the long prompts is run as the others are."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from bench import scaling
from bench.scaling_page import WORDS, row

from llama_operator.simulate.generate import MOONCAKE


def test_every_traffic_has_words_for_where_its_cells_fail() -> None:
    assert set(scaling.traffic(Path("conversation.csv"))) == set(WORDS)


def test_long_prompts_are_as_published_and_an_eighth_as_many() -> None:
    requests = list(scaling.traffic(None)["mooncake"]())
    assert len(requests) / scaling.HOUR == pytest.approx(MOONCAKE.rate / 8, rel=0.1)
    assert fmean(each.prompt for each in requests) == pytest.approx(MOONCAKE.prompt.mean, rel=0.05)


@pytest.mark.parametrize("copies", scaling.COPIES)
def test_a_cell_of_long_prompts_is_run(copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "HOUR", 300.0)
    found = scaling.cell(scaling.Where("mooncake", copies, 20.0), scaling.read_arguments(["--peers"]))
    assert found.mine.policy == "ours"
    assert 0 < found.mine.attainment <= 1
    assert found.usual
    assert found.fixed
    assert row(found).startswith(f"| mooncake | {copies} | 20 |")
