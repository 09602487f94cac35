"""A condition keeps the time of its last change while its status stays, and a message is cut where nobody would read on."""

from __future__ import annotations

from llama_operator.api.conditions import MESSAGE_LIMIT, Condition, ConditionStatus, ConditionType, clip, find, merge

KIND = ConditionType.ACCEPTED


def said(status: ConditionStatus, reason: str = "Valid") -> Condition:
    return Condition(type=KIND, status=status, reason=reason, message="m")


def test_the_time_of_the_last_change_stays_while_the_status_does() -> None:
    first = merge([], [said("True")], generation=1, now="T1")
    second = merge(first, [said("True", "Other")], generation=2, now="T2")
    third = merge(second, [said("False")], generation=3, now="T3")
    assert [item["lastTransitionTime"] for item in (*first, *second, *third)] == ["T1", "T1", "T3"]
    assert [item["observedGeneration"] for item in (*first, *second, *third)] == [1, 2, 3]


def test_a_condition_that_is_not_decided_any_more_is_dropped() -> None:
    assert merge([{"type": "Invented", "status": "True"}], [], generation=1, now="T1") == []


def test_a_condition_is_found_by_its_type() -> None:
    conditions = merge([], [said("True")], generation=1, now="T1")
    assert find(conditions, KIND) == conditions[0]
    assert find(conditions, ConditionType.UPDATE_AVAILABLE) is None


def test_a_message_is_cut_with_a_mark() -> None:
    assert clip("short") == "short"
    assert len(clip("x" * 9999)) == MESSAGE_LIMIT
    assert clip("x" * 9999).endswith("…")
