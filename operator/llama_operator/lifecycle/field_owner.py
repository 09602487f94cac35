"""That an object was made by POST, and is applied from then on.

A name that may be somebody else's is taken by POST, which an API server refuses where the name is taken. Whoever posts owns the fields as
one who updates, and an apply takes away only fields that an apply set
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply): what a later
version leaves out would stay for ever. So the posted fields are handed over in the book of writers, as kubectl does
(`UpgradeManagedFieldsPatch` of k8s.io/client-go/util/csaupgrade).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.rendering import names


def hand_over(live: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """The JSON patch that lets what we posted count as applied; None where nothing is left to hand over.

    The version is replaced by itself, so that the API server answers Conflict where the object changed since it was read.
    """
    metadata = live["metadata"]
    book: Sequence[Mapping[str, Any]] = metadata.get("managedFields") or []
    posted = next((entry for entry in book if _is_ours(entry, "Update")), None)
    if posted is None:
        return None
    applied = next((entry for entry in book if _is_ours(entry, "Apply")), posted)
    fields = _union(posted.get("fieldsV1") or {}, applied.get("fieldsV1") or {})
    others = [entry for entry in book if entry is not posted and entry is not applied]
    return (
        {"op": "replace", "path": "/metadata/managedFields", "value": [*others, {**applied, "operation": "Apply", "fieldsV1": fields}]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
    )


def _is_ours(entry: Mapping[str, Any], operation: str) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource") or "") == (names.FIELD_MANAGER, operation, "")


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Sets of fields are maps of maps."""
    return {key: _union(one.get(key) or {}, other.get(key) or {}) for key in {**one, **other}}
