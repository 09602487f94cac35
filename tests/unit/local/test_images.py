"""The image store stays small: old builds go, the newest and the base stay."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from localcluster import images
from localcluster.images import KEPT_BUILDS, MOST_IMAGES, Images, older_builds
from localcluster.progress import Progress

REPOSITORY = "docker.io/llama-local/operator"


def image(tag: str | None, day: int, repository: str = REPOSITORY) -> dict[str, Any]:
    return {"names": [f"{repository}:{tag}"] if tag else None, "createdatraw": f"2026-11-{day:02}T10:00:00Z"}


def test_the_newest_builds_of_a_repository_are_kept_and_those_of_others_are_not_touched() -> None:
    known = [image("b", 2), image("a", 1), image(None, 1), image("d", 4), image("c", 3), image("x", 1, "localhost/llama-local/base")]
    assert older_builds(known, REPOSITORY, 2) == [f"{REPOSITORY}:b", f"{REPOSITORY}:a"]
    assert older_builds(known, REPOSITORY, 9) == []
    assert older_builds([], REPOSITORY, 0) == []


class Recorder(Images):
    """With a buildah that only tells what it was asked."""

    def __init__(self, home: Path, known: list[dict[str, Any]]) -> None:
        self._home, self._known, self.said = home, known, cast("list[tuple[str, ...]]", [])
        self._progress = Progress(quiet=True)

    def _buildah(self, *words: str, log: Path | None = None) -> str:
        self.said.append(words)
        return json.dumps(self._known) if words[0] == "images" else ""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    for day in range(1, 9):
        for suffix in (".tar", ".log"):
            path = tmp_path / f"docker.io_llama-local_operator_{day}{suffix}"
            path.touch()
            os.utime(path, (day, day))
    (tmp_path / "serve-base-1.tar").touch()
    return tmp_path


def test_archives_of_old_builds_go_with_their_logs_and_the_one_that_is_built_again_stays(home: Path) -> None:
    made = Recorder(home, [])
    made._tidy(REPOSITORY, home / "docker.io_llama-local_operator_1.tar")
    assert KEPT_BUILDS == 4
    left = {path.name for path in home.glob("*.tar")}
    assert left == {f"docker.io_llama-local_operator_{day}.tar" for day in (1, 6, 7, 8)} | {"serve-base-1.tar"}
    assert {path.stem for path in home.glob("*.log")} == {Path(name).stem for name in left} - {"serve-base-1"}
    assert made.said == [("rm", "--all"), ("images", "--all", "--json")], "the store itself is small"


def test_a_store_that_has_grown_large_loses_all_but_the_newest_builds(home: Path) -> None:
    known = [image(str(day), day) for day in range(1, 6)] + [image(None, 1)] * MOST_IMAGES
    made = Recorder(home, known)
    made._tidy(REPOSITORY, home / "docker.io_llama-local_operator_9.tar")
    assert made.said[2:] == [
        ("rmi", "--force", f"{REPOSITORY}:2", f"{REPOSITORY}:1"),
        ("rmi", "--prune", "--force"),
    ]


def test_what_a_killed_build_left_goes_before_the_next(home: Path) -> None:
    for name in (".build-x", "buildah139", "storage130"):
        (home / name / "layer").mkdir(parents=True)
    (home / "storage-run").mkdir()
    Recorder(home, [])._tidy(REPOSITORY, home / "x.tar")
    assert {path.name for path in home.iterdir() if path.is_dir()} == {"storage", "storage-run"}


def test_without_a_store_nothing_is_asked(tmp_path: Path) -> None:
    made = Recorder(tmp_path, [])
    made._tidy(REPOSITORY, tmp_path / "x.tar")
    assert made.said == []
    assert images.MOST_IMAGES > 0
