"""The real Helm, from PATH or from the cache; where there is none, the tests of this folder are skipped with what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from tests.unit.chart.chart import ROOT, Helm

from localcluster import programs
from localcluster.settings import Settings, default_cache


@lru_cache(maxsize=1)
def find_helm() -> Path | None:
    """Helm from PATH, else from the cache that the local cluster fills."""
    cache = Settings(cache=default_cache(os.environ, root=os.geteuid() == 0))
    program = programs.PROGRAMS["helm"]
    cached = programs.cached_path(cache, program)
    return programs.on_path(program, os.environ) or (cached if cached.is_file() else None)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The real Helm."""
    program = find_helm()
    if program is None:
        pytest.skip(f"Helm {programs.HELM} is neither on PATH nor in the cache: run `make cluster-up` once, or install it")
    return Helm(program)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with a file under tests/golden/chart; LLAMA_UPDATE_GOLDEN=1 writes the file instead."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / "chart" / name
        if os.environ.get("LLAMA_UPDATE_GOLDEN") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: run {request.node.nodeid} with LLAMA_UPDATE_GOLDEN=1 and read what it wrote"
        assert text == path.read_text(encoding="utf-8"), (
            f"{path.name} differs; if the change is meant, run again with LLAMA_UPDATE_GOLDEN=1"
        )

    return compare
