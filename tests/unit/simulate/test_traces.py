"""Traces are read line by line, and a bad line is named with its number and a remedy."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from statistics import fmean, pstdev

import pytest

from llama_operator.simulate.generate import CODE, CONVERSATION, Mix, bursty, diurnal_week, flash_crowd, poisson
from llama_operator.simulate.service import Request
from llama_operator.simulate.traces import BadTraceError, begun_at, read_trace, superpose

AZURE = ["TIMESTAMP,ContextTokens,GeneratedTokens\n", "2023-11-16 18:15:46.6805900,374,44\n", "2023-11-16 18:15:50.9951690,396,109"]
CSV = "arrival_seconds,input_tokens,output_tokens"


def test_azure_rows_count_from_the_first() -> None:
    first, second = read_trace(AZURE, "azure")
    assert first == Request(0.0, 374.0, 44.0)
    assert second == (pytest.approx(4.314579), 396.0, 109.0)


def test_azure_rows_may_name_their_zone_and_those_that_name_none_are_of_utc() -> None:
    lines = [
        AZURE[0],
        "2024-05-10 00:00:00.009930+00:00,2162,5\n",
        "2024-05-10 00:00:01+00:00,1,1\n",
        "2024-05-10 00:00:02.0099300,1,1\n",
        "2024-05-10T02:00:03.00993+02:00,1,1\n",
        "2024-05-09 18:30:04.00993-0530,1,1\n",
        "2024-05-10T00:00:05.00993Z,1,1\n",
    ]
    assert [request.arrival for request in read_trace(lines, "azure")] == pytest.approx([0.0, 0.99007, 2.0, 3.0, 4.0, 5.0])
    begin = datetime(2024, 5, 10, tzinfo=UTC).timestamp()
    for line, after in zip(lines[1:], (0.00993, 1.0, *(second + 0.00993 for second in (2, 3, 4, 5))), strict=True):
        assert begun_at([lines[0], line], "azure") == pytest.approx(begin + after, abs=1e-5)


def test_mooncake_rows_are_in_milliseconds() -> None:
    lines = [
        '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}',
        '{"timestamp": 3052, "input_length": 7, "output_length": 1}',
    ]
    assert list(read_trace(lines, "mooncake")) == [Request(0.0, 6758.0, 500.0), Request(3.052, 7.0, 1.0)]


def test_gaps_and_empty_lines_are_no_fault() -> None:
    assert [request.arrival for request in read_trace(["\ufeff" + CSV, "5,1,1", "", "90005,1,1\r\n"], "csv")] == [0.0, 90000.0]


@pytest.mark.parametrize(
    ("form", "lines", "said"),
    [
        ("azure", [], "--trace: no request is given; allowed is at least one request."),
        ("azure", AZURE[:1], "--trace: no request is given; allowed is at least one request."),
        ("azure", ["a,b,c"], '--trace line 1: "a,b,c" is given; allowed is the header TIMESTAMP'),
        ("azure", [AZURE[0], AZURE[2], AZURE[1]], "line 3: "),
        ("azure", [AZURE[0], "yesterday,1,1"], 'line 2: "yesterday" is given'),
        ("azure", [AZURE[0], "2024-05-10 00:00:00+25:00,1,1"], 'line 2: "2024-05-10 00:00:00+25:00" is given'),
        ("azure", [AZURE[0], "2024-05-10 00:00:00+00:00,1,1", "2024-05-10 00:30:00+01:00,1,1"], "line 3: "),
        ("csv", [CSV, "0,1,1", "", "-1,1,1"], "line 4: -1 s is given"),
        ("csv", [CSV, "0,1,1", "99999999,1,1"], "line 3: 1e+08 s is given; allowed is a time of at most 366 days after the first"),
        ("csv", [CSV, "0,0,1"], 'line 2: "0" is given; allowed is a whole number of prompt tokens'),
        ("csv", [CSV, "0,1,-3"], "whole number of output tokens"),
        ("csv", [CSV, "0,1,99999999999999999999"], "from 1 to 10000000"),
        ("csv", [CSV, "0,1"], "three fields"),
        ("csv", [CSV, "nan,1,1"], "a finite number as the time"),
        ("mooncake", ["{"], 'line 1: "{" is given; allowed is a JSON object'),
        ("mooncake", ["[1]"], "a JSON object"),
        ("mooncake", ['{"timestamp": 1, "input_length": 2.5, "output_length": 1}'], "line 1: 2.5 is given"),
        ("mooncake", ['{"timestamp": 1, "input_length": 2}'], "line 1: nothing is given"),
        ("parquet", [], '--format: "parquet" is given; allowed is one of azure, mooncake, csv'),
    ],
)
def test_what_cannot_be_replayed_is_named(form: str, lines: list[str], said: str) -> None:
    with pytest.raises(BadTraceError) as caught:
        list(read_trace(lines, form))
    assert said in caught.value.problem.message
    assert caught.value.problem.remedy


def test_copies_are_merged_in_order_each_later_than_the_one_before() -> None:
    rows = [Request(0.0, 1.0, 1.0), Request(10.0, 2.0, 2.0)]
    assert [request.arrival for request in superpose(lambda: rows, 3)] == [0.0, 7.3, 10.0, 14.6, 17.3, 24.6]


def test_a_trace_is_not_read_ahead() -> None:
    endless = itertools.chain([CSV], (f"{second},1,1" for second in itertools.count()))
    assert len(list(itertools.islice(read_trace(endless, "csv"), 3))) == 3


@pytest.mark.parametrize("mix", [CONVERSATION, CODE])
def test_generated_lengths_are_as_published(mix: Mix) -> None:
    requests = list(poisson(mix, 20_000 / mix.rate, seed=1))
    assert len(requests) == pytest.approx(20_000, rel=0.03)
    for lengths, drawn in ((mix.prompt, sorted(r.prompt for r in requests)), (mix.output, sorted(r.output for r in requests))):
        assert fmean(drawn) == pytest.approx(lengths.mean, rel=0.05)
        assert drawn[len(drawn) * 99 // 100] == pytest.approx(lengths.p99, rel=0.1)


def test_bursts_vary_as_published() -> None:
    times = [request.arrival for request in bursty(CONVERSATION, 4000, seed=1)]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pstdev(pauses) / fmean(pauses) == pytest.approx(CONVERSATION.cv, rel=0.05)


def test_a_flash_crowd_is_as_large_as_asked() -> None:
    times = [request.arrival for request in flash_crowd(CONVERSATION, 1200, seed=1, at=600, times=5, lasts=300)]
    assert sum(600 <= time < 900 for time in times) / sum(300 <= time < 600 for time in times) == pytest.approx(5, rel=0.1)


def test_a_day_has_its_peak_in_the_afternoon() -> None:
    times = [request.arrival for request in diurnal_week(replace(CONVERSATION, rate=1.0), seed=1, seconds=16 * 3600)]
    early, late = (sum(start <= time < start + 7200 for time in times) for start in (3600, 13 * 3600))
    assert late / early == pytest.approx(4, rel=0.1)


def test_the_same_seed_is_the_same_traffic() -> None:
    assert list(bursty(CODE, 600, seed=3)) == list(bursty(CODE, 600, seed=3)) != list(bursty(CODE, 600, seed=4))
