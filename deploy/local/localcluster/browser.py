"""A browser for the tests that look at a page: one on PATH, else Debian's Chromium, unpacked into the cache and installed nowhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from . import commands
from .debian import Apt
from .errors import MissingTool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .progress import Progress
    from .settings import Settings

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGE = "chromium"
PROGRAM = Path("usr/lib/chromium/chromium")


def ensure(settings: Settings, progress: Progress, environ: Mapping[str, str] | None = None) -> Path:
    """The browser's program; 120 MB are fetched once where none is on PATH.

    Raises:
        MissingTool: there is none, and no apt-get and dpkg to fetch one with, or their Chromium is no package of its own.
        LocalClusterError: the download failed.

    """
    path = (os.environ if environ is None else environ).get("PATH")
    if found := next(filter(None, (shutil.which(name, path=path) for name in NAMES)), None):
        return Path(found)
    base = settings.cache / "browser"
    script = base / PACKAGE
    if script.is_file():
        return script
    if lacking := [tool for tool in ("apt-get", "dpkg") if shutil.which(tool, path=path) is None]:
        raise MissingTool(f"none of {', '.join(NAMES)} is on PATH, and no {' and no '.join(lacking)} to fetch Debian's with. Install one")
    with progress.step(f"download and unpack {PACKAGE} into {base} (nothing is installed)"):
        shutil.rmtree(base, ignore_errors=True)  # what an interrupted run left
        for package in Apt(base / "apt").download_with_what_it_needs(PACKAGE):
            commands.run(["dpkg", "-x", package, base / "root"])
        shutil.rmtree(base / "apt")
        program = base / "root" / PROGRAM
        if not program.is_file():
            raise MissingTool(f"the package {PACKAGE} of this machine has no {PROGRAM}. Install one of {', '.join(NAMES)}")
        script.write_text(wrapper(program, base / "root"))
        script.chmod(0o755)
    return script


def wrapper(program: Path, root: Path) -> str:
    """A shell script that runs it with the libraries unpacked beside it, some of which lie in directories of their own."""
    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("*.so*")}))
    return f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n'
