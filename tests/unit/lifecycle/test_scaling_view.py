"""What the status says of scaling: votes, caps and changes; bounded, and written when something was decided and not because time passes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.harness.builders import NOW

from llama_operator.api.conditions import Reason
from llama_operator.lifecycle import verdicts
from llama_operator.lifecycle.scaling_view import (
    CHANGES,
    REFRESH_SECONDS,
    BoundsView,
    ScalingView,
    VoteView,
    block,
    newest_change,
    says_something_new,
)
from llama_operator.scaling.costs import Costs, down_window
from llama_operator.scaling.loads import Loads

VIEW = ScalingView(
    enabled=True,
    desired=2,
    reason="Steady",
    message="12 requests in hand, at 8 a replica that is 2",
    metrics_reason="Fresh",
    metrics_message="all signals are there and fresh",
    signals=[{"name": "requestsInFlight", "value": 12.0, "ageSeconds": 3.0}],
    votes=[VoteView(signal="requests", value=12.0, replicas=1.5, age_seconds=3.0)],
    asked=2,
    bounds=BoundsView(least=1, most=4),
    down=down_window(60.0, Costs(), Loads(), None),
    memory={"since": 1.0},
)
BLIND = replace(
    VIEW, reason="Holding", message="holding at 2: no answer", metrics_reason="PrometheusUnreachable", votes=(), signals=(), asked=None
)


def status(view: ScalingView, previous: dict[str, Any] | None = None, now: float = NOW, waiting: str = "") -> dict[str, Any]:
    conditions = verdicts.scaling(
        enabled=True,
        reason=view.reason,
        message=view.message,
        metrics_reason=view.metrics_reason,
        metrics_message=view.metrics_message,
        foreign=view.foreign,
    )
    said = [{"type": item.type.value, "status": item.status, "reason": item.reason, "message": item.message} for item in conditions]
    return {"conditions": said, "autoscaling": block(view, 2, 1, waiting, previous or {}, now)}


def test_the_block_says_what_is_wanted_what_is_there_and_what_each_signal_asks_for() -> None:
    said = status(VIEW)["autoscaling"]
    assert (said["desiredReplicas"], said["currentReplicas"], said["loadingReplicas"], said["askedReplicas"]) == (2, 2, 1, 2)
    assert (said["minReplicas"], said["maxReplicas"], said["openWindows"]) == (1, 4, [])
    assert said["votes"] == [{"signal": "requests", "value": 12.0, "replicas": 1.5, "ageSeconds": 3.0}]
    assert (said["cappedBy"], said["changes"]) == ([], [])


def test_the_down_window_is_told_as_a_number_and_in_words() -> None:
    assert status(VIEW)["autoscaling"]["scaleDownWindow"] == {"seconds": 60, "message": "as scaleDownStabilizationSeconds says"}
    learned = replace(VIEW, down=down_window(None, Costs(), Loads(samples=(20.0,)), None), asked=1)
    said = status(learned)["autoscaling"]
    why = "by what being wrong costs, at loads of 20 s"
    assert said["scaleDownWindow"] == {"seconds": 160, "message": why}
    assert said["cappedBy"][0]["message"] == f"1 would do; 2 stay until that has lasted 160 s, {why}"
    assert says_something_new(status(VIEW), said | {"autoscaling": said})


def test_a_vote_that_could_not_be_seen_has_no_number_and_not_zero() -> None:
    unseen = replace(VIEW, votes=[VoteView(signal="cache", value=None, replicas=None, age_seconds=1.0)])
    assert status(unseen)["autoscaling"]["votes"] == [{"signal": "cache", "ageSeconds": 1.0}]
    never = replace(VIEW, votes=[VoteView(signal="cache", value=None, replicas=None, age_seconds=None)])
    assert status(never)["autoscaling"]["votes"] == [{"signal": "cache"}]


NIGHT = BoundsView(least=1, most=2, most_by="maxReplicas of window night", windows=("night",))


@pytest.mark.parametrize(
    ("view", "waiting", "caps"),
    [
        (VIEW, "", []),
        (BLIND, "", []),
        (replace(VIEW, asked=9, desired=4), "", [("bounds", "9 would do; maxReplicas allows 4")]),
        (replace(VIEW, asked=0, desired=1), "", [("bounds", "0 would do; minReplicas keeps 1")]),
        (replace(VIEW, asked=9, bounds=NIGHT), "", [("window", "9 would do; maxReplicas of window night allows 2")]),
        (
            replace(VIEW, asked=1),
            "",
            [("stabilization", "1 would do; 2 stay until that has lasted 60 s, as scaleDownStabilizationSeconds says")],
        ),
        (replace(VIEW, asked=3), "", [("stabilization", "3 would do; 2 stay until that has lasted scaleUpStabilizationSeconds")]),
        (VIEW, "1 of 2 replicas wait for a place", [("placement", "1 of 2 replicas wait for a place")]),
    ],
)
def test_what_caps_the_number_is_said(view: ScalingView, waiting: str, caps: list[tuple[str, str]]) -> None:
    assert [(cap["by"], cap["message"]) for cap in status(view, waiting=waiting)["autoscaling"]["cappedBy"]] == caps


THEN = {
    "askedReplicas": 2,
    "currentReplicas": 2,
    "loadingReplicas": 1,
    "minReplicas": 1,
    "maxReplicas": 4,
    "votes": [{"signal": "requests", "value": 12.0, "replicas": 1.5, "ageSeconds": 3.0}],
    "cappedBy": [
        {"by": "stabilization", "message": "2 would do; 4 stay until that has lasted 60 s, as scaleDownStabilizationSeconds says"}
    ],
}
"""What a change keeps of its moment, where VIEW goes to 4."""


def test_what_a_change_keeps_stays_as_it_was_then_while_the_numbers_move() -> None:
    after = status(replace(VIEW, desired=4), status(VIEW), NOW + 60)
    later = status(replace(MOVED, desired=4, asked=3), after, NOW + 3600)
    assert later["autoscaling"]["votes"][0]["value"] == 13.0
    assert later["autoscaling"]["changes"] == after["autoscaling"]["changes"]
    assert {key: after["autoscaling"]["changes"][0][key] for key in THEN} == THEN


def test_a_change_that_was_made_blind_keeps_what_was_there_and_no_votes() -> None:
    (change,) = status(replace(BLIND, desired=4), status(VIEW))["autoscaling"]["changes"]
    assert (change["currentReplicas"], change["maxReplicas"], change["votes"]) == (2, 4, [])
    assert "askedReplicas" not in change


def test_changes_of_an_older_operator_stay_as_they_are_and_are_no_reason_to_write() -> None:
    old = {"time": "2026-09-21T14:00:00Z", "from": 1, "to": 2, "reason": "ScaledUp", "message": "from 1 to 2"}
    before = status(VIEW)
    before["autoscaling"] |= {"changes": [old], "lastScaleTime": old["time"]}
    after = status(VIEW, before, NOW + 3600)
    assert after["autoscaling"]["changes"] == [old]
    assert not says_something_new(before, after)


def test_a_change_is_remembered_with_its_words_and_is_the_one_to_tell() -> None:
    before = status(VIEW)
    after = status(replace(VIEW, desired=4, reason="ScaledUp", message="30 requests; from 2 to 4"), before, NOW + 60)
    change = {"time": "2026-09-21T14:14:20Z", "from": 2, "to": 4, "reason": "ScaledUp", "message": "30 requests; from 2 to 4"} | THEN
    assert after["autoscaling"]["changes"] == [change]
    assert newest_change(before, after) == change
    same = status(replace(VIEW, desired=4), after, NOW + 120)
    assert same["autoscaling"]["changes"] == [change]
    assert newest_change(after, same) is None


def test_the_first_number_is_no_change() -> None:
    assert newest_change({}, status(VIEW)) is None


def test_blind_the_bounds_alone_move_the_number_and_the_change_says_which() -> None:
    after = status(replace(BLIND, desired=1, bounds=BoundsView(least=1, most=1, most_by="maxReplicas of window night")), status(VIEW))
    (change,) = after["autoscaling"]["changes"]
    assert (change["reason"], change["message"]) == (
        "ScaledDown",
        "from 2 to 1 by maxReplicas of window night, while holding at 2: no answer",
    )


def test_ten_changes_are_kept_the_newest_first_and_their_size_is_bounded() -> None:
    now, said = NOW, status(VIEW)
    for number in range(30):
        now += 60
        crowd = [VoteView(signal=f"signal{index}", value=1234.5678, replicas=12.3456, age_seconds=12.3) for index in range(5)]
        view = replace(VIEW, asked=9, desired=3 + number % 2, message="x" * 5000, votes=crowd, bounds=BoundsView(least=1, most=8))
        said = status(view, said, now, waiting="y" * 5000)
    changes = said["autoscaling"]["changes"]
    assert len(changes) == CHANGES
    assert [change["time"] for change in changes] == sorted((change["time"] for change in changes), reverse=True)
    assert [len(change["cappedBy"]) for change in changes] == [3] * CHANGES
    assert len(json.dumps(changes)) < 16 * 1024


@pytest.mark.parametrize("junk", [None, "x", [None, 3, "y"], {}])
def test_changes_that_somebody_spoilt_are_read_leniently(junk: Any) -> None:
    assert status(VIEW, {"autoscaling": {"desiredReplicas": 2, "changes": junk}})["autoscaling"]["changes"] == []


MOVED = replace(
    VIEW,
    message="13 requests in hand, at 8 a replica that is 2",
    signals=[{"name": "requestsInFlight", "value": 13.0, "ageSeconds": 4.0}],
    votes=[VoteView(signal="requests", value=13.0, replicas=1.625, age_seconds=4.0)],
)


def test_numbers_that_move_with_every_look_are_no_news_by_themselves() -> None:
    before = status(VIEW)
    assert not says_something_new(before, status(VIEW, before, NOW + 3600))
    assert not says_something_new(before, status(MOVED, before, NOW + 5))
    later = replace(VIEW, votes=[replace(VIEW.votes[0], age_seconds=9.0)], signals=[{**VIEW.signals[0], "ageSeconds": 9.0}])
    assert not says_something_new(before, status(later, before, NOW + 3600))
    busy = replace(VIEW, signals=[*VIEW.signals, {"name": "promptTokensPerSecond", "value": 812.5, "ageSeconds": 4.0}])
    assert not says_something_new(before, status(busy, before, NOW + 5))
    grown = replace(BLIND, message="holding at 2: the newest sample is 99 s old", metrics_message="the newest sample is 99 s old")
    assert not says_something_new(status(BLIND), status(grown, status(BLIND), NOW + 3600))


def test_numbers_that_moved_are_told_once_a_minute() -> None:
    before = status(VIEW)
    assert says_something_new(before, status(MOVED, before, NOW + REFRESH_SECONDS))
    assert says_something_new({}, before)


@pytest.mark.parametrize(
    "view",
    [
        replace(VIEW, desired=3),
        replace(VIEW, reason="Stabilizing"),
        replace(VIEW, votes=[replace(VIEW.votes[0], value=None, replicas=None)]),
        replace(VIEW, asked=9),
        replace(VIEW, bounds=NIGHT),
        replace(VIEW, memory={"since": 2.0}),
        replace(VIEW, foreign="kubectl did"),
        BLIND,
    ],
)
def test_what_was_decided_is_news_at_once(view: ScalingView) -> None:
    before = status(VIEW)
    assert says_something_new(before, status(view, before, NOW + 1))


def test_a_foreign_writer_is_a_condition_that_is_there_when_nobody_is_too() -> None:
    conditions = {item["type"]: item for item in status(VIEW)["conditions"]}
    assert (conditions["ScalingContested"]["status"], conditions["ScalingContested"]["reason"]) == ("False", Reason.SOLE_WRITER)
    conditions = {item["type"]: item for item in status(replace(VIEW, foreign="kubectl did"))["conditions"]}
    assert (conditions["ScalingContested"]["status"], conditions["ScalingContested"]["reason"]) == ("True", Reason.FOREIGN_WRITER)
