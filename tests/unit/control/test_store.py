"""The store: no late event undoes what is known, a LIST notices deletions, and a LIST that was slow loses nothing new."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.control.store import Store
from llama_operator.rendering import names

KEY = names.Key("llm", "demo")


def obj(
    version: str, *, kind: str = "Service", name: str = "demo", namespace: str = "llm", uid: str = "u1", owner: str = "demo"
) -> dict[str, Any]:
    labels = {names.LABEL_DEPLOYMENT: owner}
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": version, "labels": labels}}


def version(store: Store, name: str = "demo") -> str | None:
    found = store.children(KEY).get(("Service", name))
    return found["metadata"]["resourceVersion"] if found else None


@pytest.mark.parametrize(
    ("known", "given", "kept"), [("5", "7", "7"), ("7", "5", "7"), ("9", "10", "10"), ("5", "5", "5"), ("x", "1", "1"), ("5", "x", "5")]
)
def test_only_a_higher_version_replaces_what_is_known(known: str, given: str, kept: str) -> None:
    store = Store()
    store.put(obj(known))
    store.put(obj(given))
    assert version(store) == kept


def test_another_object_of_the_same_name_replaces_what_is_older() -> None:
    store = Store()
    store.put(obj("9"))
    store.put(obj("11", uid="u2"))
    assert version(store) == "11"
    store.put(obj("10"))
    assert version(store) == "11"


def test_a_list_from_before_an_object_was_made_anew_leaves_the_new_one() -> None:
    store = Store()
    store.put(obj("5"))
    since, listed = store.mark(), [obj("5")]
    store.drop("Service", "llm", "demo", "u1")
    store.put(obj("9", uid="u2"))
    store.replace_kind("Service", listed, (), since)
    assert version(store) == "9"


def test_a_list_from_before_a_deletion_brings_nothing_back_and_the_next_one_does() -> None:
    store = Store()
    store.put(obj("5"))
    since, listed = store.mark(), [obj("5")]
    store.drop("Service", "llm", "demo", "u1")
    store.replace_kind("Service", listed, (), since)
    assert version(store) is None
    store.replace_kind("Service", listed, (), store.mark())
    assert version(store) == "5"


def test_a_list_says_who_bears_a_name_now_whatever_the_versions() -> None:
    """After a restore of etcd they begin anew."""
    store = Store()
    store.put(obj("9"))
    store.replace_kind("Service", [obj("3", uid="u2")], (), store.mark())
    assert version(store) == "3"


def test_a_deletion_of_the_predecessor_leaves_the_successor() -> None:
    store = Store()
    store.put(obj("9", uid="u2"))
    store.drop("Service", "llm", "demo", "u1")
    assert version(store) == "9"
    store.drop("Service", "llm", "demo", "u2")
    store.drop("Service", "llm", "demo", "u2")
    assert version(store) is None


def test_a_list_notices_what_is_gone_and_leaves_other_kinds_alone() -> None:
    store = Store()
    for manifest in (obj("1"), obj("1", name="gone"), obj("1", kind="NetworkPolicy")):
        store.put(manifest)
    store.replace_kind("Service", [obj("2")])
    assert set(store.children(KEY)) == {("Service", "demo"), ("NetworkPolicy", "demo")}


def test_a_list_of_some_namespaces_says_nothing_of_the_others() -> None:
    store = Store()
    store.put(obj("1", namespace="other"))
    store.put(obj("1"))
    store.replace_kind("Service", [], ["llm"])
    assert version(store) is None
    assert ("Service", "demo") in store.children(names.Key("other", "demo"))


def test_a_list_that_was_on_its_way_does_not_undo_what_was_made_meanwhile() -> None:
    store = Store()
    store.put(obj("1", name="old"))
    mark = store.mark()
    store.put(obj("9", name="made"))
    store.replace_kind("Service", [], since=mark)
    assert (version(store, "made"), version(store, "old")) == ("9", None)


def test_a_list_does_not_turn_a_newer_view_back() -> None:
    store = Store()
    store.put(obj("9"))
    store.replace_kind("Service", [obj("4")])
    assert version(store) == "9"


def test_deployments_and_their_children_are_found_by_key() -> None:
    store = Store()
    store.put(obj("1", kind=names.KIND))
    store.put(obj("1"))
    store.put(obj("1", name="foreign", owner="other"))
    store.put({"kind": "Service", "metadata": {"name": "bare", "namespace": "llm"}})
    assert store.deployments() == [KEY]
    assert store.deployment(KEY) is not None
    assert store.deployment(names.Key("llm", "x")) is None
    assert set(store.children(KEY)) == {("Service", "demo")}
