"""`kubectl llama bench --compare`: two reports side by side, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.harness.bench import real_report
from tests.harness.command import assert_refused, compare, run

from llama_operator.cli.bench_document import to_json


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(folder: Path, name: str, document: dict[str, Any]) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path.name


def slower(document: dict[str, Any]) -> dict[str, Any]:
    """The same with first tokens that come ten times as late, of another revision."""
    changed: dict[str, Any] = json.loads(json.dumps(document))
    changed["deployment"]["revision"] = "bbbbbbbbbb"
    for each in ("p50", "p90", "p95", "p99"):
        place = changed["runs"][0]["timeToFirstToken"][each]
        place |= {key: None if place[key] is None else place[key] * 10 for key in place}
    return changed


def test_two_reports_are_set_side_by_side(tmp_path: Path) -> None:
    document = to_json(real_report())
    pair = written(tmp_path, "a", document), written(tmp_path, "b", slower(document))
    answer = run("bench", "--compare", *pair)
    assert (answer.status, answer.err) == (0, "")
    compare("bench-compare.txt", answer.out)
    rows = {row["name"]: row for row in json.loads(run("bench", "--compare", *pair, "-o", "json").out)["pairs"][0]["rows"]}
    assert (rows["time to first token, p50"]["ratio"], rows["time to first token, p50"]["verdict"]) == (pytest.approx(10), "beyond noise")
    assert (rows["whole request, p50"]["verdict"], rows["output tokens"]["verdict"]) == ("within noise", "not known")
    page = run("bench", "--compare", *pair, "-o", "html").out
    assert "beyond noise" in "".join(ET.fromstring(page.partition("\n")[2]).itertext())  # noqa: S314 -- the test's own page


def test_unlike_loads_are_compared_only_with_a_warning_that_names_them(tmp_path: Path) -> None:
    document = to_json(real_report())
    other = slower(document)
    other["arguments"] |= {"inputTokens": 512, "outputTokens": 8}
    other["runs"] = [{**other["runs"][0], "concurrency": number} for number in (8, 16, 32)]
    answer = run("bench", "--compare", written(tmp_path, "a", document), written(tmp_path, "b", other), "-o", "json")
    assert answer.status == 0
    assert answer.err.startswith("kubectl llama: warning: The two were not asked the same: input tokens, output tokens, the loads differ")
    found = json.loads(answer.out)
    assert (found["unlike"], found["pairs"][0]["alike"], found["unpaired"]) == (True, False, ["b: 32 at once"])
    assert {each["name"]: (each["a"], each["b"]) for each in found["differences"] if each["of"] == "load"}["input tokens"] == ("64", "512")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("[1]", "no LlamaBenchReport"),
        ("{}", "no LlamaBenchReport"),
        ('{"kind": "LlamaBenchReport", "schemaVersion": 2}', "of schemaVersion 2"),
        ('{"kind": "LlamaBenchReport", "schemaVersion": 1}', "whose startedAt is wrong: Field required"),
        ("[" * 100_000, "no JSON: it is too deep"),
        ("\x00", "no JSON"),
    ],
)
def test_a_file_that_is_no_report_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert_refused(("bench", "--compare", str(path), str(path)), [says])


def test_what_is_wrong_about_a_comparison_is_said(tmp_path: Path) -> None:
    assert_refused(("bench", "--compare", "nowhere.json", "nowhere.json"), ['"nowhere.json" (No such file or directory)'])
    assert_refused(("bench", "demo", "--compare", "a", "b", "--requests", "3"), ["--compare: it and NAME, --requests is given"])
    assert_refused(("bench", "--compare", "a", "b", "-o", "yaml"), ["allowed is table, json or html"])
    answer = run("bench", "--compare", "a")
    assert (answer.status, "expected 2 arguments" in answer.err) == (1, True)


def test_a_report_with_the_texts_of_a_stranger_moves_no_terminal_and_leaves_no_element(tmp_path: Path) -> None:
    document = to_json(real_report())
    document["deployment"]["model"] = "</script><b>\x1b[2J"
    pair = written(tmp_path, "a", document), written(tmp_path, "b", slower(document))
    document["deployment"]["image"] = "\x9b2J"
    assert "\x1b" not in run("bench", "--compare", *pair).out
    page = run("bench", "--compare", *pair, "-o", "html").out
    assert "<b>" not in page
