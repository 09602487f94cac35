"""Which gangs are made, drained and deleted: every row of the tables in `lifecycle/rollout.py`, and the cases between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.harness.builders import NEW, NOW, OLD, Scene, pinned

from llama_operator.lifecycle.actions import Action, Create, Delete, Drain, Mark
from llama_operator.lifecycle.gangs import GangState, gangs_of
from llama_operator.lifecycle.observed import Agent, Serve, ServeReplica, World
from llama_operator.lifecycle.rollout import DRAIN_MARGIN_SECONDS, GangSteps, is_drained, plan_gangs
from llama_operator.rendering import names


def steps(world: World, target: int, *, may_create: bool = True, exhausted: bool = False, now: float = NOW) -> GangSteps:
    return plan_gangs(world, gangs_of(world), world.pinned[NEW], target, may_create=may_create, exhausted=exhausted, now=now)


def told(actions: Any) -> list[str]:
    """Actions in a word each: what is done to which pod."""
    words = []
    for action in actions:
        match action:
            case Create(manifest=manifest):
                words.append(f"create {manifest['metadata']['name'].removeprefix('demo-')}")
            case Delete(name=name) | Mark(pod=name) | Drain(pod=name):
                words.append(f"{type(action).__name__.lower()} {name.removeprefix('demo-')}")
    return words


N, O = NEW, OLD  # noqa: E741 - the two revisions of every row
READY, LOADING, FAILED, BROKEN, PENDING = GangState.READY, GangState.LOADING, GangState.FAILED, GangState.BROKEN, GangState.PENDING
DRAINING, TERMINATING = GangState.DRAINING, GangState.TERMINATING

STUCK = {"delete_by": NOW - 3 * 86_400}

ROWS: dict[str, tuple[Scene, int, list[str], int]] = {
    # sentence: scene, wanted, what is done, replicas that Serve should run for the new revision
    "nothing there, two wanted: two are made": (Scene().head(), 2, [f"create {N}-g0-0", f"create {N}-g1-0"], 2),
    "one there, three wanted: two are made": (Scene().gang(0, READY), 3, [f"create {N}-g1-0", f"create {N}-g2-0"], 3),
    "all there: nothing is done": (Scene().gang(0, READY).gang(1, READY), 2, [], 2),
    "those that load count as there": (Scene().gang(0, READY).gang(1, LOADING), 2, [], 2),
    "three there, one wanted: the two youngest drain": (
        Scene().gang(0, READY).gang(1, READY, created=NOW - 9).gang(2, READY, created=NOW - 8),
        1,
        [f"mark {N}-g2-0", f"mark {N}-g1-0"],
        1,
    ),
    "one that does not serve yet is deleted at once": (Scene().gang(0, READY).gang(1, LOADING), 1, [f"delete {N}-g1-0"], 1),
    "none wanted: the last drains": (Scene().gang(0, READY), 0, [f"mark {N}-g0-0"], 0),
    "a broken gang is deleted, and counts until it is gone": (Scene().gang(0, BROKEN), 1, [f"delete {N}-g0-0"], 1),
    "a broken gang that is one too many is deleted once": (
        Scene().gang(0, READY).gang(1, BROKEN),
        1,
        [f"delete {N}-g1-0"],
        1,
    ),
    "a gang that leaves is replaced under another number": (Scene().gang(0, TERMINATING), 1, [f"create {N}-g1-0"], 1),
    "a draining gang is not one of the wanted": (
        Scene().gang(0, DRAINING, drain_since=NOW).gang(1, READY).head().says(1, running=[0, 1]),
        1,
        [],
        1,
    ),
    # With an older revision around.
    "old 2 ready, new 0: one old drains": (
        Scene().head().head(O).gang(0, READY, O).gang(1, READY, O),
        2,
        [f"mark {O}-g1-0"],
        0,
    ),
    "old 1 ready, new 0, 1 leaving: its GPUs are waited for": (
        Scene().head().head(O).gang(0, READY, O).gang(1, TERMINATING, O),
        2,
        [],
        0,
    ),
    "old 1 ready, new 0: the free place is taken": (Scene().head().head(O).gang(0, READY, O), 2, [f"create {N}-g0-0"], 1),
    "old 1 ready, new 1 loading: wait": (Scene().head().head(O).gang(0, READY, O).gang(0, LOADING), 2, [], 1),
    "old 1 ready, new 1 ready: the other old drains": (
        Scene().head().head(O).gang(0, READY, O).gang(0, READY),
        2,
        [f"mark {O}-g0-0"],
        1,
    ),
    "old 1 leaving, new 1 ready: its GPUs are waited for": (
        Scene().head().head(O).gang(0, TERMINATING, O).gang(0, READY),
        2,
        [],
        1,
    ),
    "old ones that serve nobody go at once": (
        Scene().head().head(O).gang(0, LOADING, O).gang(1, READY, O).gang(2, FAILED, O),
        2,
        [f"delete {O}-g0-0", f"delete {O}-g2-0"],
        0,
    ),
    "an old broken one is deleted once": (Scene().head().head(O).gang(0, BROKEN, O).gang(1, READY, O), 2, [f"delete {O}-g0-0"], 0),
    "the old serve until the new head is ready": (
        Scene().head(ready=False).head(O).gang(0, READY, O).gang(1, READY, O),
        2,
        [],
        0,
    ),
    "fewer wanted while it moves: the surplus of the old drains together": (
        Scene().head().head(O).gang(0, READY, O).gang(1, READY, O).gang(2, READY, O),
        1,
        [f"mark {O}-g2-0", f"mark {O}-g1-0"],
        0,
    ),
    # On a node that is dead: the pods were to be gone long ago.
    "the last old is stuck, new 0: its place is taken": (
        Scene().head().head(O).gang(0, TERMINATING, O, **STUCK),
        1,
        [f"create {N}-g0-0"],
        1,
    ),
    "an old that may still go is waited for": (Scene().head().head(O).gang(0, TERMINATING, O, delete_by=NOW - 60), 1, [], 0),
    "old 1 ready, 1 stuck, new 0: the free place is taken": (
        Scene().head().head(O).gang(0, READY, O).gang(1, TERMINATING, O, **STUCK),
        2,
        [f"create {N}-g0-0"],
        1,
    ),
    "old 1 ready, 1 stuck, new 1 ready: the old drains": (
        Scene().head().head(O).gang(0, READY, O).gang(1, TERMINATING, O, **STUCK).gang(0, READY),
        2,
        [f"mark {O}-g0-0"],
        1,
    ),
    "a new one is stuck while an old drains: its place is taken too": (
        Scene().head().head(O).gang(0, DRAINING, O, drain_since=NOW).gang(0, TERMINATING, **STUCK),
        2,
        [f"create {N}-g1-0"],
        1,
    ),
    "fewer wanted beside an old that is stuck: the surplus drains": (
        Scene().head().gang(0, READY).gang(1, READY, created=NOW - 9).gang(0, TERMINATING, O, **STUCK),
        1,
        [f"mark {N}-g1-0"],
        1,
    ),
    "only one old drains at a time": (
        Scene().head().head(O).gang(0, READY, O).gang(1, READY, O).gang(2, DRAINING, O, drain_since=NOW),
        3,
        [],
        0,
    ),
}


@pytest.mark.parametrize("sentence", ROWS)
def test_row(sentence: str) -> None:
    scene, target, want, serving = ROWS[sentence]
    decided = steps(scene.world(now=NOW), target)
    assert sorted(told(decided.actions)) == sorted(want)
    assert decided.serving == serving
    on_its_way = [gang for gang in gangs_of(scene.world(now=NOW)) if gang.revision == OLD and not gang.stuck]
    assert decided.moving == bool(on_its_way)


def test_a_gang_of_two_pods_is_made_broken_and_drained_as_a_whole() -> None:
    made = steps(Scene(size=2, gpus=8).world(), 1)
    assert told(made.actions) == [f"create {N}-g0-0", f"create {N}-g0-1"]
    lost = Scene(size=2).gang(0, READY)
    lost.pods.pop()
    assert told(steps(lost.world(), 1).actions) == [f"delete {N}-g0-0"]
    surplus = steps(Scene(size=2).gang(0, READY).world(), 0)
    assert told(surplus.actions) == [f"mark {N}-g0-0", f"mark {N}-g0-1"]
    assert [action.announce for action in surplus.actions] == ["GangDraining", None]


def test_one_pod_that_was_told_to_go_takes_the_rest_of_its_gang_along() -> None:
    scene = Scene(size=2).gang(0, READY)
    scene.pods[1] = replace(scene.pods[1], deleting=True)
    assert told(steps(scene.world(), 1).actions) == [f"delete {N}-g0-0", f"create {N}-g1-0", f"create {N}-g1-1"]


def test_a_half_made_gang_is_completed() -> None:
    scene = Scene(size=2).gang(0, PENDING)
    scene.pods.pop(0)
    assert told(steps(scene.world(), 1).actions) == [f"create {N}-g0-0"]


def test_a_half_made_gang_that_is_one_too_many_is_deleted_and_not_completed() -> None:
    scene = Scene(size=2).gang(0, READY).gang(1, PENDING)
    scene.pods.pop()
    assert told(steps(scene.world(), 1).actions) == [f"delete {N}-g1-0"]


@pytest.mark.parametrize(
    ("may_create", "exhausted", "want", "serving"),
    [
        (False, False, [], 0),
        (True, False, [f"create {N}-g1-0", f"delete {N}-g0-0"], 1),
        (False, True, [f"delete {N}-g0-0"], 0),
    ],
    ids=["waits with its log until the pause is over", "is replaced after the pause", "goes when no attempt is left"],
)
def test_a_gang_that_failed_to_load(may_create: bool, exhausted: bool, want: list[str], serving: int) -> None:
    decided = steps(Scene().gang(0, FAILED).world(), 1, may_create=may_create, exhausted=exhausted)
    assert (sorted(told(decided.actions)), decided.serving) == (want, serving)


def test_a_failed_gang_does_not_hinder_the_others() -> None:
    decided = steps(Scene().gang(0, READY).gang(1, FAILED).world(), 2, may_create=False)
    assert (told(decided.actions), decided.serving) == ([], 1)


def test_a_broken_gang_that_may_not_be_replaced_yet_is_not_asked_of_serve() -> None:
    decided = steps(Scene().gang(0, READY).gang(1, BROKEN).world(), 2, may_create=False)
    assert (told(decided.actions), decided.serving) == ([f"delete {N}-g1-0"], 1)


@pytest.mark.parametrize(
    "new", [{"may_create": False}, {"may_create": False, "exhausted": True}, {}], ids=["in its pause", "given up", "about to be tried"]
)
def test_a_new_revision_that_fails_stops_the_move_and_the_old_serves_on(new: dict[str, bool]) -> None:
    scene = Scene().head().head(O).gang(0, READY, O).gang(0, FAILED)
    decided = steps(scene.world(), 2, **new)
    assert not [word for word in told(decided.actions) if OLD in word]
    assert not decided.victims


def test_a_place_left_open_by_a_pause_stops_the_move() -> None:
    scene = Scene().head().head(O).gang(0, READY, O)
    decided = steps(scene.world(), 2, may_create=False)
    assert told(decided.actions) == []


DEADLINE = NOW - 300 - DRAIN_MARGIN_SECONDS
GONE = {"running": []}


def drain_scene(**over: Any) -> Scene:
    return Scene().head().gang(0, READY).gang(1, DRAINING, **over)


def test_a_drain_begins_with_the_agent_and_is_repeated_until_it_says_so() -> None:
    scene = drain_scene().says(2, running=[0, 1])
    scene.agents[scene.pods[2].name] = Agent(phase="Ready", in_flight=3)
    (drain,) = steps(scene.world(), 1).actions
    assert isinstance(drain, Drain)
    assert (drain.pod, drain.ip, drain.deadline_seconds) == (f"demo-{N}-g1-0", "10.0.1.1", 300)


def test_a_gang_drains_while_serve_still_has_a_replica_on_it() -> None:
    assert told(steps(drain_scene().says(2, running=[0, 1]).world(), 1).actions) == []


def test_a_gang_drains_while_its_engine_has_requests() -> None:
    assert told(steps(drain_scene(in_flight=1).says(1, running=[0]).world(), 1).actions) == []


def test_a_gang_is_deleted_once_serve_let_go_of_it() -> None:
    (delete,) = steps(drain_scene().says(1, running=[0]).world(), 1).actions
    assert (told([delete]), delete.announce) == ([f"delete {N}-g1-0"], "GangDrained")


def test_nothing_is_concluded_from_a_head_that_does_not_answer() -> None:
    assert told(steps(drain_scene().world(), 1).actions) == []


@pytest.mark.parametrize(("since", "want"), [(DEADLINE, []), (DEADLINE - 1, [f"delete {N}-g1-0"])])
def test_a_gang_is_deleted_when_its_deadline_has_passed(since: float, want: list[str]) -> None:
    decided = steps(drain_scene(in_flight=2, drain_since=since).says(2, running=[0, 1]).world(), 1)
    assert told(decided.actions) == want
    assert [action.announce for action in decided.actions] == ["DrainDeadline"] * len(want)


@pytest.mark.parametrize(
    ("in_flight", "anonymous", "drained"),
    [(0, True, True), (None, False, True), (None, True, True), (2, False, False)],
    ids=["idle by its own word", "gone from Serve", "its engine is gone, whatever Serve still lists", "busy"],
)
def test_a_replica_that_stops_without_an_address_may_be_ours(in_flight: int | None, anonymous: bool, drained: bool) -> None:
    """Ray 2.60's entries of stopping replicas lose their node_ip (docs: tests/contract/ray_serve)."""
    scene = drain_scene(in_flight=in_flight)
    replicas = [ServeReplica(state="RUNNING", node_ip="10.0.0.1")] + [ServeReplica(state="STOPPING", node_ip=None)] * anonymous
    scene.serve[NEW] = Serve(deployed=True, target=1, replicas=replicas)
    world = scene.world()
    gang = next(gang for gang in gangs_of(world) if gang.number == 1)
    assert is_drained(world, gang) is drained


