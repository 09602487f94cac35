"""The command itself: help without a library, usage in words, and how it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.harness.command import compare, run

ROOT = Path(__file__).parents[3]
HEAVY = {"pydantic", "yaml", "rich", "httpx", "kubernetes", "kopf", "aiohttp", "asyncio", "structlog", "prometheus_client"}


def imported_by(*commands: tuple[str, ...]) -> set[str]:
    """The packages that a fresh interpreter has loaded after all of these commands."""
    calls = "; ".join(f"main({list(argv)!r})" for argv in commands)
    code = f"import sys; from llama_operator.cli.main import main; {calls}; print('\\n' + ' '.join(sys.modules), file=sys.stderr)"
    path = os.pathsep.join(str(ROOT / name) for name in ("operator", "serving"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path})
    return {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}


def test_help_and_usage_wait_for_no_library() -> None:
    helps = [(name, "--help") for name in ("plan", "validate", "simulate", "catalog", "doctor")]
    assert imported_by((), ("--help",), ("--version",), *helps, ("plan", "--typo")) & HEAVY == set()


def test_a_plan_waits_for_no_library_that_it_does_not_use() -> None:
    asked = ("plan", "--model", "meta-llama/Llama-3.1-8B", "--accelerator", "nvidia-h100-80gb", "-o", "json")
    assert imported_by(asked) & HEAVY <= {"pydantic", "yaml", "asyncio"}


def test_a_simulation_waits_for_no_library_that_it_does_not_use() -> None:
    asked = ("simulate", "--generate", "conversation", "--hours", "0.02", "--load-seconds", "9", "--policy", "ours", "-o")
    assert imported_by((*asked, "json"), (*asked, "html")) & HEAVY <= {"pydantic", "yaml", "asyncio"}


def test_a_command_about_a_cluster_starts_without_a_library_that_it_does_not_use() -> None:
    """Pydantic's models, httpx or the Kubernetes client would each cost a part of a second before the first question. One interpreter
    loads all the commands: what none of them may load is not there after the last.
    """
    commands = ("status", "top", "logs", "chat", "why", "cost", "doctor")
    code = "; ".join(["import sys", *(f"import llama_operator.cli.{name}; print({name!r}, *sys.modules)" for name in commands)])
    path = os.pathsep.join(str(ROOT / name) for name in ("operator", "serving"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path})
    for command, line in zip(commands, done.stdout.splitlines(), strict=True):
        assert line.split()[0] == command
        assert {name.partition(".")[0] for name in line.split()} & HEAVY <= {"yaml"}, f"{command}, or one before it"


def test_the_operators_image_does_not_grow_by_the_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not [needed for needed in project["dependencies"] if needed.startswith("rich")]
    assert any(needed.startswith("rich") for needed in project["optional-dependencies"]["cli"])
    assert project["scripts"]["kubectl-llama"] == "llama_operator.cli.main:main"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            (),
            (
                "no command is given; allowed is plan, validate, simulate, why, cost, catalog, status, top, chat, bench, logs, doctor, "
                "support-bundle or completion"
            ),
        ),
        (("plans",), "invalid choice"),
        (("--typo",), '"--typo" is given'),
        (("plan", "--modle", "x"), '"--modle" is given; allowed is -h --help'),
        (("plan", "--modle=x"), "Did you mean --model?"),
        (("plan", "--model"), "argument --model: expected one argument"),
        (("plan", "--mod", "x"), '"--mod" is given'),
        (("catalog",), "the following arguments are required: models|accelerators"),
        (("catalog", "gpus"), 'catalog: "gpus" is given; allowed is models or accelerators'),
        (("catalog", "models", "-o", "csv"), '--output: "csv" is given'),
        (("validate",), "--file: nothing is given"),
        (("simulate",), "--load-seconds: nothing is given"),
        (("simulate", "--polic", "ours"), "Did you mean --policy?"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_said_and_is_not_a_verdict(argv: tuple[str, ...], says: str) -> None:
    answer = run(*argv)
    assert (answer.status, answer.out) == (1, "")
    assert says in answer.err
    assert answer.err.startswith("kubectl llama")


def test_help_and_version_are_no_error() -> None:
    for argv in (("--help",), ("plan", "-h"), ("validate", "--help"), ("simulate", "--help"), ("catalog", "--help"), ("--version",)):
        answer = run(*argv)
        assert (answer.status, answer.err) == (0, "")
        assert "kubectl llama" in answer.out


@pytest.mark.parametrize("kind", ["models", "accelerators"])
def test_the_catalogue_is_listed_as_agreed(kind: str) -> None:
    answer = run("catalog", kind)
    assert (answer.status, answer.err) == (0, "")
    compare(f"catalog-{kind}.txt", answer.out)


@pytest.mark.parametrize("kind", ["models", "accelerators"])
def test_the_catalogue_as_json_names_what_a_plan_takes(kind: str) -> None:
    document = json.loads(run("catalog", kind, "-o", "json").out)
    assert document["schemaVersion"] == 1
    option, name = {"models": ("--model", "model"), "accelerators": ("--accelerator", "accelerator")}[kind]
    other = {"models": ("--accelerator", "nvidia-h100-80gb"), "accelerators": ("--model", "meta-llama/Llama-3.1-8B")}[kind]
    for row in document[kind]:
        assert run("plan", option, row[name], *other, "-o", "json").status in {0, 2}


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """As in `kubectl llama catalog models | head -n 1`."""
    path = os.pathsep.join(str(ROOT / name) for name in ("operator", "serving"))
    command = [sys.executable, "-m", "llama_operator.cli", "catalog", "models", "-o", "json"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, env={"PYTHONPATH": path})
    assert done.stderr == ""
