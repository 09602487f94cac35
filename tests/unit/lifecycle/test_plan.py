"""The order of a pass, what a deletion does, what a refused spec leaves alone, and when to look again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.builders import NEW, NOW, Scene, context
from tests.unit.lifecycle.test_foundation import keyed

from llama_operator.lifecycle.actions import AddFinalizer, Apply, Create, Delete, PutServe, RemoveFinalizer
from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.observed import Failures, World
from llama_operator.lifecycle.plan import BUSY_SECONDS, DELETE_GRACE_SECONDS, REST_SECONDS, Plan, Wish, look_again_in, plan
from llama_operator.lifecycle.retry import RetryPolicy
from llama_operator.lifecycle.revision import make_wish
from llama_operator.rendering import names

POLICY = RetryPolicy()


def decided(world: World, replicas: int = 1, now: float = NOW) -> Plan:
    return plan(world, make_wish(world, context(), replicas), POLICY, now)


def settled(scene: Scene, replicas: int = 1) -> World:
    """The world in which everything around the gangs is as wanted."""
    world = scene.world(pinned={}, objects={})
    wish = make_wish(world, context(), replicas)
    pinned = wish.pinned
    manifests = [item for item in (*wish.shared, wish.record, pinned.head_service, pinned.head_store) if item]
    return replace(world, objects=keyed(*(dict(item) for item in manifests)), pinned={NEW: pinned})


def test_a_first_pass_makes_everything_in_the_order_in_which_it_is_needed() -> None:
    world = Scene().world(pinned={}, objects={}, finalizers=())
    kinds = [getattr(action, "manifest", {}).get("kind", type(action).__name__) for action in decided(world, 2).actions]
    assert kinds == [
        "AddFinalizer",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ControllerRevision",
        "PersistentVolumeClaim",
        "Service",
        "MakeToken",
        "Pod",
        "Pod",
        "Pod",
    ]


def test_at_rest_a_pass_does_nothing() -> None:
    world = settled(Scene().head().gang(0, GangState.READY).says(1, running=[0]))
    assert list(decided(world).actions) == []


NO_SECRET = 'CreateContainerConfigError: secret "demo-ray-token" not found'
WITHOUT_TOKEN: dict[str, tuple[Scene, int, int]] = {
    # sentence: scene, wanted replicas, how often the token is made
    "a replica's pod waits for it": (
        Scene().head().gang(0, GangState.READY).gang(1, GangState.PENDING, waiting=NO_SECRET).says(2, running=[0]),
        2,
        1,
    ),
    "a pod waits for its user's": (
        Scene()
        .head()
        .gang(0, GangState.READY)
        .gang(1, GangState.PENDING, waiting=NO_SECRET.replace("demo-ray", "hub"))
        .says(2, running=[0]),
        2,
        0,
    ),
    "the head waits for it": (Scene().head(phase="Pending", ready=False, ready_since=None, ip=None, waiting=NO_SECRET), 0, 1),
    "a replica is to come": (Scene().head().gang(0, GangState.READY).says(1, running=[0]), 2, 1),
    "head and replica are to come": (Scene(), 1, 1),
    "a pod that goes waits for it": (
        Scene().head().gang(0, GangState.READY).gang(1, GangState.TERMINATING, waiting=NO_SECRET).says(1, running=[0]),
        1,
        0,
    ),
    "a pod waits for its image": (
        Scene().head().gang(0, GangState.READY).gang(1, GangState.PENDING, waiting="ImagePullBackOff: no").says(2, running=[0]),
        2,
        0,
    ),
}


@pytest.mark.parametrize("sentence", WITHOUT_TOKEN)
def test_the_token_is_made_again_before_pods_that_need_it_and_while_one_may_wait_for_it(sentence: str) -> None:
    scene, replicas, times = WITHOUT_TOKEN[sentence]
    actions = decided(settled(scene, replicas), replicas).actions
    kinds = [action.manifest["kind"] if isinstance(action, Create) else type(action).__name__ for action in actions]
    assert kinds.count("MakeToken") == times
    assert "Pod" not in kinds or kinds.index("MakeToken") < kinds.index("Pod")


def test_the_same_world_gives_the_same_plan_whatever_the_order_of_its_pods() -> None:
    world = settled(Scene().head().gang(0, GangState.READY).gang(1, GangState.FAILED).gang(2, GangState.LOADING).says(3, running=[0]))
    turned = replace(world, pods=tuple(reversed(world.pods)))
    assert decided(world, 2) == decided(turned, 2)


def test_a_refused_spec_without_a_past_makes_nothing() -> None:
    assert plan(Scene().world(finalizers=()), None, POLICY, NOW) == Plan(actions=[], gangs=[], failures=Failures())


@pytest.mark.parametrize("wish", [True, False])
def test_a_deletion_takes_the_pods_first_and_then_the_finalizer(wish: bool) -> None:
    busy = Scene().head().gang(0, GangState.LOADING).gang(1, GangState.TERMINATING).world(deleting=True)
    wished: Wish | None = make_wish(busy, context(), 1) if wish else None
    deletes = plan(busy, wished, POLICY, NOW)
    assert [type(action) for action in deletes.actions] == [Delete, Delete]
    assert not deletes.finished_deleting
    empty = plan(Scene().world(deleting=True), wished, POLICY, NOW)
    assert [type(action) for action in empty.actions] == [RemoveFinalizer]
    assert empty.finished_deleting
    gone = plan(Scene().world(deleting=True, finalizers=("somebody/else",)), wished, POLICY, NOW)
    assert list(gone.actions) == []


def test_a_deletion_shortens_the_time_that_the_deletion_of_the_namespace_gave_the_pods() -> None:
    """A hung engine never finishes its streams: its pod would hold the namespace, and the GPUs, for the longest stream's time."""
    scene = Scene().head(deleting=True, delete_by=NOW + 10).gang(0, GangState.TERMINATING, delete_by=NOW + 330)
    (shorter,) = plan(scene.world(deleting=True), None, POLICY, NOW).actions
    assert isinstance(shorter, Delete)
    assert (shorter.name, shorter.grace_seconds) == (scene.pods[1].name, DELETE_GRACE_SECONDS)
    later = Scene().gang(0, GangState.TERMINATING, delete_by=NOW + DELETE_GRACE_SECONDS)
    assert list(plan(later.world(deleting=True), None, POLICY, NOW).actions) == []


