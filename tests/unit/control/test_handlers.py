"""Which events make a pass: all but those that tell nothing but a status."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.control.handlers import observe
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue
from llama_operator.rendering import names

KEY = names.Key("llm", "demo")


def deployment(version: str, status: str = "a", **metadata: Any) -> dict[str, Any]:
    given = {"name": KEY.name, "namespace": KEY.namespace, "uid": "u1", "generation": 1, "resourceVersion": version, **metadata}
    return {"kind": names.KIND, "metadata": given, "status": {"phase": status}}


CHANGES = [
    ({}, False),
    ({"status": "b"}, False),
    ({"managedFields": [{"manager": "llama-operator"}]}, False),
    ({"generation": 2}, True),
    ({"deletionTimestamp": "2026-09-21T14:13:20Z"}, True),
    ({"annotations": {"a": "b"}}, True),
    ({"labels": {"a": "b"}}, True),
    ({"finalizers": ["x"]}, True),
    ({"uid": "u2"}, True),
]


async def heard(store: Store, event: str | None, manifest: dict[str, Any]) -> bool:
    """Whether the event brings a pass."""
    queue = WorkQueue[names.Key]()
    observe(store, queue, event, manifest)
    return bool(len(queue))


@pytest.mark.parametrize(("change", "passes"), CHANGES)
async def test_a_change_of_anything_but_the_status_makes_a_pass(change: dict[str, Any], passes: bool) -> None:
    store = Store()
    assert await heard(store, None, deployment("5"))
    assert await heard(store, "MODIFIED", deployment("7", **change)) is passes
    # The store has it either way.
    assert store.deployment(KEY) == deployment("7", **change)


async def test_an_edit_that_a_write_or_a_list_told_first_makes_a_pass_yet() -> None:
    store = Store()
    assert await heard(store, None, deployment("5"))
    store.put(deployment("7", status="b", generation=2))
    assert await heard(store, "MODIFIED", deployment("6", generation=2))
    assert not await heard(store, "MODIFIED", deployment("7", status="b", generation=2))


async def test_a_deletion_makes_a_pass_and_so_does_what_comes_back() -> None:
    store = Store()
    assert await heard(store, None, deployment("5"))
    assert await heard(store, "DELETED", deployment("6"))
    assert store.deployment(KEY) is None
    assert await heard(store, "ADDED", deployment("7"))


async def test_every_event_of_a_child_makes_a_pass() -> None:
    child = {"name": "demo", "namespace": "llm", "uid": "u3", "resourceVersion": "5", "labels": names.common_labels(KEY.name)}
    for kind in ("Pod", "Service"):
        store = Store()
        for _ in range(2):
            assert await heard(store, "MODIFIED", {"kind": kind, "metadata": child})


async def test_what_a_list_does_not_have_any_more_is_not_remembered() -> None:
    """A deletion that no watch told, after a 410."""
    store = Store()
    assert await heard(store, None, deployment("5"))
    store.replace_kind(names.KIND, [])
    assert await heard(store, "ADDED", deployment("7"))
