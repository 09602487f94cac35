"""The serving side's Python environment: Ray, vLLM for CPUs and torch, from the lock file, where pods can mount it.

It is made with the machine's /usr/bin/python3, because pods mount the machine's /usr, and its bytecode is compiled, because a read-only
mount can never cache it: without, every process of every pod would compile for minutes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from . import commands
from .errors import MissingTool
from .settings import PROJECT_ROOT

if TYPE_CHECKING:
    from .progress import Progress
    from .settings import Settings

GROUP = "serving-cpu"
PYTHON = Path("/usr/bin/python3")
STAMP = ".llama-stamp"
SYNC_SECONDS = 1800.0  # 6 GB: under a minute where the index is near, many on a slow line


def find_uv() -> str:
    """The program `uv`: $UV, PATH, or beside this Python.

    Raises:
        MissingTool: it is in none of them.

    """
    found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        raise MissingTool(
            "uv is not on PATH: it makes the Python environments. Install it (https://docs.astral.sh/uv) or set UV to its path"
        )
    return found


def ensure(settings: Settings, progress: Progress) -> Path:
    """The environment's directory, made or brought up to date; under a second when nothing changed.

    Raises:
        MissingTool: no uv, or no /usr/bin/python3.
        LocalClusterError: the packages cannot be had.

    """
    uv = find_uv()
    if not PYTHON.exists():
        raise MissingTool(
            f"{PYTHON} does not exist: the serving environment is made with the machine's Python. Install python3 (3.11 to 3.13)"
        )
    locked = commands.run([uv, "export", "--frozen", "--only-group", GROUP, "--no-header"], cwd=PROJECT_ROOT)
    want = stamp(locked, str(PYTHON.resolve()))
    path = settings.serving_env
    mark = path / STAMP
    if mark.is_file() and mark.read_text() == want:
        return path
    with progress.step(f"make the serving environment {path} (Ray, vLLM, torch: 6 GB, once)"):
        mark.unlink(missing_ok=True)
        env = {"UV_PROJECT_ENVIRONMENT": str(path), "UV_PYTHON": str(PYTHON), "VIRTUAL_ENV": "", "UV_LINK_MODE": "copy"}
        argv = [uv, "sync", "--frozen", "--only-group", GROUP, "--no-install-project", "--compile-bytecode"]
        commands.run(argv, cwd=PROJECT_ROOT, env=env, seconds=SYNC_SECONDS, log=settings.cache / "serving-env.log")
        mark.write_text(want)
    return path


def stamp(locked: str, python: str) -> str:
    """What the environment was made from, as one word."""
    return hashlib.sha256(f"{python}\n{locked}".encode()).hexdigest()
