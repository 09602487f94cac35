"""What docs/cli.md and README.md show of the command is what it says now."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.harness.command import run

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```console\n(\$ (?:kubectl llama|uv run kubectl-llama) [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "…"
SHOWN = [(page, *block) for page in ("docs/cli.md", "README.md") for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]


def test_every_command_is_shown() -> None:
    commands = {tuple(shlex.split(command)[3:4]) for _, command, _ in SHOWN}
    assert {("plan",), ("validate",), ("catalog",)} <= commands


@pytest.mark.parametrize(("page", "command", "output"), SHOWN, ids=[f"{page}: {command}" for page, command, _ in SHOWN])
def test_a_page_shows_what_the_command_says(page: str, command: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word, but for whole lines that are left out where a line holds … alone."""
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.partition(" ")[2])
    words = words[3:] if words[0] == "uv" else words[2:]
    answer = run(*words)
    said = (answer.out + answer.err).splitlines()
    for part in re.split(rf"^{LEFT_OUT}\n", output, flags=re.MULTILINE):
        lines = part.splitlines()
        found = next((at for at in range(len(said) - len(lines) + 1) if said[at : at + len(lines)] == lines), None)
        assert found is not None, f"{page} shows {lines}, and the command says {said}"
        said = said[found + len(lines) :]
    if LEFT_OUT not in output:
        assert said == []
