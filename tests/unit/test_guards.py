"""What holds for the repository as a whole, whoever edits it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / name for name in ("operator", "serving", "deploy", "tests", "bench")]
MODULES = sorted(path for source in SOURCES for path in source.rglob("*.py") if "__pycache__" not in path.parts)
LONGEST = 400


@pytest.mark.parametrize("root", ["operator", "serving", "tests"])
def test_a_source_root_is_no_package(root: str) -> None:
    """A package named `operator` would shadow the standard library's."""
    assert not (ROOT / root / "__init__.py").exists()


def test_the_standard_librarys_operator_is_still_itself() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.itemgetter(0)('ab'))"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "a"


def test_no_module_is_longer_than_people_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_the_rooms_keep_their_layers() -> None:
    """The contracts stand in pyproject.toml."""
    checker = Path(sys.executable).with_name("lint-imports")
    if not checker.exists():
        pytest.skip(f"{checker} is not there: import-linter is in the dependency group lint")
    done = subprocess.run(
        [str(checker), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": "operator:serving", "PATH": ""},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("generator", ["llama_operator.api.schema", "llama_operator.telemetry.generate", "dashboards write"])
def test_generated_files_are_those_that_would_be_generated_now(generator: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *generator.split(), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": "operator:serving:deploy/local"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_test_module_says_in_a_sentence_what_it_promises() -> None:
    tests = [path for path in MODULES if path.name.startswith("test_")]
    silent = [str(path.relative_to(ROOT)) for path in tests if not path.read_text().lstrip().startswith(('"""', 'r"""'))]
    assert silent == []
