"""What stands around the gangs: made once, repaired when it differs, cleared away with its revision, and otherwise left alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from tests.harness.builders import KEY, NEW, OLD, UID, Scene, a_head, context, pinned, record

from llama_operator.lifecycle.actions import Action, Apply, Create, Delete, MakeToken
from llama_operator.lifecycle.diff import first_difference
from llama_operator.lifecycle.foundation import clear_old_revisions, ended_heads, old_heads, revision_objects, shared_objects
from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.observed import Agent, RootCause
from llama_operator.lifecycle.revision import shared_objects as wanted_shared
from llama_operator.lifecycle.taken import Taken, taken
from llama_operator.rendering import names

NOW = 1_790_000_000.0


def live(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as the API server gives it back: with a uid, defaults and other people's labels."""
    there = copy.deepcopy(manifest)
    there["metadata"].update(uid=f"uid-{manifest['metadata']['name']}", resourceVersion="7", creationTimestamp="2026-09-21T14:00:00Z")
    there["metadata"].setdefault("labels", {})["team"] = "search"
    there["status"] = {}
    there["spec"] = {key: value for key, value in there.get("spec", {}).items() if value is not None}
    return there


def keyed(*manifests: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(item["kind"], item["metadata"]["name"]): live(item) for item in manifests}


def what(actions: list[Action]) -> list[tuple[str, str]]:
    named = []
    for action in actions:
        manifest = getattr(action, "manifest", None)
        named.append((type(action).__name__, manifest["kind"] if manifest else getattr(action, "name", "")))
    return named


def test_shared_objects_are_made_and_not_applied_when_they_are_not_there() -> None:
    world = Scene().world(objects={})
    assert what(shared_objects(world, wanted_shared(context(), 2, 1))) == [
        ("Apply", "Service"),
        ("Apply", "PodDisruptionBudget"),
        ("Apply", "NetworkPolicy"),
    ]


def test_the_shared_objects_that_are_looked_for_are_those_that_are_made() -> None:
    made = [(item["kind"], item["metadata"]["name"]) for item in wanted_shared(context(), 2, 1)]
    assert tuple(made) == names.shared("demo")


def test_an_object_of_somebody_else_is_not_written_and_the_others_are() -> None:
    world = Scene().world(objects={}, taken=[Taken(kind="Service", name="demo")])
    assert what(shared_objects(world, wanted_shared(context(), 2, 1))) == [("Apply", "PodDisruptionBudget"), ("Apply", "NetworkPolicy")]


def owner(kind: str, name: str, uid: str, *, controller: bool = True) -> dict[str, Any]:
    return {"apiVersion": "x/v1", "kind": kind, "name": name, "uid": uid, "controller": controller}


OURS, PREDECESSOR = owner(names.KIND, "demo", UID), owner(names.KIND, "demo", "of a predecessor")
OTHERS: dict[str, tuple[list[dict[str, Any]] | None, Taken | None]] = {
    # sentence: the owners, what is found
    "ours": ([OURS], None),
    "ours, and a backup's too": ([owner("Backup", "b", "b", controller=False), OURS], None),
    "nobody's": (None, Taken(kind="Service", name="demo")),
    "a controller's": (
        [owner("Team", "t", "t", controller=False), owner("Database", "postgres", "u")],
        Taken(kind="Service", name="demo", owner="Database postgres"),
    ),
    "somebody's who does not control it": ([owner("Team", "t", "t", controller=False)], Taken(kind="Service", name="demo", owner="Team t")),
    "that of one that bore our name before us": (
        [PREDECESSOR],
        Taken(kind="Service", name="demo", owner="LlamaDeployment demo", leaving=True),
    ),
    "that of another LlamaDeployment": ([owner(names.KIND, "b", "b")], Taken(kind="Service", name="demo", owner="LlamaDeployment b")),
}