def test_a_draining_gang_that_lost_a_pod_or_whose_pod_ended_is_deleted_at_once() -> None:
    ended = drain_scene(phase="Failed", ended="Error, exit code 1")
    assert told(steps(ended.world(), 1).actions) == [f"delete {N}-g1-0"]
    headless = Scene(size=2).head().gang(0, DRAINING)
    headless.pods.pop(1)
    assert told(steps(headless.world(), 0).actions) == [f"delete {N}-g0-1"]
    tailless = Scene(size=2).head().gang(0, DRAINING)
    tailless.pods.pop(2)
    assert told(steps(tailless.world(), 0).actions) == [f"delete {N}-g0-0"]


def test_every_deletion_names_the_uid_and_gives_ray_a_moment() -> None:
    scene = Scene(size=2).gang(0, BROKEN)
    for action in steps(scene.world(), 1).actions:
        assert isinstance(action, Delete)
        assert (action.uid, action.grace_seconds) == (f"uid-{action.name}", 5)


def test_a_victim_is_shut_to_new_users_in_the_same_step_as_it_is_marked() -> None:
    (mark,) = steps(Scene().gang(0, READY).world(), 0).actions
    assert isinstance(mark, Mark)
    assert mark.labels == {names.LABEL_TRAFFIC: "false"}
    assert mark.annotations == {names.ANNOTATION_DRAIN_SINCE: "2026-09-21T14:13:20Z"}


