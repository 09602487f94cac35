"""A browser for the tests: one that is there, else Debian's, unpacked; never installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster import browser
from localcluster.errors import MissingTool
from localcluster.progress import Progress
from localcluster.settings import Settings


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def ensure(cache: Path, path: Path) -> Path:
    return browser.ensure(Settings(cache=cache), Progress(alive=False), {"PATH": str(path)})


def test_one_on_the_path_is_taken_first_then_the_one_that_was_unpacked(tmp_path: Path) -> None:
    unpacked = program(tmp_path / "cache" / "browser" / "chromium")
    assert ensure(tmp_path / "cache", tmp_path / "bin") == unpacked
    installed = program(tmp_path / "bin" / "google-chrome")
    assert ensure(tmp_path / "cache", tmp_path / "bin") == installed


def test_without_debian_s_tools_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match=r"none of chromium.* no apt-get and no dpkg .* Install one"):
        ensure(tmp_path, tmp_path)
    assert not (tmp_path / "browser").exists(), "nothing is half made"


def test_the_libraries_beside_it_are_found_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("usr/lib/a/libone.so.1", "usr/lib/a/private/libtwo.so"):
        program(tmp_path / name)
    text = browser.wrapper(tmp_path / "chromium", tmp_path)
    assert f'LD_LIBRARY_PATH="{tmp_path}/usr/lib/a:{tmp_path}/usr/lib/a/private" exec "{tmp_path}/chromium" "$@"' in text