@pytest.mark.parametrize("sentence", OTHERS)
def test_whose_an_object_is(sentence: str) -> None:
    owners, found = OTHERS[sentence]
    service = {"kind": "Service", "metadata": {"name": "demo", "ownerReferences": owners}}
    assert taken(service, KEY, UID) == found


def test_shared_objects_that_are_as_wanted_are_not_written() -> None:
    desired = wanted_shared(context(), 2, 1)
    assert shared_objects(Scene().world(objects=keyed(*desired)), desired) == []


def test_a_field_that_somebody_changed_is_put_right_and_named() -> None:
    desired = wanted_shared(context(), 2, 1)
    objects = keyed(*desired)
    objects["Service", "demo"]["spec"]["ports"][0]["targetPort"] = 9
    (apply,) = shared_objects(Scene().world(objects=objects), desired)
    assert isinstance(apply, Apply)
    assert apply.why == "Service demo: spec.ports[0].targetPort is 9, wanted 8000"


def test_the_budget_that_an_earlier_operator_wrote_is_put_right() -> None:
    desired = wanted_shared(context(), 2, 1)
    objects = keyed(*desired)
    spec = objects["PodDisruptionBudget", "demo"]["spec"]
    del spec["minAvailable"]
    spec["maxUnavailable"] = 1
    (apply,) = shared_objects(Scene().world(objects=objects), desired)
    assert isinstance(apply, Apply)
    assert apply.why == "PodDisruptionBudget demo: spec.minAvailable is missing"
    assert apply.manifest["spec"]["maxUnavailable"] is None


def test_a_new_revision_begins_with_its_record_then_store_service_token_and_head() -> None:
    actions = revision_objects(Scene().world(pinned={}, objects={}), pinned(), record())
    assert what(actions) == [
        ("Create", "ControllerRevision"),
        ("Create", "PersistentVolumeClaim"),
        ("Create", "Service"),
        ("MakeToken", ""),
        ("Create", "Pod"),
    ]
    assert [action.announce for action in actions if action.announce] == ["RevisionCreated", "HeadCreated"]


def test_a_revision_whose_children_are_all_there_is_left_alone() -> None:
    kept = pinned()
    assert kept.head_store is not None
    world = Scene().head().world(objects=keyed(record(), kept.head_service, kept.head_store))
    assert revision_objects(world, kept, None) == []


@pytest.mark.parametrize(("schema", "removed"), [(1, True), (None, True), ("1", True), (2, False)])
def test_a_record_that_is_not_ours_gives_way_and_one_of_a_newer_operator_stays(schema: object, removed: bool) -> None:
    there = keyed(record())
    there["ControllerRevision", f"demo-{NEW}"]["data"]["schema"] = schema
    actions = revision_objects(Scene().head().world(pinned={}, objects=there), pinned(), record())
    gone = [(action.kind, action.name, action.uid) for action in actions if isinstance(action, Delete)]
    assert gone == ([("ControllerRevision", f"demo-{NEW}", f"uid-demo-{NEW}")] if removed else [])
    assert what(actions)[len(gone)] == ("Create", "ControllerRevision")


def test_a_record_that_is_not_ours_and_goes_already_is_waited_for() -> None:
    """Somebody's finalizer keeps it: to ask again in every pass would be a loop of writes without end."""
    there = keyed(record())
    metadata = there["ControllerRevision", f"demo-{NEW}"]["metadata"]
    there["ControllerRevision", f"demo-{NEW}"]["data"]["schema"] = None
    metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    actions = revision_objects(Scene().head().world(pinned={}, objects=there), pinned(), record())
    assert not [word for word in what(actions) if word[1] == "ControllerRevision"]


def test_what_may_belong_to_others_is_all_that_is_shared() -> None:
    made = wanted_shared(context(), 2, 1)
    assert [(manifest["kind"], manifest["metadata"]["name"]) for manifest in made] == list(names.shared("demo"))


