"""`kubectl llama simulate` replays what it is given, tells what every policy attains and costs, and names whatever is wrong."""

from __future__ import annotations

import argparse
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.harness.command import Answer, assert_refused, compare, run

from llama_operator.cli.simulate_numbers import BOUNDS, read_numbers
from llama_operator.cli.simulate_progress import EVERY, Progress, duration
from llama_operator.simulate.document import SimulationDocument
from llama_operator.simulate.service import Request

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "deploy" / "examples"
HEADER = "arrival_seconds,input_tokens,output_tokens"
SHORT = ("simulate", "--generate", "conversation", "--hours", "0.02", "--load-seconds", "30")
ALL = "ours,hpa,keda,kpa,ray,aibrix,static:3,clairvoyant"
KEYS = [
    "policy", "requests", "attainment", "replicaSeconds", "meanReplicas", "ttft", "scaleEvents", "unserved", "attainmentVsClairvoyant",
    "replicaSecondsVsClairvoyant",
]  # fmt: skip


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Half a minute of a request a second."""
    path = tmp_path / "trace.csv"
    path.write_text("\n".join([HEADER, *(f"{second},900,40" for second in range(30))]) + "\n", encoding="utf-8")
    return path


def runs(answer: Answer) -> list[dict[str, Any]]:
    assert (answer.status, answer.err) == (0, "")
    document = json.loads(answer.out)
    assert list(document) == ["schemaVersion", "runs"]
    assert document["schemaVersion"] == 1
    SimulationDocument.model_validate(document, by_alias=True, by_name=False)
    found: list[dict[str, Any]] = document["runs"]
    return found


def replay(path: Path, *more: str) -> list[dict[str, Any]]:
    return runs(run("simulate", "--trace", str(path), "--load-seconds", "20", "--policy", "static:2", "-o", "json", *more))


def test_every_policy_is_a_run_of_the_agreed_document() -> None:
    found = runs(run(*SHORT, "--policy", ALL, "-o", "json"))
    assert [each["policy"] for each in found] == ALL.split(",")
    assert all(list(each) == KEYS and list(each["ttft"]) == ["p50", "p95", "p99"] for each in found)
    assert len({each["requests"] for each in found}) == 1
    assert found[-1]["attainmentVsClairvoyant"] == found[-1]["replicaSecondsVsClairvoyant"] == 1


def test_a_table_says_what_was_replayed_and_what_came_of_it() -> None:
    answer = run(*SHORT, "--policy", "ours,static:3,clairvoyant", "--seed", "3")
    assert (answer.status, answer.err) == (0, "")
    assert [line for line in answer.out.splitlines() if len(line) > 110 or line != line.rstrip()] == []
    lines = answer.out.splitlines()
    assert lines[0] == "Simulated scaling: generated conversations as of Azure 2023"
    for words in ("1 to 24 replicas", "30 s to load", "scraped every 15 s", "4,900 prompt tokens/s, 64 slots", "a first token within 6 s"):
        assert words in answer.out
    assert [line.split()[0] for line in lines if line.strip().startswith(("ours", "static", "clairvoyant "))] == [
        "ours",
        "static:3",
        "clairvoyant",
    ]


def test_a_narrow_terminal_is_shown_fewer_numbers_and_none_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_operator.cli.output.PLAIN_WIDTH", 80)
    answer = run(*SHORT, "-f", str(EXAMPLES / "llama-70b-tp4.yaml"), "--policy", "ours,static:3,clairvoyant")
    assert answer.status == 0
    assert "…" not in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80


def test_without_a_policy_all_are_compared() -> None:
    found = runs(run(*SHORT, "-o", "json"))
    assert [each["policy"] for each in found] == ["ours", "hpa", "keda", "kpa", "ray", "aibrix", "aibrix-kpa", "clairvoyant"]


def test_the_same_seed_is_the_same_answer_and_another_is_another() -> None:
    first, again, other = (run(*SHORT, "--policy", "ours", "-o", "json", "--seed", seed, "--load-spread", "0.5").out for seed in "112")
    assert first == again != other


def test_a_file_is_read_in_each_format_plain_gzipped_and_from_the_standard_input(tmp_path: Path, trace: Path) -> None:
    told = replay(trace)
    azure = [f"2023-11-16 18:15:{second:02d}.0000000,900,40" for second in range(30)]
    mooncake = [json.dumps({"timestamp": second * 1000, "input_length": 900, "output_length": 40}) for second in range(30)]
    for name, lines in {"azure": ["TIMESTAMP,ContextTokens,GeneratedTokens", *azure], "mooncake": mooncake}.items():
        path = tmp_path / name
        path.write_text("\n".join(lines), encoding="utf-8")
        assert replay(path) == replay(path, "--format", name) == told
    zipped = tmp_path / "trace.csv.gz"
    zipped.write_bytes(gzip.compress(trace.read_bytes()))
    assert replay(zipped) == told
    for data in (trace.read_bytes(), zipped.read_bytes()):
        argv = ("simulate", "--trace", "-", "--load-seconds", "20", "--policy", "static:2", "-o", "json")
        assert runs(run(*argv, stdin=data)) == told


def test_copies_are_so_many_requests_more(trace: Path) -> None:
    assert replay(trace, "--copies", "3")[0]["requests"] == 90
    table = run("simulate", "--trace", str(trace), "--load-seconds", "0", "--copies", "3", "--policy", "static:1").out
    assert "90 requests in 44 s, 3 copies at once" in table


def test_a_trace_with_a_long_gap_is_replayed_with_it(tmp_path: Path) -> None:
    path = tmp_path / "gap.csv"
    path.write_text(f"{HEADER}\n0,100,10\n86400,100,10\n", encoding="utf-8")
    (told,) = replay(path)
    assert (told["requests"], told["unserved"]) == (2, 0)
    assert told["replicaSeconds"] > 86_400


def test_a_request_longer_than_the_cache_is_unserved_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(f"{HEADER}\n0,100,10\n1,900000,10\n", encoding="utf-8")
    (told,) = replay(path)
    assert (told["unserved"], told["attainment"], told["ttft"]["p99"]) == (1, 0.5, None)


def test_bounds_are_kept(trace: Path) -> None:
    found = runs(
        run("simulate", "--trace", str(trace), "--load-seconds", "0", "--copies", "9", "--policy", "aibrix", "--max", "2", "-o", "json")
    )
    assert 0 < found[0]["meanReplicas"] <= 2
    assert replay(trace, "--initial", "24")[0]["scaleEvents"] == 1


def test_a_peers_target_can_be_given_and_another_is_the_runs() -> None:
    by_name = runs(run(*SHORT, "--policy", "hpa:9,hpa", "--target", "30", "-o", "json"))
    by_option = runs(run(*SHORT, "--policy", "hpa", "--target", "9", "-o", "json"))
    assert [each["policy"] for each in by_name] == ["hpa:9", "hpa"]
    assert by_name[0] | {"policy": "hpa"} == by_option[0] != by_name[1]


def test_the_answer_is_written_to_a_file_where_one_is_named(tmp_path: Path) -> None:
    for form in ("json", "html", "table"):
        path = tmp_path / form
        path.mkdir()
        answer = run(*SHORT, "--policy", "ours", "-o", form, "--output", str(path / "answer"))
        assert (answer.status, answer.out, answer.err) == (0, "", "")
        assert (path / "answer").read_text(encoding="utf-8") == run(*SHORT, "--policy", "ours", "-o", form).out


def test_a_file_gives_bounds_objective_and_replica_and_says_what_one_more_would_change() -> None:
    argv = (
        "simulate", "--generate", "conversation", "--hours", "0.02", "--load-seconds", "30", "--copies", "3", "--policy", "ours,clairvoyant",
        "-f", str(EXAMPLES / "llama-70b-tp4.yaml"),
    )  # fmt: skip
    answer = run(*argv)
    assert (answer.status, answer.err) == (0, "")
    compare("simulate-from-a-file.txt", answer.out.replace(str(ROOT), ""))
    found = runs(run(*argv, "-o", "json"))
    assert [each["policy"] for each in found] == [
        "ours", "clairvoyant", "ours@min=0", "ours@min=2", "ours@max=3", "ours@max=5", "ours@target=36", "ours@target=60",
        "ours@accelerator=nvidia-a100-80gb", "ours@accelerator=nvidia-h100-nvl-94gb",
    ]  # fmt: skip


def test_options_count_more_than_the_file() -> None:
    answer = run(
        *SHORT, "-f", str(EXAMPLES / "llama-70b-tp4.yaml"), "--policy", "ours", "--max", "9", "--target", "7", "--service", "slots=5"
    )
    for words in ("1 to 9 replicas", "7 requests in flight for each replica", " 5 slots", "nvidia-h100-80gb", "but for --service"):
        assert words in answer.out


def test_a_file_of_the_simulated_engine_is_its_own_model() -> None:
    answer = run(*SHORT, "-f", str(EXAMPLES / "simulated.yaml"), "--policy", "ours", "--max", "3")
    assert (answer.status, answer.err) == (0, "")
    assert "no limit of KV cache; as the simulated engine's arguments say" in " ".join(answer.out.split())


def test_a_file_whose_model_is_not_here_needs_a_model_or_numbers() -> None:
    argv = (*SHORT, "-f", str(EXAMPLES / "llama-405b-fp8-tp8.yaml"), "--policy", "ours")
    refused = run(*argv)
    assert (refused.status, refused.out) == (1, "")
    assert "Add --model meta-llama/Llama-3.1-405B-Instruct-FP8" in refused.err
    numbers = run(*argv, "--service", "prefill=4900,slots=64,itl=0.1,kv=681000")
    assert numbers.status == 0
    assert "as --service gives it" in " ".join(numbers.out.split())
    assert "at 40% of the data sheet's rates" in " ".join(run(*argv, "--model", "meta-llama/Llama-3.1-405B-Instruct-FP8").out.split())


def test_a_file_is_planned_over_as_many_nodes_as_the_operator_would_take() -> None:
    answer = run(
        *SHORT, "-f", str(EXAMPLES / "llama-405b-bf16-tp8pp2.yaml"), "--model", "meta-llama/Llama-3.1-405B-Instruct", "--policy", "ours"
    )
    assert (answer.status, answer.err) == (0, "")
    assert "planned on 16 nvidia-h100-80gb" in " ".join(answer.out.split())


def test_a_file_that_does_not_fit_is_refused_in_the_operators_words(tmp_path: Path) -> None:
    text = (EXAMPLES / "llama-70b-tp4.yaml").read_text(encoding="utf-8").replace("tensor: 4", "tensor: 1\n    pipeline: 1")
    (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
    answer = run(*SHORT, "-f", str(tmp_path / "small.yaml"), "--policy", "ours")
    assert (answer.status, answer.out) == (1, "")
    assert "spec.parallelism" in answer.err


def test_where_only_ascii_can_be_shown_the_document_still_is() -> None:
    answer = run(*SHORT, "--policy", "ours", "-o", "json", encoding="ascii")
    assert runs(answer)


REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "nothing asked": (
        ("simulate",),
        ("--load-seconds: nothing is given", "--trace: nothing is given; allowed is one of --trace, --generate, --from-prometheus"),
    ),
    "two kinds of traffic": ((*SHORT, "--trace", "x.csv"), ("--trace: --trace and --generate is given", "Remove the others.")),
    "an unknown policy": (
        (*SHORT, "--policy", "ours,kedda"),
        ('--policy: "kedda" is given; allowed is one of ours, hpa', "Did you mean keda?"),
    ),
    "an unknown kind": ((*SHORT[:1], *SHORT[3:], "--generate", "weak"), ('--generate: "weak"', "Did you mean week?")),
    "an unknown format": (
        ("simulate", "--trace", "x", "--format", "azur", "--load-seconds", "1"),
        ('--format: "azur" is given; allowed is one of azure, mooncake, csv. Did you mean azure?',),
    ),
    "contradictory bounds": ((*SHORT, "--min", "5", "--max", "4"), ("--min: 5 is given; allowed is at most --max, 4.",)),
    "a beginning outside the bounds": ((*SHORT, "--max", "4", "--initial", "5"), ("--initial: 5 is given; allowed is a number within",)),
    "a fixed number outside the bounds": ((*SHORT, "--policy", "static:8", "--max", "4"), ('--policy: "static:8" is given',)),
    "a zero objective, and other numbers, all told at once": (
        (
            *SHORT,
            "--slo-ttft",
            "0",
            "--target",
            "-1",
            "--copies",
            "0",
            "--max",
            "0",
            "--scrape",
            "0",
            "--seed",
            "x",
            "--lag",
            "1s",
            "--load-spread",
            "nan",
            "--hours",
            "0",
        ),
        (
            '--slo-ttft: "0" is given; allowed is a number above 0, at most 3600. Correct it.',
            '--target: "-1"',
            '--copies: "0" is given; allowed is a whole number from 1 to 1000',
            '--max: "0"',
            '--scrape: "0"',
            '--seed: "x"',
            '--lag: "1s"',
            '--load-spread: "nan"',
            '--hours: "0"',
        ),
    ),
    "a service that is none": (
        (*SHORT, "--service", "prefill=0,slot=3,itl=fast,kv=1,kv=2"),
        (
            '--service: "slot=3" is given',
            "Did you mean slots=N?",
            '--service itl: "fast" is given; allowed is a number, as in 0.1',
            '--service: "kv=2" is given; allowed is every number once',
            "--service prefill: 0.0 is given",
        ),
    ),
    "no such format of the answer": ((*SHORT, "-o", "yaml"), ('-o: "yaml" is given; allowed is table, json or html',)),
    "a format for a file's name": ((*SHORT, "--output", "html"), ('--output: "html" is given', "Did you mean -o html?")),
    "no such folder": ((*SHORT, "--output", "/no/such/folder/x"), ("--output", "a file in a folder that is there")),
    "a folder to write to": ((*SHORT, "--policy", "ours", "--output", "/"), ('--output: "/" (Is a directory) is given',)),
    "no such file": (
        ("simulate", "--trace", "/no/such/file", "--load-seconds", "1"),
        ('--trace: "/no/such/file" (No such file or directory) is given', "Correct the path."),
    ),
    "a folder": (("simulate", "--trace", "/", "--load-seconds", "1"), ('--trace: "/" (it is a folder) is given',)),
    "no such resource": ((*SHORT, "-f", "/no/such/file"), ('--file: "/no/such/file" (No such file or directory) is given',)),
    "too short a time": (
        (*SHORT[:3], "--hours", "0.00001", "--load-seconds", "1"),
        ("--hours: 1e-05, in which nothing arrives is given; allowed is longer.",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_simulated_is_said_by_option_with_a_remedy(name: str) -> None:
    argv, says = REFUSED[name]
    assert_refused(argv, says)


BAD: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "--trace: no request is given; allowed is at least one request. Take a file that is not empty."),
    "nothing but a header": (f"{HEADER}\n".encode(), "--trace: no request is given"),
    "nothing but empty lines": (b"\n\n \n", "--trace: no request is given"),
    "another header": (b"time,in,out\n0,1,1\n", '--trace line 1: "time,in,out" is given; allowed is one of the headers'),
    "unsorted rows": (f"{HEADER}\n5,1,1\n4,1,1\n".encode(), "--trace line 3: 4 s is given; allowed is a time not before"),
    "zero tokens": (f"{HEADER}\n0,0,1\n".encode(), '--trace line 2: "0" is given; allowed is a whole number of prompt tokens'),
    "absurd tokens": (f"{HEADER}\n0,1,99999999\n".encode(), "output tokens from 1 to 10000000"),
    "half a row": (f"{HEADER}\n0,1\n".encode(), "--trace line 2: "),
    "no text": (f"{HEADER}\n".encode() + b"\xff\xfe\n", "--trace line 2: a line whose byte 1 is no UTF-8 is given"),
    "a line without an end": (f"{HEADER}\n".encode() + b"1" * (2 << 20), "--trace line 2: a longer line is given"),
    "half a gzip file": (gzip.compress(f"{HEADER}\n0,1,1\n".encode())[:-6], "(its gzip stream is broken: "),
    "a gzip file of something else": (gzip.compress(b"\x00" * 10), "--trace line 1: "),
    "a broken gzip file": (b"\x1f\x8b" + b"x" * 60, "(its gzip stream is broken: "),
}


@pytest.mark.parametrize("name", BAD)
def test_a_trace_that_cannot_be_replayed_is_named_with_its_line_and_a_remedy(name: str, tmp_path: Path) -> None:
    data, says = BAD[name]
    path = tmp_path / "trace"
    path.write_bytes(data)
    for answer in (
        run("simulate", "--trace", str(path), "--load-seconds", "1"),
        run("simulate", "--trace", "-", "--load-seconds", "1", stdin=data),
    ):
        assert (answer.status, answer.out) == (1, "")
        assert says in answer.err
        assert answer.err.count("\n") == 1


def test_a_bad_last_line_is_told_before_anything_is_simulated(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(f"{HEADER}\n" + "0,1,1\n" * 50_000 + "1,1\n", encoding="utf-8")
    assert "--trace line 50002" in run("simulate", "--trace", str(path), "--load-seconds", "1").err


def test_every_number_among_the_options_is_read() -> None:
    problems: list[Any] = []
    given = argparse.Namespace(**dict.fromkeys(BOUNDS, "5"))
    given.load_spread, given.idle = "0.5", "90"
    assert set(read_numbers(given, problems)) == set(BOUNDS)
    assert problems == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_tells_how_far_it_is_and_is_gone_at_the_end() -> None:
    seconds = iter(range(1000))
    terminal = Terminal()
    progress = Progress(2, 4 * EVERY, terminal, lambda: float(next(seconds)))
    rows = [Request(0.0, 1.0, 1.0)] * (4 * EVERY)
    progress.say("reading the traffic")
    assert list(progress.watch("ours", rows)) == rows
    list(progress.watch("hpa", rows[:EVERY]))
    progress.end()
    said = terminal.getvalue().split("\r\x1b[K")
    assert said == [
        "", "reading the traffic", "ours: 25%; all: 12%, 7 s left at most", "ours: 50%; all: 25%, 6 s left at most",
        "ours: 75%; all: 38%, 5 s left at most", "ours: 100%; all: 50%, 4 s left at most", "hpa: 25%; all: 62%, 3 s left at most", "",
    ]  # fmt: skip


def test_where_nobody_looks_nothing_is_said() -> None:
    quiet = io.StringIO()
    progress = Progress(1, 1, quiet)
    rows = [Request(0.0, 1.0, 1.0)]
    progress.say("reading")
    assert progress.watch("ours", rows) is rows
    progress.end()
    assert quiet.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (3500, "58 min"), (7200, "2.0 h"), (604_800, "7.0 d")]
)
def test_a_time_is_said_as_a_person_says_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words
