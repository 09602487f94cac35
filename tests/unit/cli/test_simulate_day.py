"""`kubectl llama simulate` of a resource that has time windows, sleeps, and shares a cluster that is full."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.harness.command import assert_refused, compare, run

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
HEADER = "arrival_seconds,input_tokens,output_tokens"
SHORT = ("simulate", "--generate", "conversation", "--hours", "0.02", "--load-seconds", "30")
OFFICE = """apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata: {name: day}
spec:
  model: {source: hf://meta-llama/Llama-3.1-70B-Instruct, licenseAccepted: true}
  hardware: {accelerator: nvidia-h100-80gb, gpusPerNode: 8}
  parallelism: {tensor: 4}
  autoscaling:
    minReplicas: 0
    maxReplicas: 4
    objective: {timeToFirstTokenSeconds: 6}
    scaleToZeroAfter: 3m
    schedules:
      - {name: office, timezone: Europe/Berlin, start: 20 6 * * 1-5, end: 0 18 * * 1-5, minReplicas: 2}
"""


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A resource that sleeps before 06:20, and from 06:00 on two requests, a silence, one more, and one when the window is open."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "office.yaml").write_text(OFFICE, encoding="utf-8")
    rows = ["0,1000,200", "60,1000,200", "700,1000,200", "1400,1200,100"]
    (tmp_path / "day.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return ("simulate", "--trace", "day.csv", "--load-seconds", "120", "-f", "office.yaml", "--policy", "ours")


MONDAY = ("--begin", "2026-11-23T06:00:00+01:00")


def test_time_windows_sleep_and_limited_gpus_of_a_file_are_simulated_and_the_changes_say_so(
    office: tuple[str, ...], tmp_path: Path
) -> None:
    answer = run(*office, *MONDAY, "--gpus", "12", "--changes")
    assert (answer.status, answer.err) == (0, "")
    compare("simulate-a-day.txt", answer.out)


def test_requests_are_routed_as_in_clusters_unless_told_otherwise_and_how_is_said() -> None:
    busy = (*SHORT, "--policy", "static:3", "--copies", "6")
    usual, choices, turns, knowing = (
        run(*busy, *more).out for more in ((), *(("--routing", how) for how in ("choices", "round-robin", "least")))
    )
    assert usual == choices
    assert "by choice of three, each pod's router for itself" in choices
    assert "in turns, each pod's router for itself" in turns
    assert "to the replica with the fewest in hand" in knowing
    figures = [tuple(out.splitlines()[-4:-2]) for out in (choices, turns, knowing)]
    assert len(set(figures)) == len(figures)
    assert_refused(
        (*SHORT, "--routing", "leest"),
        ('--routing: "leest" is given; allowed is one of least, round-robin, choices. Did you mean least?',),
    )


def test_without_a_begin_changes_are_told_since_the_beginning() -> None:
    out = run(*SHORT, "--policy", "ours", "--initial", "9", "--max", "9", "--target", "1", "--changes").out
    assert "The changes of ours\n  None." in out
    out = run(*SHORT, "--policy", "ours", "--initial", "1", "--target", "5", "--changes").out
    assert "\n  15s   1 to " in out


def test_the_windows_meet_a_trace_at_its_own_date_where_it_has_one_and_no_option_says_another(office: tuple[str, ...]) -> None:
    lines = ["", "TIMESTAMP,ContextTokens,GeneratedTokens", "", "2026-11-23 05:00:00.2500000,1000,20", "2026-11-23 05:00:09,1000,20"]
    Path("day.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "the traffic begins at 2026-11-23T05:00:00Z" in run(*office).out
    assert "the traffic begins at 2026-11-22T05:30:00Z" in run(*office, "--begin", "2026-11-22T06:30:00+01:00").out


def test_the_idle_time_of_an_option_counts_more_than_the_files(office: tuple[str, ...]) -> None:
    Path("day.csv").write_text(f"{HEADER}\n0,1000,20\n", encoding="utf-8")
    said = [" ".join(run(*office, *MONDAY, *more).out.split()) for more in ((), ("--idle", "7200"))]
    assert "none after 3m without a request" in said[0]
    assert "none after 2h without a request" in said[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            (),
            ("--begin: nothing is given; allowed is when the traffic begins", "time windows (office)", "Give it, as in --begin 2026-11-23"),
        ),
        (("--begin", "2026-11-23T06:00:00"), ('--begin: "2026-11-23T06:00:00" is given; allowed is a time with its zone',)),
        (("--begin", "9999-12-31T23:59:59-12:00"), ("allowed is a time with its zone",)),
        ((*MONDAY, "--max", "1"), ("--min: 0 and --max 1 is given; allowed is bounds that contradict none of the file's time windows",)),
        ((*MONDAY, "--initial", "5"), ("--initial: 5 is given; allowed is a number within --min 0 and --max 4",)),
        ((*MONDAY, "--gpus", "3"), ("--gpus: 3 is given; allowed is enough for one replica: 4 on nodes of 8. Give more",)),
        ((*MONDAY, "--gpus", "0"), ('--gpus: "0" is given; allowed is a whole number from 1 to 1000000',)),
        ((*MONDAY, "--idle", "59"), ('--idle: "59" is given; allowed is a number from 60 to 604800',)),
    ],
)
def test_what_a_day_cannot_be_simulated_with_is_said(office: tuple[str, ...], more: tuple[str, ...], says: tuple[str, ...]) -> None:
    assert_refused((*office, *more), says)


def test_gpus_are_those_of_a_files_replicas() -> None:
    assert_refused((*SHORT, "--gpus", "8"), ("--gpus: 8 is given; allowed is GPUs for the replicas of a file. Give it with -f, or say",))
    argv = (*SHORT, "-f", str(EXAMPLES / "simulated.yaml"), "--gpus", "8")
    assert_refused(argv, ("--gpus: 8 is given; allowed is GPUs where a replica takes some. Say with --max how many",))