def test_a_lost_head_is_made_again_and_nothing_else() -> None:
    kept = pinned()
    assert kept.head_store is not None
    world = Scene().world(objects=keyed(record(), kept.head_service, kept.head_store))
    made = revision_objects(world, kept, None)
    assert [type(action) for action in made] == [MakeToken, Create]


@pytest.mark.parametrize(
    ("gang", "made"),
    [(GangState.READY, [MakeToken, Create]), (GangState.DRAINING, [MakeToken, Create]), (GangState.TERMINATING, [])],
    ids=["serves", "drains", "is gone soon"],
)
def test_the_lost_head_of_an_old_revision_is_made_again_while_its_gangs_serve(gang: GangState, made: list[type[Action]]) -> None:
    old = pinned(OLD)
    assert old.head_store is not None
    there = keyed(record(), record(OLD), old.head_service, old.head_store)
    world = Scene().head().gang(0, gang, OLD).world(pinned={NEW: pinned(), OLD: old}, objects=there)
    actions = old_heads(world, NEW)
    assert [type(action) for action in actions] == made
    assert all(action.manifest == old.head for action in actions if isinstance(action, Create))


def test_an_old_revision_of_which_nothing_is_kept_is_left_as_it_is() -> None:
    assert old_heads(Scene().head().gang(0, GangState.READY, OLD).world(pinned={NEW: pinned()}, objects={}), NEW) == []


def test_a_head_that_is_on_its_way_out_is_waited_for() -> None:
    kept = pinned()
    assert kept.head_store is not None
    world = Scene().head(deleting=True).world(objects=keyed(record(), kept.head_service, kept.head_store))
    assert revision_objects(world, kept, None) == []


@pytest.mark.parametrize(
    ("over", "deleted"), [({}, 0), ({"ended": "Error", "phase": "Failed"}, 1), ({"ended": "Error", "deleting": True}, 0)]
)
def test_a_head_whose_container_ended_is_deleted_so_that_its_name_comes_free(over: dict[str, Any], deleted: int) -> None:
    actions = ended_heads(Scene().head(**over).gang(0, GangState.BROKEN).world(), NOW)
    assert [(type(action), action.announce) for action in actions] == [(Delete, "HeadLost")] * deleted


@pytest.mark.parametrize(("seconds_ago", "age", "deleted"), [(1, 600, 0), (30, 600, 1), (NOW, 600, 1), (NOW, 9, 0), (-3600, 600, 1)])
def test_a_head_whose_ray_could_not_start_is_left_to_be_looked_at_and_then_replaced(seconds_ago: float, age: float, deleted: int) -> None:
    """Also where its agent says that it failed before its pod was made, or will."""
    cause = RootCause(reason="RayFailed", message="Ray ended with status 1")
    world = Scene().head(created=NOW - age).world()
    head = world.head(NEW)
    assert head is not None
    said = Agent(phase="Failed", since=NOW - seconds_ago, root_cause=cause)
    actions = ended_heads(replace(world, agents={**world.agents, head.name: said}), NOW)
    assert [(type(action), action.announce) for action in actions] == [(Delete, "HeadLost")] * deleted
    assert all("Ray ended with status 1" in action.why for action in actions)


def test_the_head_of_an_old_revision_goes_when_its_last_gang_is_gone() -> None:
    assert clear_old_revisions(Scene().head().head(OLD).gang(0, GangState.TERMINATING, OLD).world(), NEW, NOW) == []
    (delete,) = clear_old_revisions(Scene().head().head(OLD).gang(0, GangState.READY).world(), NEW, NOW)
    assert isinstance(delete, Delete)
    assert (delete.kind, delete.name, delete.uid) == ("Pod", a_head(OLD).name, a_head(OLD).uid)


