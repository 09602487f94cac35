"""Whatever is typed after `kubectl llama`, there is an answer or a refusal in words, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.command import run
from tests.harness.depth import examples

from llama_operator.planning.hardware.accelerators import CATALOGUE as ACCELERATORS
from llama_operator.planning.models.catalogue import BY_REPO

# What a shell can pass: anything but NUL, half characters included, as names of files in other encodings become.
TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=20)
NUMBERS = st.one_of(
    st.integers(-2, 70).map(str),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.sampled_from(["", "0", "-0", "1e3", "0x10", "٣", "1_000", "1,000", "00008", "+8", ".5", "9" * 5000]),
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "--model": st.one_of(st.sampled_from(sorted(BY_REPO)), TEXTS),
    "--accelerator": st.one_of(st.sampled_from(sorted(ACCELERATORS)), TEXTS),
    **dict.fromkeys(("--gpus-per-node", "--nodes", "--tensor", "--pipeline", "--context", "--concurrency"), NUMBERS),
    **dict.fromkeys(("--memory-gib", "--bandwidth-gbps", "--utilisation", "--overhead-gib", "--gpu-hour-price", "--read-rate"), NUMBERS),
    "--kv-cache-dtype": st.one_of(st.sampled_from(["auto", "fp8", "bfloat16"]), TEXTS),
    "--quantization": st.one_of(st.just("fp8"), TEXTS),
    "--rank": st.one_of(st.sampled_from(["gpus", "latency", "throughput"]), TEXTS),
    "--output": st.one_of(st.sampled_from(["table", "json", "yaml"]), TEXTS),
    "--name": TEXTS,
}
SOUND = st.fixed_dictionaries(
    {"--model": st.sampled_from(sorted(BY_REPO)), "--accelerator": st.sampled_from(sorted(ACCELERATORS))},
    optional={
        "--gpus-per-node": st.integers(0, 16).map(str),
        "--nodes": st.integers(1, 6).map(str),
        "--tensor": st.integers(1, 20).map(str),
        "--pipeline": st.integers(1, 20).map(str),
        "--context": st.integers(1, 131_072).map(str),
        "--concurrency": st.integers(1, 300).map(str),
        "--memory-gib": st.floats(1, 300).map(lambda value: f"{value:.3f}"),
        "--utilisation": st.floats(0.01, 1).map(lambda value: f"{value:.3f}"),
        "--gpu-hour-price": st.floats(0.01, 100).map(lambda value: f"{value:.2f}"),
        "--kv-cache-dtype": st.sampled_from(["auto", "fp8", "fp8_e5m2"]),
        "--rank": st.sampled_from(["gpus", "latency", "throughput"]),
    },
)
SIMULATED: dict[str, st.SearchStrategy[str]] = {
    "--policy": st.one_of(st.sampled_from(["ours", "static:3,hpa", "kpa:9,aibrix"]), TEXTS),
    "--service": st.one_of(st.sampled_from(["slots=8", "itl=0.2,kv=9000", "chunk=1e3"]), TEXTS),
    "--generate": st.one_of(st.sampled_from(["conversation", "code"]), TEXTS),
    "--trace": TEXTS,
    "--format": st.one_of(st.just("csv"), TEXTS),
    "--copies": st.one_of(st.sampled_from(["1", "2"]), TEXTS),
    "--window": st.one_of(st.just("7d"), TEXTS),
    "--from-prometheus": TEXTS,
    "--deployment": TEXTS,
    "-o": st.one_of(st.sampled_from(["table", "json", "html"]), TEXTS),
    **dict.fromkeys(
        (
            "--load-seconds",
            "--load-spread",
            "--slo-ttft",
            "--target",
            "--min",
            "--max",
            "--initial",
            "--scrape",
            "--lag",
            "--seed",
            "--step",
        ),
        NUMBERS,
    ),
}
ANYTHING = st.dictionaries(st.sampled_from(sorted(VALUES)), st.none()).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
)


def told(status: int, out: str, err: str) -> None:
    """A verdict, or a refusal; never both, and never neither."""
    assert status in {0, 1, 2}
    assert (status == 1) == (err != "") == (out == "")
    assert "Traceback" not in err


@given(st.one_of(SOUND, ANYTHING))
@settings(max_examples=examples(150))
def test_any_values_are_answered_or_refused_in_words(options: dict[str, str]) -> None:
    answer = run("plan", *(part for name, value in options.items() for part in (f"{name}={value}",)))
    told(answer.status, answer.out, answer.err)


@given(
    st.dictionaries(st.sampled_from(sorted(SIMULATED)), st.none()).flatmap(
        lambda names: st.fixed_dictionaries({name: SIMULATED[name] for name in names})
    )
)
@settings(max_examples=examples(100))
def test_any_simulation_is_answered_or_refused_in_words(options: dict[str, str]) -> None:
    sound = {"--generate": "conversation", "--load-seconds": "9", "--hours": "0.01", "--policy": "ours"}
    options = sound | options
    if {"--trace", "--from-prometheus"} & options.keys():
        del options["--generate"]
    answer = run(
        "simulate", *(part for name, value in options.items() for part in ([f"{name}={value}"] if name != "-o" else [f"-o{value}"]))
    )
    told(answer.status, answer.out, answer.err)


@given(st.binary(max_size=200), st.sampled_from(["azure", "mooncake", "csv", None]))
@settings(max_examples=examples(80))
def test_any_bytes_are_a_trace_or_a_problem(data: bytes, form: str | None) -> None:
    argv = ("simulate", "--trace", "-", "--load-seconds", "1", "--policy", "static:1", *(("--format", form) if form else ()))
    answer = run(*argv, stdin=data)
    told(answer.status, answer.out, answer.err)


@given(SOUND)
@settings(max_examples=examples(60))
def test_the_table_and_the_document_say_one_verdict(options: dict[str, str]) -> None:
    argv = ["plan", *(f"{name}={value}" for name, value in options.items())]
    table, document = run(*argv), run(*argv, "-o", "json")
    assert table.status == document.status
    if table.status != 1:
        verdict = json.loads(document.out)["verdict"].replace("_", " ")
        assert table.out.splitlines()[0].endswith(f": {verdict}")


@given(
    st.lists(
        st.one_of(st.sampled_from(["plan", "validate", "simulate", "catalog", "models", "-f", "-", "-o", "--name", "--", "-1"]), TEXTS),
        max_size=5,
    )
)
@settings(max_examples=examples(150))
def test_any_words_are_answered_or_refused_in_words(words: list[str]) -> None:
    answer = run(*words)
    assert answer.status in {0, 1, 2}
    assert "Traceback" not in answer.err


@given(st.binary(max_size=200))
@settings(max_examples=examples(60))
def test_any_bytes_are_a_file_or_a_problem(data: bytes) -> None:
    for command in ("validate", "plan"):
        answer = run(command, "-f", "-", stdin=data)
        assert answer.status == 1
        assert answer.out + answer.err


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    )
)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_config_is_a_model_or_a_problem(tmp_path: Path, config: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    answer = run("plan", "--model-path", str(tmp_path / "config.json"), "--accelerator", "nvidia-h100-80gb")
    told(answer.status, answer.out, answer.err)


@pytest.fixture(autouse=True)
def _somewhere_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths that the generator makes up name nothing."""
    monkeypatch.chdir(tmp_path)
