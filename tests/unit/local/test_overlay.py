"""Overlays are used where they can be mounted, and only there; the try leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster.errors import LocalClusterError
from localcluster.overlay import carried_by


@pytest.mark.parametrize("mounts", [True, False])
def test_an_overlay_is_carried_where_it_can_be_mounted(tmp_path: Path, *, mounts: bool) -> None:
    asked: list[list[str | Path]] = []

    def run(argv: list[str | Path]) -> str:
        asked.append(argv)
        assert all((tmp_path / "overlay-probe" / part).is_dir() for part in ("lower", "upper", "work", "merged"))
        if not mounts:
            raise LocalClusterError("mount: wrong fs type")
        return ""

    assert carried_by(tmp_path, run) is mounts
    assert len(asked) == 1
    assert list(tmp_path.iterdir()) == []