def test_the_finalizer_is_put_on_once() -> None:
    world = settled(Scene().head().gang(0, GangState.READY).says(1, running=[0]))
    (add,) = decided(replace(world, finalizers=("somebody/else",))).actions
    assert isinstance(add, AddFinalizer)
    assert list(decided(replace(world, finalizers=("somebody/else", names.FINALIZER))).actions) == []


def test_serves_refusal_is_counted_once_and_the_application_is_sent_anew_after_the_pause() -> None:
    scene = Scene().head().gang(0, GangState.STARTING)
    refused = settled(scene.says(1, app_status="DEPLOY_FAILED", message="no module named x"))
    first = decided(refused)
    assert (first.failures.attempts, first.failures.reason, first.failures.message) == (1, "EngineFailed", "no module named x")
    again = decided(replace(refused, failures=first.failures), now=NOW + 3)
    assert again.failures == first.failures
    taken_away = replace(settled(scene.says(0, deployed=False)), failures=first.failures)
    assert not [action for action in decided(taken_away, now=NOW + 5).actions if isinstance(action, PutServe)]
    assert [action for action in decided(taken_away, now=NOW + 10).actions if isinstance(action, PutServe)]


@pytest.mark.parametrize(
    ("scene", "kept"),
    [
        (Scene().head().says(0), 0),
        (Scene().head().says(0, app_status="UNHEALTHY"), 0),
        (Scene().head().says(0, app_status="DEPLOYING"), 6),
        (Scene().head().says(0, app_status="DEPLOY_FAILED", message="no module named x"), 6),
        (Scene().head().says(0, deployed=False), 6),
        (Scene().head(), 6),
    ],
    ids=["Serve has it", "it has it, and is not well", "it takes it", "it refused it", "it lacks it", "it does not answer"],
)
def test_at_zero_failed_loads_are_forgotten_and_what_serve_refuses_is_not(scene: Scene, kept: int) -> None:
    used_up = Failures(revision=NEW, attempts=6, reason="OutOfMemory", message="x", counted_until=NOW - 50)
    world = replace(settled(scene, 0), failures=used_up)
    assert decided(world, 0).failures == (used_up if kept else Failures(revision=NEW, counted_until=NOW - 50))
    assert decided(world, 1).failures == used_up


def test_when_no_attempt_is_left_nothing_is_made_and_the_failed_goes() -> None:
    world = settled(Scene().head().gang(0, GangState.FAILED).says(0))
    last = decided(replace(world, failures=Failures(revision=NEW, attempts=5)))
    assert last.exhausted
    assert [type(action) for action in last.actions if not hasattr(action, "labels")] == [Delete]
    after = settled(Scene().head(traffic=True).says(0))
    quiet = decided(replace(after, failures=last.failures), now=NOW + 1e6)
    assert [action for action in quiet.actions if isinstance(action, (Create, Apply, PutServe))] == []


@pytest.mark.parametrize(
    ("scene", "wanted", "pause"),
    [
        (Scene().head().gang(0, GangState.READY).says(1, running=[0]), 1, REST_SECONDS),
        (Scene().head().gang(0, GangState.LOADING).says(1), 1, BUSY_SECONDS),
        (Scene().head().gang(0, GangState.READY).gang(1, GangState.DRAINING).says(1, running=[0]), 1, BUSY_SECONDS),
    ],
    ids=["at rest", "while it loads", "while one drains"],
)
def test_it_looks_again(scene: Scene, wanted: int, pause: float) -> None:
    assert look_again_in(decided(settled(scene), wanted), wanted) == pause


def test_a_deletion_that_is_through_is_not_watched_closely() -> None:
    finished: dict[str, Any] = {"actions": [], "gangs": [], "failures": Failures(), "finished_deleting": True}
    assert look_again_in(Plan(**finished), 1) == REST_SECONDS
