"""The names of a schema's fields, as dotted paths. What a version of ours knows is in `field_paths_v1alpha1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def field_paths(schema: Mapping[str, Any], path: str = "") -> frozenset[str]:
    """Dotted paths of all properties of a structural schema."""
    found: set[str] = set()
    for name, below in (schema.get("properties") or {}).items():
        here = f"{path}.{name}" if path else name
        found |= {here} | field_paths(below, here)
    items = schema.get("items")
    return frozenset(found | (field_paths(items, f"{path}[]") if isinstance(items, dict) else frozenset()))
