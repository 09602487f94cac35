"""The user's pod template laid over the rendered pod: maps merge, named lists merge by name, everything else is replaced.

It is the strategic merge that `kubectl patch` does for the lists that matter in a pod, without the deletion directives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
}
"""List field -> the key of its items. Source: the `patchMergeKey` tags of Kubernetes' core/v1 PodSpec and Container."""

APPENDED = frozenset({"tolerations", "topologySpreadConstraints"})
"""Lists without a merge key whose items add up rather than replace."""


def overlay(base: Any, patch: Any, field: str = "") -> Any:
    """`patch` over `base`; neither is changed. `field` is the name under which both stand."""
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        merged = dict(base)
        for key, value in patch.items():
            merged[key] = overlay(base[key], value, key) if key in base else value
        return merged
    if isinstance(base, list) and isinstance(patch, list):
        return _overlay_list(base, patch, field)
    return patch


def _overlay_list(base: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in APPENDED:
        return base + [item for item in patch if item not in base]
    key = MERGE_KEYS.get(field)
    # A key that is no text or number cannot be compared: such a list replaces, and the API server says what is wrong with it.
    if key is None or not all(isinstance(item, Mapping) and isinstance(item.get(key), (str, int)) for item in base + patch):
        return patch
    position = {item[key]: index for index, item in enumerate(base)}
    merged = list(base)
    for item in patch:
        if item[key] in position:
            merged[position[item[key]]] = overlay(merged[position[item[key]]], item)
        else:
            position[item[key]] = len(merged)
            merged.append(item)
    return merged
