"""What the pages show of the command is what it says now. LLAMA_UPDATE_GOLDEN=1 writes blocks anew that leave nothing out."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from tests.harness.command import run
from tests.harness.depth import DEEP

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```console\n(\$ (?:kubectl llama|uv run kubectl-llama) [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "…"
PAGES = ("docs/cli.md", "docs/simulate.md", "README.md")
SHOWN = [(page, *block) for page in PAGES for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]


def test_every_command_is_shown() -> None:
    commands = {tuple(shlex.split(command)[3:4]) for _, command, _ in SHOWN}
    assert {("plan",), ("validate",), ("simulate",), ("catalog",)} <= commands


def with_fewer_policies(words: list[str]) -> list[str]:
    """The first and the last of many policies: what a policy's line says depends on no other but the last, the reference."""
    at = words.index("--policy") + 1 if "--policy" in words else None
    policies = words[at].split(",") if at else []
    return [*words[:at], f"{policies[0]},{policies[-1]}", *words[at + 1 :]] if at and len(policies) > 3 else words


def assert_found(said: str, output: str) -> None:
    """Every line that was said is shown, in that order; other lines make the table's columns wider or narrower."""
    shown = iter([line.split() for line in output.splitlines()])
    for line in said.splitlines():
        assert "─" in line or line.split() in shown, f"the command says {line}, which is not shown, or not there"


@pytest.mark.parametrize(("page", "command", "output"), SHOWN, ids=[f"{page}: {command}" for page, command, _ in SHOWN])
def test_a_page_shows_what_the_command_says(page: str, command: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word, but for whole lines that are left out where a line holds … alone."""
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.partition(" ")[2])
    words = words[3:] if words[0] == "uv" else words[2:]
    updating = os.environ.get("LLAMA_UPDATE_GOLDEN") == "1"
    if not (DEEP or updating):
        fewer = with_fewer_policies(words)
        if fewer != words:
            assert_found(run(*fewer).out, output)
            return
    answer = run(*words)
    if updating and LEFT_OUT not in output:
        path = ROOT / page
        shown, now = (f"{command}\n{text}```" for text in (output, answer.out + answer.err))
        path.write_text(path.read_text(encoding="utf-8").replace(shown, now), encoding="utf-8")
        output = answer.out + answer.err
    said = (answer.out + answer.err).splitlines()
    for part in re.split(rf"^{LEFT_OUT}\n", output, flags=re.MULTILINE):
        lines = part.splitlines()
        found = next((at for at in range(len(said) - len(lines) + 1) if said[at : at + len(lines)] == lines), None)
        assert found is not None, f"{page} shows {lines}, and the command says {said}"
        said = said[found + len(lines) :]
    if LEFT_OUT not in output:
        assert said == []
