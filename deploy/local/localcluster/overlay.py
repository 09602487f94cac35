"""Whether a file system can carry an overlay: an ext4 or xfs can, the layer of a container cannot."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from .errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def carried_by(folder: Path, run: Callable[[list[str | Path]], Any]) -> bool:
    """Try it in `folder`. `run` runs a program where the overlay would be mounted, and raises LocalClusterError when it fails."""
    probe = folder / "overlay-probe"
    for part in ("lower", "upper", "work", "merged"):
        (probe / part).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
    try:
        run(["sh", "-ec", 'mount -t overlay -o "$1" overlay "$2"; umount "$2"', "sh", options, probe / "merged"])
    except LocalClusterError:
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)  # what is left of it is empty, and in nobody's way
    return True
