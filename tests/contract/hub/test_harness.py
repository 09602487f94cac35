"""The hub that the tests serve speaks the real hub's language: its own client downloads from it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.harness.hub import FakeHub, Repo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.serving

SCRIPT = """
import sys
from huggingface_hub import snapshot_download
snapshot_download("org/llama", local_dir=sys.argv[1], token=False, allow_patterns=["*.safetensors", "*.json"])
"""


def test_huggingface_hub_downloads_from_it(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="run with the serving environment's Python")
    files = {"config.json": b"{}", "model.safetensors": bytes(200_000), "README.md": b"no"}
    with FakeHub({"org/llama": Repo(files=files)}) as hub:
        # A process of its own: the client reads HF_ENDPOINT once, when it is imported.
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert not (tmp_path / "model" / "README.md").exists()
