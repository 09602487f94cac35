"""What Serve is told, and where users are let in."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.builders import NEW, OLD, Scene, a_head, pinned

from llama_operator.lifecycle.actions import Mark, PutServe, ScaleServe
from llama_operator.lifecycle.gangs import GangState, gangs_of
from llama_operator.lifecycle.observed import Serve, Unknown
from llama_operator.lifecycle.serving import gave_up, serve_steps, traffic_steps
from llama_operator.rendering import names

READY, LOADING, DRAINING, FAILED = GangState.READY, GangState.LOADING, GangState.DRAINING, GangState.FAILED


def calls(scene: Scene, serving: int, *, victims: tuple[int, ...] = (), may_try: bool = True) -> list[Any]:
    world = scene.world()
    gangs = gangs_of(world)
    leaving = [gang for gang in gangs if gang.number in victims]
    return serve_steps(world, gangs, leaving, world.pinned[NEW], serving, may_try=may_try)


SCALES: dict[str, tuple[Scene, int, tuple[int, ...], int | None]] = {
    # sentence: scene, wanted count without those that drain, victims of this pass, target sent (None: no call)
    "nothing is sent while Serve wants what is there": (Scene().head().gang(0, READY).says(1, running=[0]), 1, (), None),
    "a gang that is made is asked for at once": (Scene().head().gang(0, READY).says(1, running=[0]), 2, (), 2),
    "a gang that failed is not asked for": (Scene().head().gang(0, READY).gang(1, FAILED).says(2, running=[0]), 1, (), 1),
    "a victim of this pass still counts: Serve would choose another one": (
        Scene().head().gang(0, READY).gang(1, READY).says(2, running=[0, 1]),
        1,
        (1,),
        None,
    ),
    "a victim that served nobody counts no more": (Scene().head().gang(0, READY).gang(1, LOADING).says(2, running=[0]), 1, (1,), 1),
    "a draining gang counts while Serve runs its replica": (
        Scene().head().gang(0, READY).gang(1, DRAINING).says(2, running=[0, 1]),
        1,
        (),
        None,
    ),
    "a draining gang counts no more once Serve stops its replica": (
        Scene().head().gang(0, READY).gang(1, DRAINING).says(2, running=[0, 1], state="STOPPING"),
        1,
        (),
        1,
    ),
    "the last one may go: zero is sent": (Scene().head().gang(0, DRAINING).says(1), 0, (), 0),
    "an application whose count is not known yet is left alone": (
        Scene().head().gang(0, LOADING).says(None, app_status="DEPLOYING"),
        1,
        (),
        None,
    ),
    "an application that is being taken away is left alone": (
        Scene().head().gang(0, LOADING).says(0, app_status="DELETING"),
        1,
        (),
        None,
    ),
}


@pytest.mark.parametrize("sentence", SCALES)
def test_scale(sentence: str) -> None:
    scene, serving, victims, target = SCALES[sentence]
    sent = calls(scene, serving, victims=victims)
    assert [(type(call), call.target) for call in sent] == ([] if target is None else [(ScaleServe, target)])
    assert all((call.ip, call.deployment, call.revision) == ("10.1.0.1", "LLMServer:demo", NEW) for call in sent)


def test_the_old_revision_keeps_what_it_has_less_what_left() -> None:
    scene = Scene().head().head(OLD).gang(0, READY, OLD).gang(1, DRAINING, OLD).gang(0, LOADING)
    scene.says(1).says(2, OLD, running=[0])
    (scale,) = calls(scene, 1)
    assert (scale.revision, scale.ip, scale.target) == (OLD, "10.1.0.2", 1)


def test_an_old_head_that_lost_its_application_does_not_get_it_again() -> None:
    scene = Scene().head().head(OLD).gang(0, READY, OLD)
    scene.says(0).serve[OLD] = Serve(deployed=False)
    assert calls(scene, 0) == []


def test_a_head_without_the_application_gets_it_with_the_count_in_it() -> None:
    (put,) = calls(Scene().head().gang(0, LOADING).gang(1, LOADING).says(0, deployed=False), 2)
    assert isinstance(put, PutServe)
    assert put.body["applications"][0]["deployments"] == [{"name": "LLMServer:demo", "num_replicas": 2}]


def test_a_put_asks_for_one_at_least_because_serve_refuses_zero() -> None:
    (put,) = calls(Scene().head().says(0, deployed=False), 0)
    assert put.body["applications"][0]["deployments"][0]["num_replicas"] == 1


def test_apart_from_the_count_a_put_is_what_is_pinned() -> None:
    (put,) = calls(Scene().head().says(0, deployed=False), 3)
    body = dict(put.body)
    del body["applications"][0]["deployments"][0]["num_replicas"]
    assert body == pinned().application


def test_nothing_is_sent_during_the_pause_after_a_failure() -> None:
    assert calls(Scene().head().says(0, deployed=False), 0, may_try=False) == []


def test_an_application_that_serve_gave_up_on_is_taken_away_so_that_it_can_be_sent_anew() -> None:
    """Ray 2.60: DEPLOY_FAILED is terminal, and the identical PUT does nothing."""
    (put,) = calls(Scene().head().gang(0, LOADING).says(1, app_status="DEPLOY_FAILED", message="no module"), 1, may_try=False)
    assert put.body["applications"] == []


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        ({"app_status": "DEPLOY_FAILED", "message": "no module"}, "no module"),
        ({"app_status": "DEPLOY_FAILED"}, "Ray Serve gave up on the application and does not say why"),
        ({"app_status": "DEPLOY_FAILED", "running": [0]}, None),
        ({"app_status": "UNHEALTHY"}, None),
        ({"app_status": "RUNNING"}, None),
    ],
)
def test_serve_gave_up_when_it_says_so_and_nothing_runs(serve: dict[str, Any], said: str | None) -> None:
    assert gave_up(Scene().head().gang(0, READY).says(1, **serve).world(), NEW) == said


def test_a_head_that_does_not_answer_did_not_give_up() -> None:
    scene = Scene().head()
    scene.serve[NEW] = Unknown("503")
    assert gave_up(scene.world(), NEW) is None


@pytest.mark.parametrize("over", [{"ip": None}, {"deleting": True}])
def test_a_head_that_is_not_there_yet_or_goes_is_told_nothing(over: dict[str, Any]) -> None:
    assert calls(Scene().head(**over).says(0, deployed=False), 1) == []


def test_a_head_that_does_not_answer_is_told_nothing() -> None:
    scene = Scene().head().gang(0, READY)
    scene.serve[NEW] = Unknown("503")
    assert calls(scene, 2) == []


TRAFFIC: dict[str, tuple[Scene, tuple[int, ...], dict[str, str]]] = {
    "while no replica is ready the head lets users in": (Scene().head().gang(0, LOADING), (), {NEW: "true"}),
    "once a replica is ready the head is shut": (Scene().head(traffic=True).gang(0, READY), (), {NEW: "false"}),
    "nothing is written when it is so already": (Scene().head(traffic=True).gang(0, LOADING), (), {}),
    "when the last one is told to drain the head opens in the same pass": (Scene().head().gang(0, READY), (0,), {NEW: "true"}),
    "a replica of the old revision is enough": (Scene().head().head(OLD).gang(0, READY, OLD).gang(0, LOADING), (), {}),
    "an old head is shut once the current one lets users in": (
        Scene().head(OLD, traffic=True).head(traffic=True).gang(0, LOADING),
        (),
        {OLD: "false"},
    ),
    "an old head that lets users in goes on until the current one is open": (Scene().head(OLD, traffic=True).head(), (), {NEW: "true"}),
    "and until it is ready": (Scene().head(OLD, traffic=True).head(ready=False, traffic=True), (), {}),
    "and until it is there": (Scene().head(OLD, traffic=True), (), {}),
    "an old head is shut once a replica lets users in": (
        Scene().head(OLD, traffic=True).head(ready=False, traffic=True).gang(0, READY),
        (),
        {NEW: "false", OLD: "false"},
    ),
    "an old head that is shut stays so": (Scene().head(OLD).head(ready=False).gang(0, LOADING), (), {NEW: "true"}),
    "a head that goes is not written to": (Scene().head(deleting=True).gang(0, LOADING), (), {}),
}


@pytest.mark.parametrize("sentence", TRAFFIC)
def test_traffic(sentence: str) -> None:
    scene, leaving, want = TRAFFIC[sentence]
    world = scene.world()
    gangs = gangs_of(world)
    marks = traffic_steps(world, gangs, [gang for gang in gangs if gang.number in leaving and gang.revision == NEW], NEW)
    assert all(isinstance(mark, Mark) for mark in marks)
    written = {mark.pod: mark.labels[names.LABEL_TRAFFIC] for mark in marks if isinstance(mark, Mark)}
    assert written == {a_head(revision).name: value for revision, value in want.items()}
