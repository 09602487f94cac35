"""The page of a simulation: well-formed, of itself alone, with the document in it, named and labelled; and a browser draws it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from tests.harness.command import run

from llama_operator.cli.simulate_page import STYLE
from llama_operator.cli.simulate_svg import LEFT, TOP, WIDTH, Axis, chart, log_axis, time_axis, value_axis

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "llama-8b-1gpu.yaml"
ASKED = (
    "simulate", "--generate", "flash", "--hours", "0.02", "--load-seconds", "30", "--policy", "ours,hpa,static:3,clairvoyant",
    "-f", str(EXAMPLE), "--max", "9", "--service", "prefill=4900,slots=64,itl=0.1,kv=681000",
)  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def text() -> str:
    answer = run(*ASKED, "-o", "html")
    assert (answer.status, answer.err) == (0, "")
    return answer.out


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*ASKED, "-o", "json").out)
    return found


def parsed(text: str) -> Element:
    return ET.fromstring(text.partition("\n")[2])  # noqa: S314 -- the test's own page, made a moment ago


@pytest.fixture(scope="module")
def page(text: str) -> Element:
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    return parsed(text)


def charts(page: Element) -> list[Element]:
    return list(page.iter("svg"))


def test_it_needs_nothing_but_itself(text: str, page: Element) -> None:
    assert re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|\bhref=", text) is None
    assert [script.get("type") for script in page.iter("script")] == ["application/json"]
    assert {"link", "img", "iframe", "object", "base"}.isdisjoint(element.tag for element in page.iter())
    assert not [name for element in page.iter() for name in element.attrib if name.startswith("on")]


def test_its_figures_are_the_document(page: Element, document: dict[str, Any]) -> None:
    (script,) = page.iter("script")
    assert script.get("id") == "figures"
    assert json.loads(script.text or "") == document
    asked, changed = ([["".join(cell.itertext()) for cell in row] for row in table.iter("tr")][1:] for table in page.iter("table"))
    assert [row[0] for row in asked] == [each["policy"] for each in document["runs"] if "@" not in each["policy"]]
    assert [row[0] for row in changed] == [
        "minReplicas: 0", "minReplicas: 2", "maxReplicas: 8", "maxReplicas: 10", "inFlightPerReplica: 12", "inFlightPerReplica: 20",
    ]  # fmt: skip
    for row, each in zip([*asked, *changed], document["runs"], strict=True):
        assert row[1:3] == [f"{each['attainment']:.2%}", f"{each['replicaSeconds'] / 3600:,.2f}"]


def test_the_document_is_the_same_to_a_reader_of_html(text: str, document: dict[str, Any]) -> None:
    """Who knows no XML takes a script's text as it stands: nothing in it may need to be decoded."""
    raw = text.partition('id="figures">')[2].partition("</script>")[0]
    assert "&" not in raw
    assert json.loads(raw) == document


def test_every_chart_has_a_name_a_description_and_labelled_axes(page: Element) -> None:
    assert len(charts(page)) == 1 + 2 + 2 * 4
    for each in charts(page):
        ids = (each.get("aria-labelledby") or "").split()
        named = {element.get("id"): element.text for element in each if element.tag in {"title", "desc"}}
        assert each.get("role") == "img"
        assert list(named) == ids
        assert all(named.values())
        labels = [element.text or "" for element in each if element.get("class") == "axis"]
        assert len(labels) == 2
        assert all(re.search(r"since|/ s|seconds|replica|%", label) for label in labels)
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_every_policy_has_its_replicas_and_times_to_first_token(page: Element) -> None:
    titles = [title.text for each in charts(page) for title in each if title.tag == "title"]
    assert titles[:3] == ["Attainment against replica-hours", "Requests a second", "Tokens a second"]
    policies = ("ours", "hpa", "static:3", "clairvoyant")
    expected = [f"{what} under {name}" for name, what in itertools.product(policies, ("Replicas", "Time to first token"))]
    assert titles[3:] == expected
    assert [heading.text for heading in page.iter("h2")][-4:] == list(policies)


def test_every_run_is_a_point_between_attainment_and_cost(page: Element, document: dict[str, Any]) -> None:
    points = [circle.find("title") for circle in charts(page)[0].iter("circle")]
    said = {point.text for point in points if point is not None}
    wanted = {
        f"{each['policy']}: {each['attainment']:.2%} for {each['replicaSeconds'] / 3600:.2f} replica-hours" for each in document["runs"]
    }
    assert said == wanted


