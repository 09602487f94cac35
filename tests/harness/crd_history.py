"""The CRDs of earlier versions, and in what a newer schema asks for more than an older one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import yaml_files

FOLDER = Path(__file__).parents[2] / "crds" / "history"

Schema = dict[str, Any]

LEAST = ("minimum", "minLength", "minItems", "minProperties")
MOST = ("maximum", "maxLength", "maxItems", "maxProperties")


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A CRD as it was published, and the samples that were valid then, by name."""

    name: str
    crd: dict[str, Any]
    samples: dict[str, dict[str, Any]]

    @property
    def schema(self) -> Schema:
        """The schema of its one version."""
        return schema_of(self.crd)


def earlier() -> list[Earlier]:
    """Every CRD of before, oldest first."""
    return [
        Earlier(
            name=folder.name,
            crd=yaml_files.read((folder / "llamadeployments.yaml").read_text(encoding="utf-8")),
            samples={path.stem: yaml_files.read(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("samples/*.yaml"))},
        )
        for folder in sorted(FOLDER.iterdir())
        if folder.is_dir()
    ]


def schema_of(crd: dict[str, Any]) -> Schema:
    """The schema of a CRD's one version."""
    (version,) = crd["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def rules(schema: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """Every CEL rule with the path of its object."""
    yield from ((path, rule["rule"]) for rule in schema.get("x-kubernetes-validations", []))
    for name, child in children(schema):
        yield from rules(child, f"{path}.{name}".lstrip("."))


def children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas within a schema, by the step that leads there."""
    yield from schema.get("properties", {}).items()
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield key, schema[key]


def narrowings(old: Schema, new: Schema, path: str = "") -> list[str]:
    """In what `new` refuses or forgets what `old` took and kept, CEL rules apart; in words, one for each."""
    found = []
    if old.get("type") != new.get("type"):
        return [f"{path}: type {old.get('type')} became {new.get('type')}"]
    found += [f"{path}.{name}: now required" for name in sorted({*new.get("required", ())} - {*old.get("required", ())})]
    found += [f"{path}: {key} {old.get(key)} became {new[key]}" for key in LEAST if key in new and new[key] > old.get(key, float("-inf"))]
    found += [f"{path}: {key} {old.get(key)} became {new[key]}" for key in MOST if key in new and new[key] < old.get(key, float("inf"))]
    if "enum" in new and not {*old.get("enum", (None,))} <= {*new["enum"]}:
        found.append(f"{path}: enum {old.get('enum')} became {new['enum']}")
    for key in ("pattern", "format"):
        if key in new and new[key] != old.get(key):
            found.append(f"{path}: {key} {old.get(key)} became {new[key]}")
    free = "x-kubernetes-preserve-unknown-fields"
    if old.get(free) and not new.get(free):
        found.append(f"{path}: unknown fields are no longer kept")
    theirs = dict(children(new))
    for name, child in children(old):
        where = f"{path}.{name}".lstrip(".")
        found += narrowings(child, theirs[name], where) if name in theirs else [f"{where}: gone"]
    return found
