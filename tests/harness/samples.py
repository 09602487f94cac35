"""The sample resources of `crds/samples`, which the operator's validator and a real API server both read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import yaml_files

FOLDER = Path(__file__).parents[2] / "crds" / "samples"
API_SERVER, OPERATOR = "api-server", "operator"


@dataclass(frozen=True, kw_only=True)
class Invalid:
    """A sample that is refused: by whom, at which field, in which words. `server_says` are the API server's where they differ."""

    name: str
    obj: dict[str, Any]
    field: str
    says: str
    refused_by: frozenset[str]
    server_says: str


def valid() -> dict[str, dict[str, Any]]:
    """Samples that must be accepted, by name."""
    return {path.stem: yaml_files.read(path.read_text()) for path in sorted((FOLDER / "valid").glob("*.yaml"))}


def invalid() -> list[Invalid]:
    """Samples that must be refused. What is expected stands in each file's leading comment."""
    return [_read(path) for path in sorted((FOLDER / "invalid").glob("*.yaml"))]


def _read(path: Path) -> Invalid:
    text = path.read_text()
    head = [line.removeprefix("# ").partition(": ") for line in text.splitlines() if line.startswith("# ")]
    told = {key: value for key, _, value in head}
    return Invalid(
        name=path.stem,
        obj=yaml_files.read(text),
        field=told["field"],
        says=told["says"],
        refused_by=frozenset(told["refused by"].split(", ")),
        server_says=told.get("the API server says", told["says"]),
    )