def test_no_pod_gets_two_orders_in_one_pass() -> None:
    scene = Scene().head().head(OLD)
    for number, state in enumerate(GangState):
        scene.gang(number, state).gang(number, state, OLD)
    for target in range(12):
        orders: list[Action] = list(steps(scene.world(), target).actions)
        touched = Counter(told(orders))
        assert max(touched.values(), default=1) == 1
        pods = Counter(word.split()[1] for word in told(orders))
        assert max(pods.values(), default=1) == 1


def test_the_pinned_manifests_are_what_is_made() -> None:
    (create,) = steps(Scene().world(), 1).actions
    assert isinstance(create, Create)
    assert create.manifest == pinned().gang_pods(0)[0]
    assert "__GANG__" not in str(create.manifest)


def test_a_drain_that_began_in_the_future_is_dated_anew_and_has_its_usual_deadline() -> None:
    """An operator whose clock ran ahead marked it; its GPUs would be held until the clock gets there."""
    scene = drain_scene(in_flight=3, drain_since=NOW + 3600).says(2, running=[0, 1])
    (mark,) = steps(scene.world(), 1).actions
    assert isinstance(mark, Mark)
    assert (mark.pod, mark.annotations) == (f"demo-{N}-g1-0", {names.ANNOTATION_DRAIN_SINCE: "2026-09-21T14:13:20Z"})
    assert mark.announce is None
    a_little = drain_scene(in_flight=3, drain_since=NOW + DRAIN_MARGIN_SECONDS).says(2, running=[0, 1])
    assert told(steps(a_little.world(), 1).actions) == []
