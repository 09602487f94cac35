"""The operator's Dockerfile builds with any builder, and its image runs as nobody. That it builds is shown on the local cluster."""

from __future__ import annotations

import re

from tests.unit.chart.chart import ROOT

PLAIN = {"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "LABEL", "USER", "EXPOSE", "ENTRYPOINT"}


def _instructions() -> list[tuple[str, str]]:
    """Instruction and arguments, continuation lines joined and comments left out."""
    text = (ROOT / "operator" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def _last_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    start = max(index for index, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[start:]


def test_only_instructions_that_every_builder_knows_are_used() -> None:
    assert {word for word, _ in _instructions()} <= PLAIN
    assert not [rest for word, rest in _instructions() if word == "RUN" and rest.startswith("--")]
    assert not (ROOT / "operator" / "Dockerfile").read_text(encoding="utf-8").startswith("# syntax")


def test_the_base_can_be_chosen_and_is_the_same_for_both_stages() -> None:
    assert [rest.split()[0] for word, rest in _instructions() if word == "FROM"] == ["${BASE}", "${BASE}"]


def test_the_requirements_are_those_of_the_lock_file_without_any_group() -> None:
    (sync,) = [rest for word, rest in _instructions() if word == "RUN" and " sync " in rest]
    assert {"--frozen", "--no-dev", "--no-default-groups"} <= set(sync.split())


def test_the_image_runs_as_the_user_that_the_chart_names_and_not_as_root() -> None:
    (user,) = [rest for word, rest in _last_stage() if word == "USER"]
    assert user == "65532:65532"
    values = (ROOT / "helm" / "llama-operator" / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    assert "runAsUser: 65532" in values


def test_the_last_stage_runs_nothing_so_that_it_holds_only_what_was_copied() -> None:
    assert "RUN" not in {word for word, _ in _last_stage()}


def test_the_build_sees_what_it_copies() -> None:
    """`.dockerignore` lets in a short list; a COPY of anything else would fail in every builder."""
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copied = [source for word, rest in _instructions() if word == "COPY" and "--from" not in rest for source in rest.split()[:-1]]
    assert copied
    assert [source for source in copied if not any(source == entry or source.startswith(f"{entry}/") for entry in let_in)] == []
    assert [source for source in copied if not (ROOT / source).exists()] == []
