"""The package travels as files; vLLM must find its plugin by the entry point beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from llama_serving.install import install


def test_a_copy_on_the_path_offers_the_progress_plugin_to_vllm(tmp_path: Path) -> None:
    install(tmp_path)
    code = "from importlib.metadata import entry_points; (e,) = entry_points(group='vllm.general_plugins', name='llama_progress'); print(e.load())"
    result = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert "register" in result.stdout


def test_installing_twice_gives_the_same_files(tmp_path: Path) -> None:
    install(tmp_path)
    first = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    install(tmp_path)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == first
    assert not list(tmp_path.rglob("__pycache__"))