HANDOVERS: dict[str, tuple[Scene, bool]] = {
    # sentence: scene, whether the old head goes
    "it lets users in, the new head is not ready yet": (
        Scene().head(ready=False, ready_since=None, traffic=True).head(OLD, traffic=True),
        False,
    ),
    "there is no new head yet": (Scene().head(OLD, traffic=True), False),
    "it lets users in and was not shut yet": (Scene().head(traffic=True).head(OLD, traffic=True), False),
    "the new head lets users in since a moment ago": (Scene().head(traffic=True, ready_since=NOW - 9).head(OLD), False),
    "the new head lets users in": (Scene().head(traffic=True, ready_since=NOW - 10).head(OLD), True),
    "a replica lets users in": (Scene().head(ready_since=NOW).head(OLD).gang(0, GangState.READY), True),
    "a replica that goes lets nobody in": (Scene().head(ready_since=NOW).head(OLD).gang(0, GangState.TERMINATING), False),
    "it never became ready": (Scene().head(ready=False, ready_since=None).head(OLD, traffic=True, ready=False, ready_since=None), True),
}


@pytest.mark.parametrize("sentence", HANDOVERS)
def test_an_old_head_without_a_gang_goes_once_others_let_users_in(sentence: str) -> None:
    scene, goes = HANDOVERS[sentence]
    deleted = [(action.kind, action.name) for action in clear_old_revisions(scene.world(), NEW, NOW) if isinstance(action, Delete)]
    assert deleted == ([("Pod", a_head(OLD).name)] if goes else [])


def test_what_an_old_revision_left_goes_when_its_last_pod_is_gone() -> None:
    old = pinned(OLD)
    assert old.head_store is not None
    objects = keyed(record(), record(OLD), old.head_service, old.head_store, *wanted_shared(context(), 2, 1))
    with_pod = Scene().head().head(OLD, deleting=True).world(objects=objects)
    assert clear_old_revisions(with_pod, NEW, NOW) == []
    gone = clear_old_revisions(Scene().head().world(objects=objects), NEW, NOW)
    assert sorted((action.kind, action.name, action.uid) for action in gone if isinstance(action, Delete)) == [
        ("ControllerRevision", f"demo-{OLD}", f"uid-demo-{OLD}"),
        ("PersistentVolumeClaim", f"demo-{OLD}-gcs", f"uid-demo-{OLD}-gcs"),
        ("Service", f"demo-{OLD}-head", f"uid-demo-{OLD}-head"),
    ]
    assert [action.announce for action in gone if action.announce] == ["RevisionRemoved"]


def test_what_is_being_deleted_already_is_not_deleted_again() -> None:
    objects = keyed(record(OLD))
    objects["ControllerRevision", f"demo-{OLD}"]["metadata"]["deletionTimestamp"] = "2026-09-21T14:00:00Z"
    assert clear_old_revisions(Scene().head().world(objects=objects), NEW, NOW) == []


DIFFERENCES: dict[str, tuple[Any, Any, str | None]] = {
    "equal values": ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2}]}}, None),
    "fields that we do not set are others'": ({"a": 1}, {"a": 1, "b": 2}, None),
    "a lacking field": ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
    "another value": ({"a": 1}, {"a": 2}, "a is 2, wanted 1"),
    "an empty map that the API server drops": ({"a": {}, "b": [], "c": None}, {}, None),
    "a scalar where a map is wanted": ({"a": {"b": 1}}, {"a": 3}, "a is 3, wanted an object"),
    "a list with other items": ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "a[0].b is 2, wanted 1"),
    "a longer list": ({"a": [1]}, {"a": [1, 2]}, "a has 2 items, wanted 1"),
    "no list": ({"a": [1]}, {"a": "x"}, "a has no items, wanted 1"),
    "the whole": ({"a": 1}, 3, "it is 3, wanted an object"),
}


@pytest.mark.parametrize("sentence", DIFFERENCES)
def test_difference(sentence: str) -> None:
    desired, there, want = DIFFERENCES[sentence]
    assert first_difference(desired, there) == want
