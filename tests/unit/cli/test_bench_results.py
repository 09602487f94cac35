"""What the load tool found, as a report says it: the real tool's own results, and what could not be measured."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from tests.harness.bench import FAILURES, REAL, real_runs, said

from llama_operator.cli import bench_driver
from llama_operator.cli.bench_build import CUT, NoResultError, goodput, objectives_of, peak, run_report
from llama_operator.cli.bench_compare import verdict
from llama_operator.cli.bench_document import Percentile
from llama_operator.cli.bench_log import read_log
from llama_operator.cli.bench_question import Load
from llama_operator.cli.bench_statistics import interval, percentile


def test_percentiles_are_those_that_the_tool_computed_itself() -> None:
    log = said(REAL)
    for index, report in enumerate(real_runs()):
        numbers = log.result(index)["numbers"]
        for field, short in (
            ("time_to_first_token", "ttft"),
            ("time_per_output_token", "tpot"),
            ("inter_token", "itl"),
            ("end_to_end", "e2el"),
        ):
            times = getattr(report, field)
            for name in ("p50", "p90", "p95", "p99"):
                assert getattr(times, name).value == pytest.approx(numbers[f"{name}_{short}_ms"] / 1000, abs=2e-6), (field, name)
            assert times.mean == pytest.approx(numbers[f"mean_{short}_ms"] / 1000, abs=2e-6)
        assert report.output_tokens_per_second == pytest.approx(numbers["output_throughput"])
        assert report.requests_per_second == pytest.approx(numbers["request_throughput"])
        assert (report.prompt_tokens, report.output_tokens) == (12 * 64, 12 * 16)
        assert sum(count for *_, count in report.gaps) == 12 * 15
    assert log.tool == "0.29.0"


def test_every_prompt_had_as_many_tokens_as_was_asked() -> None:
    assert {sample[3] for report in real_runs() for sample in report.samples} == {64}


def test_the_closed_load_kept_its_concurrency_and_the_open_one_its_rate() -> None:
    closed, opened = real_runs()
    assert closed.peak_in_flight == 4
    assert opened.concurrency is None
    assert max(sample[0] or 0 for sample in opened.samples) == pytest.approx(12 / 4, rel=0.3)


def test_what_failed_is_counted_and_not_measured() -> None:
    log = said(FAILURES)
    report = run_report(Load(requests=6, concurrency=1), log.result(0), 0.0, 4, (1.0, None))
    assert (report.requests, report.completed) == (6, 2)
    assert {each.message: each.count for each in report.failures} == {"Service Unavailable": 3, CUT: 1}
    assert [sample[1] is None for sample in report.samples] == [False, True, True, True, False, True]
    assert report.goodput is not None
    assert report.goodput.share == pytest.approx(2 / 6)
    assert any("4 of 6 requests failed" in note for note in report.notes)


def test_what_was_not_measured_is_null_and_said() -> None:
    """The tool's own result has zeros there."""
    found = {
        "numbers": {"duration": 2.0, "completed": 0, "p50_itl_ms": 0.0, "mean_ttft_ms": 0.0, "output_throughput": 0.0},
        "requests": [[0.0, None, None, 8, None]] * 3,
        "gaps": {},
        "errors": {"Bad Gateway": 3},
    }
    report = run_report(Load(requests=3, concurrency=1), found, 0.0, 4, (1.0, 0.1))
    unmeasured = ("requests_per_second", "output_tokens", "output_tokens_per_second", "time_to_first_token", "inter_token", "end_to_end")
    assert [getattr(report, field) for field in unmeasured] == [None] * len(unmeasured)
    assert report.notes[0] == "No request was answered: times, tokens and rates were not measured."
    one = {**found, "numbers": {"duration": 2.0, "completed": 1}, "requests": [[0.0, 0.5, 0.5, 8, 1]], "errors": {}}
    single = run_report(Load(requests=1, concurrency=1), one, 0.0, 1, (None, None))
    assert (single.inter_token, single.time_per_output_token, single.goodput) == (None, None, None)
    assert any("the time between tokens was not measured" in note for note in single.notes)
    assert any("goodput was not computed" in note for note in single.notes)


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": {}},
        {"numbers": {"duration": 0.0, "completed": 0}},
        {"requests": []},
        {"requests": [[0.0]] * 3},
        {"requests": None},
        {"numbers": {"duration": 1.0, "completed": 3}},
    ],
)
def test_a_result_that_does_not_agree_with_itself_is_no_result(change: dict[str, Any]) -> None:
    found = {"numbers": {"duration": 2.0, "completed": 0}, "requests": [[0.0, None, None, 8, None]] * 3, "gaps": {}, "errors": {}, **change}
    with pytest.raises(NoResultError):
        run_report(Load(requests=3, concurrency=1), found, 0.0, 4, (None, None))


