"""Prometheus' own checker. It comes with Debian's prometheus package, which the local cluster unpacks; nothing is fetched for a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.harness.programs import QUICK_GO

from localcluster.settings import load


def find() -> Path | None:
    """The program: unpacked by the local cluster, else on the PATH."""
    unpacked = load().programs / "debian" / "bin" / "promtool"
    on_path = shutil.which("promtool")
    return unpacked if unpacked.is_file() else Path(on_path) if on_path else None


def promtool() -> Path:
    """The program. Skips the test where there is none."""
    found = find()
    if found is None:
        pytest.skip("no promtool: `make cluster-up` unpacks it, and Prometheus' own releases hold it")
    return found


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it."""
    given = [promtool(), *arguments]
    return subprocess.run(given, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **QUICK_GO})


def failures(folder: Path, rules: dict[str, Any], tests: list[dict[str, Any]], every: str = "1m") -> str:
    """`promtool test rules`: empty where all is as expected, else what it says."""
    (folder / "rules.yaml").write_text(json.dumps(rules, ensure_ascii=False))  # YAML, too
    (folder / "tests.yaml").write_text(
        json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": tests}, ensure_ascii=False)
    )
    done = run("test", "rules", folder / "tests.yaml")
    return "" if done.returncode == 0 else done.stdout + done.stderr
