"""The run directory: small JSON files by which the engine's processes tell the agent where they stand.

A file is written aside and renamed, so that a reader sees the old or the new value and never half of one.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from llama_serving.config import RUN_DIR
from llama_serving.status import EngineState, Progress

ENGINE_FILE = "engine.json"
RANK_FILES = ("load", "weights", "memory")
"""What each rank of the engine writes, as NAME-RANK.json."""


def run_dir() -> Path:
    """`LLAMA_RUN_DIR`, or its place in a pod."""
    return Path(os.environ.get("LLAMA_RUN_DIR", RUN_DIR))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace `path` by the JSON of `value` in one step. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`; None when there is no such file or it holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_engine(state: EngineState, directory: Path) -> None:
    """Tell the agent where the engine stands. Raises OSError."""
    write_json(directory / ENGINE_FILE, state.to_dict())


def read_engine(directory: Path) -> EngineState | None:
    """Where the engine stands; None before it has written anything that can be understood."""
    raw = read_json(directory / ENGINE_FILE)
    if raw is None:
        return None
    try:
        return EngineState.from_dict(raw)
    except (KeyError, TypeError, ValueError):
        return None


def write_load(rank: int, progress: Progress, since: float, directory: Path) -> None:
    """Tell the agent how far the weights of one rank are. Raises OSError."""
    write_json(directory / f"load-{rank}.json", {"done": progress.done, "total": progress.total, "since": since})


def read_load(directory: Path) -> Progress | None:
    """How far the weights of this pod's ranks are, summed over them; None before any rank began."""
    done = total = 0
    for path in sorted(directory.glob("load-*.json")):
        raw = read_json(path) or {}
        try:
            rank_done, rank_total = int(raw["done"]), int(raw["total"])
        except (KeyError, TypeError, ValueError):
            continue
        done, total = done + rank_done, total + rank_total
    return Progress(done=done, total=total) if total > 0 else None


def write_bytes(what: str, rank: int, count: int, directory: Path) -> None:
    """Tell the agent how many bytes one rank takes: its "weights", or its "memory", which is everything. Raises OSError."""
    write_json(directory / f"{what}-{rank}.json", {"bytes": count})


def read_bytes(what: str, directory: Path) -> int | None:
    """The same, of that of this pod's ranks which takes most; None before any has told."""
    found = []
    for path in directory.glob(f"{what}-*.json"):
        raw = read_json(path) or {}
        count = raw.get("bytes")
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            found.append(count)
    return max(found, default=None)


def clear(directory: Path) -> None:
    """Forget what an earlier engine in this pod wrote."""
    for path in [directory / ENGINE_FILE, *(each for name in RANK_FILES for each in directory.glob(f"{name}-*.json"))]:
        path.unlink(missing_ok=True)