def test_nothing_is_drawn_outside_its_frame(page: Element) -> None:
    for each in charts(page):
        height = float((each.get("viewBox") or "").split()[3])
        for path in each.iter("path"):
            for x, y in re.findall(r"[ML](-?[\d.]+),(-?[\d.]+)", path.get("d") or ""):
                assert LEFT - 0.1 <= float(x) <= WIDTH
                assert TOP - 0.1 <= float(y) <= height


def test_every_class_that_is_used_has_a_style_and_both_schemes_have_every_colour(page: Element) -> None:
    used = {name for element in page.iter() for name in (element.get("class") or "").split()} - {"label", "key"}
    assert [name for name in sorted(used) if f".{name}" not in STYLE] == []
    light, dark = (set(re.findall(r"(--\w+):", part)) for part in STYLE.split("@media")[:2])
    assert light == set(re.findall(r"(--\w+):", STYLE.split("@media")[1]))
    assert dark <= light
    assert set(re.findall(r"var\((--\w+)\)", STYLE)) <= light


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_the_background(scheme: int) -> None:
    """Contrast of 4.5 for text and 3 for marks where a colour alone bears them (WCAG 2.1, 1.4.3 and 1.4.11); areas also have a legend."""
    part = STYLE.split("@media")[scheme].split("body {")[0]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part))
    back = luminance(colours["back"])
    for name, least in {"ink": 4.5, "soft": 4.5, "ready": 3, "p50": 3, "p95": 3, "limit": 3, "loading": 2.5}.items():
        low, high = sorted((luminance(colours[name]), back))
        assert (high + 0.05) / (low + 0.05) >= least, name


def test_names_that_are_markup_or_no_characters_stay_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trace = Path("a<b>&'\"\x01<script>")
    trace.write_text("arrival_seconds,input_tokens,output_tokens\n0,10,10\n", encoding="utf-8")
    answer = run("simulate", "--trace", str(trace), "--load-seconds", "1", "--policy", "ours", "-o", "html")
    assert (answer.status, answer.err) == (0, "")
    heading = parsed(answer.out).find("body/h1")
    assert heading is not None
    assert "a<b>&'\"\ufffd<script>" in (heading.text or "")


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(label="", least=0, most=10), ["0", "2", "4", "6", "8", "10"]),
        (Axis(label="", least=0.9123, most=1.0004, scale=0.01), ["92", "94", "96", "98", "100"]),
        (value_axis("", 0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (log_axis("", [0.3, 70]), ["0.1", "1", "10", "100"]),
        (log_axis("", []), ["0.1", "1"]),
        (time_axis(3600), ["0", "10", "20", "30", "40", "50", "60"]),
        (time_axis(604_800), ["0", "1", "2", "3", "4", "5", "6", "7"]),
        (time_axis(0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[str]) -> None:
    assert [axis.text(value) for value in axis.ticks()] == ticks


def test_a_gap_breaks_a_line_and_a_point_alone_is_still_there() -> None:
    frame = chart("x", "t", "d", Axis(label="x", least=0, most=4), Axis(label="y", least=0, most=1))
    frame.line([(0, 0.5), (1, None), (2, 0.5), (3, 1.0)], "p50")
    (path,) = frame.root.iter("path")
    assert (path.get("d") or "").count("M") == 2
    assert (path.get("d") or "").count("L") == 1


def test_a_browser_draws_it(text: str, tmp_path: Path) -> None:
    """Every chart has a size, the figures are there, nothing was asked of a network, and a narrow window does not scroll sideways."""
    browser = os.environ.get("LLAMA_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(
            f"LLAMA_BROWSER is not set and none of {', '.join(BROWSERS)} is installed; `python -m localcluster browser` fetches one"
        )
    probe = (
        "<script>addEventListener('load', () => { const boxes = [...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect());"
        "const said = {charts: boxes.filter(b => b.width > 300).filter(b => b.height > 60).length,"
        "loaded: performance.getEntriesByType('resource').length,"
        "wide: document.documentElement.scrollWidth > innerWidth, runs: JSON.parse(document.getElementById('figures').textContent).runs.length};"
        "document.title = JSON.stringify(said); });</script>"
    )
    path = tmp_path / "page.html"
    # The page's own policy would not run the probe, which is what it is for.
    open_to_it = text.replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    path.write_text(open_to_it.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=500,900",
        f"--user-data-dir={tmp_path}/p",
    )
    done = subprocess.run([browser, *flags, "--dump-dom", f"file://{path}"], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode or "<title>" not in done.stdout:
        pytest.skip(f"{browser} does not run here: {done.stderr[-300:]}")
    said = json.loads(done.stdout.partition("<title>")[2].partition("</title>")[0])
    assert said == {"charts": 11, "loaded": 0, "wide": False, "runs": 10}