def test_a_log_in_which_others_write_or_that_is_cut_is_read_as_far_as_it_goes() -> None:
    lines = REAL.read_text(encoding="utf-8").splitlines()
    noise = [
        "INFO 11-21 x",
        f"{bench_driver.MARK}not json",
        f"{bench_driver.MARK}[1]",
        f'{bench_driver.MARK}{{"event": "progress"}}',
        "\x1b[2J",
    ]
    assert read_log([line for pair in zip(noise, lines, strict=False) for line in pair] + lines).result(0) == said(REAL).result(0)
    cut = read_log([line for line in lines if '"index": 1' not in line])
    assert (cut.result(0) is None, cut.result(1), cut.over) == (False, None, True)
    for data in ("!", "", b64encode(b"no zlib").decode()):
        broken = {"event": "result", "index": 0, "part": 0, "of": 1, "data": data}
        assert read_log([f"{bench_driver.MARK}{json.dumps(broken)}"]).result(0) is None


def test_goodput_counts_what_kept_every_objective() -> None:
    samples = [[0.0, 0.1, 1.1, 8, 11], [0.0, 0.5, 0.6, 8, 11], [0.0, 0.1, 3.1, 8, 11], [0.0, None, None, 8, None], [0.0, 0.1, 0.1, 8, 1]]
    found = goodput(samples, 2.0, (0.2, 0.1))
    assert found is not None
    assert (found.share, found.requests_per_second) == (2 / 5, 1.0)
    assert goodput(samples, 2.0, (None, None)) is None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, (None, None)),
        ({"objectives": {"interTokenSeconds": 0.05}}, (None, 0.05)),
        ({"autoscaling": {"objective": {"timeToFirstTokenSeconds": 6}}}, (6, None)),
        ({"objectives": {"timeToFirstTokenSeconds": 2}, "autoscaling": {"objective": {"timeToFirstTokenSeconds": 6}}}, (2, None)),
    ],
)
def test_objectives_are_the_deployments(spec: dict[str, Any], expected: tuple[float | None, float | None]) -> None:
    assert objectives_of(spec) == expected


def test_one_that_ends_as_another_begins_is_not_under_way_with_it() -> None:
    assert peak([[0.0, 0.1, 1.0, 1, 1], [1.0, 0.1, 1.0, 1, 1], [1.5, 0.1, 0.2, 1, 1]]) == 2


def test_percentiles_and_their_intervals() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 50.5
    assert percentile([3.0], 0.99) == 3.0
    # The 40th and 61st of 100, as in tables of the interval of a median.
    assert interval(values, 0.5) == (40.0, 61.0)
    assert interval(values[:50], 0.99)[1] is None
    assert interval(values[:3], 0.5) == (None, None)


def test_the_interval_holds_the_true_percentile_as_often_as_it_says() -> None:
    """Of uniform draws from a seed: at least 95 of 100 times, less what 2,000 trials may miss by."""
    import random

    chance, held = random.Random(11), 0  # noqa: S311 -- draws that must repeat
    for _ in range(2000):
        low, high = interval(sorted(chance.random() for _ in range(60)), 0.9)
        held += (low is None or low <= 0.9) and (high is None or high >= 0.9)
    assert held / 2000 >= 0.94


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1, 2), (1.5, 3), "within noise"),
        ((1, 2), (2.5, 3), "beyond noise"),
        ((4, 5), (2.5, 3), "beyond noise"),
        ((1, None), (2, 3), "not known"),
        ((None, 2), (2.5, None), "beyond noise"),
        ((None, None), (None, None), "not known"),
    ],
)
def test_only_what_the_intervals_say_is_said(a: tuple[Any, Any], b: tuple[Any, Any], expected: str) -> None:
    assert verdict(*(Percentile(value=2.0, low=low, high=high) for low, high in (a, b))) == expected
    assert verdict(None, Percentile(value=1, low=1, high=1)) == "not known"
