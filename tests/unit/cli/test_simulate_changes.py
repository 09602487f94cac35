"""What a change of a resource would give and cost is the same on the page as in the table, and what is left out is said on both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.harness.command import run

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
SHORT = ("simulate", "--generate", "conversation", "--hours", "0.02", "--load-seconds", "30")
LEFT_OUT = "what other accelerators would give and cost is left out: --service has the numbers of one"


def answered(*argv: str) -> str:
    answer = run(*argv)
    assert (answer.status, answer.err) == (0, "")
    return answer.out


def tables(page: str) -> list[list[list[str]]]:
    """Rows of cells, the titles first, of every table."""
    root = ET.fromstring(page.partition("\n")[2])  # noqa: S314 -- the test's own page, made a moment ago
    return [[["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in root.iter("table")]


def printed(text: str, title: str) -> list[list[str]]:
    """The rows of cells that follow a title, without those of the table's head."""
    part = text.partition(f"{title}\n")[2].partition("─\n")[2].partition("\n\n")[0]
    return [re.split(r"\s{2,}", line.strip()) for line in part.splitlines()]


@pytest.mark.parametrize("policies", ["ours,hpa,clairvoyant", "hpa,static:2"])
def test_a_page_has_the_rows_and_the_numbers_of_the_table(policies: str) -> None:
    path = EXAMPLES / "llama-70b-tp4.yaml"
    argv = (*SHORT, "--copies", "3", "-f", str(path), "--policy", policies)
    shown, (asked, changed) = answered(*argv), tables(answered(*argv, "-o", "html"))
    text = re.sub(r"\S*llama-70b-tp4.yaml", "FILE", shown)
    assert printed(text, "Policies on this traffic")[: len(asked) - 1] == asked[1:]
    assert printed(text, "What a change of FILE would give and cost") == changed[1:]
    assert [row[0] for row in changed[-2:]] == ["on nvidia-a100-80gb", "on nvidia-h100-nvl-94gb"]
    differences = ["attained, change", "hours, change", "GPU-hours, change"] if "ours" in policies else []
    assert changed[0] == ["change", "attained", "replica-hours", "p95 s", "unserved", *differences]


@pytest.mark.parametrize("numbers", ["slots=64", "prefill=4900,slots=64,itl=0.1,kv=681000"])
def test_where_numbers_of_a_replica_are_given_it_says_that_no_other_accelerator_is_tried(numbers: str) -> None:
    argv = (*SHORT, "-f", str(EXAMPLES / "llama-8b-1gpu.yaml"), "--policy", "ours", "--service", numbers)
    assert LEFT_OUT in " ".join(answered(*argv).split())
    assert LEFT_OUT in answered(*argv, "-o", "html")
    runs = json.loads(answered(*argv, "-o", "json"))["runs"]
    assert len(runs) > 1
    assert not [each["policy"] for each in runs if "accelerator" in each["policy"]]


def test_where_nothing_is_left_out_nothing_is_said_of_it() -> None:
    for argv in (
        (*SHORT, "-f", str(EXAMPLES / "llama-70b-tp4.yaml"), "--policy", "ours"),
        (*SHORT, "-f", str(EXAMPLES / "simulated.yaml"), "--policy", "ours", "--service", "slots=5"),
        (*SHORT, "--policy", "ours", "--service", "slots=5"),
    ):
        assert LEFT_OUT not in " ".join(answered(*argv).split())
