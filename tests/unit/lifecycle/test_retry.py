"""When a failed load is tried again: at once, after growing pauses, and not for ever."""

from __future__ import annotations

import pytest
from tests.harness.builders import NEW, NOW, OLD, Scene

from llama_operator.lifecycle import retry
from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.observed import Failures
from llama_operator.lifecycle.retry import RetryPolicy

POLICY = RetryPolicy(max_attempts=6, base_seconds=10, max_seconds=300)


@pytest.mark.parametrize(("attempts", "pause"), [(0, 10), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300), (10_000, 300)])
def test_pauses_double_up_to_a_bound(attempts: int, pause: float) -> None:
    assert POLICY.pause(attempts) == pause


def test_a_failed_load_is_counted_with_its_root_cause_and_the_time_of_the_next_attempt() -> None:
    seen = retry.count(Failures(), NEW, Scene().gang(0, GangState.FAILED).gangs(), POLICY, NOW)
    assert seen == Failures(
        revision=NEW,
        attempts=1,
        reason="ModelNotFound",
        message="/models/x is not there; mount it",
        next_retry=NOW + 10,
        counted_until=NOW - 100,
    )


def test_a_failed_load_is_counted_once_however_often_it_is_seen() -> None:
    gangs = Scene().gang(0, GangState.FAILED).gangs()
    once = retry.count(Failures(), NEW, gangs, POLICY, NOW)
    assert retry.count(once, NEW, gangs, POLICY, NOW + 5) == once


def test_gangs_of_one_batch_that_fail_together_are_one_attempt() -> None:
    gangs = Scene().gang(0, GangState.FAILED).gang(1, GangState.FAILED, created=NOW - 99).gangs()
    assert retry.count(Failures(), NEW, gangs, POLICY, NOW).attempts == 1


def test_the_next_gang_that_fails_is_the_second_attempt_and_waits_twice_as_long() -> None:
    first = retry.count(Failures(), NEW, Scene().gang(0, GangState.FAILED).gangs(), POLICY, NOW)
    second = retry.count(first, NEW, Scene().gang(1, GangState.FAILED, created=NOW + 11).gangs(), POLICY, NOW + 60)
    assert (second.attempts, second.next_retry) == (2, NOW + 60 + 20)


def test_a_lost_pod_is_replaced_at_once_the_first_time_and_with_a_pause_after_that() -> None:
    first = retry.count(Failures(), NEW, Scene().gang(0, GangState.BROKEN).gangs(), POLICY, NOW)
    assert (first.attempts, first.reason, first.next_retry) == (1, "PodLost", NOW)
    assert retry.may_try(first, POLICY, NOW)
    second = retry.count(first, NEW, Scene().gang(0, GangState.BROKEN, created=NOW + 1).gangs(), POLICY, NOW + 30)
    assert (second.attempts, second.next_retry) == (2, NOW + 50)


def test_a_replica_that_became_ready_since_clears_the_memory_but_not_what_was_counted() -> None:
    before = Failures(revision=NEW, attempts=3, reason="OutOfMemory", message="x", next_retry=NOW, counted_until=NOW - 200)
    after = retry.count(before, NEW, Scene().gang(0, GangState.READY).gangs(), POLICY, NOW)
    assert after == Failures(revision=NEW, counted_until=NOW - 200)


def test_a_replica_that_was_ready_before_the_failure_clears_nothing() -> None:
    before = Failures(revision=NEW, attempts=3, reason="OutOfMemory", message="x", next_retry=NOW, counted_until=NOW - 50)
    assert retry.count(before, NEW, Scene().gang(0, GangState.READY).gangs(), POLICY, NOW) == before


def test_another_revision_begins_with_no_failures() -> None:
    before = Failures(revision=OLD, attempts=6, reason="OutOfMemory", message="x", counted_until=NOW)
    assert retry.count(before, NEW, [], POLICY, NOW) == Failures(revision=NEW)


def test_the_last_attempt_is_followed_by_none() -> None:
    failures = Failures(revision=NEW, attempts=5, counted_until=NOW - 500)
    last = retry.count(failures, NEW, Scene().gang(0, GangState.FAILED).gangs(), POLICY, NOW)
    assert (last.attempts, last.next_retry) == (6, None)
    assert retry.is_exhausted(last, POLICY)
    assert not retry.may_try(last, POLICY, NOW + 1e9)


def test_a_lost_replica_that_had_served_begins_the_counting_anew_only_where_no_attempt_was_left() -> None:
    used_up = Failures(revision=NEW, attempts=6, reason="OutOfMemory", message="x", counted_until=NOW - 50)
    assert retry.count(used_up, NEW, [], POLICY, NOW, lost_working=True) == Failures(revision=NEW, counted_until=NOW - 50)
    assert retry.count(used_up, NEW, [], POLICY, NOW, lost_working=False) == used_up
    pausing = Failures(revision=NEW, attempts=5, reason="OutOfMemory", message="x", next_retry=NOW + 9, counted_until=NOW - 50)
    assert retry.count(pausing, NEW, [], POLICY, NOW, lost_working=True) == pausing


@pytest.mark.parametrize(("later", "allowed"), [(0, False), (9.9, False), (10, True), (11, True)])
def test_the_next_attempt_waits_for_its_time(later: float, allowed: bool) -> None:
    failures = retry.count(Failures(), NEW, Scene().gang(0, GangState.FAILED).gangs(), POLICY, NOW)
    assert retry.may_try(failures, POLICY, NOW + later) is allowed


def test_nothing_failed_so_a_gang_may_be_made() -> None:
    assert retry.may_try(Failures(), POLICY, NOW)


def test_serves_own_refusal_counts_as_an_attempt() -> None:
    first = retry.count_refusal(Failures(), NEW, "no module named foo", POLICY, NOW)
    assert (first.revision, first.attempts, first.reason, first.message) == (NEW, 1, "EngineFailed", "no module named foo")
    assert first.next_retry == NOW + 10
    fifth = Failures(revision=NEW, attempts=5)
    assert retry.count_refusal(fifth, NEW, "x", POLICY, NOW).next_retry is None
    assert retry.count_refusal(fifth, OLD, "x", POLICY, NOW).attempts == 1


@pytest.mark.parametrize(
    ("ahead", "waits"), [(-1, False), (0, False), (0.5, True), (300, True), (360, True), (360.5, False), (3600, False), (1e9, False)]
)
def test_a_pause_that_is_longer_than_any_can_be_is_over(ahead: float, waits: bool) -> None:
    """An operator whose clock ran ahead wrote it; until the clock gets there nothing would be made. A minute's difference is no such thing."""
    before = Failures(revision=NEW, attempts=1, reason="OutOfMemory", message="x", next_retry=NOW + ahead, counted_until=NOW)
    assert retry.waits(before, POLICY, NOW) is waits
    assert retry.may_try(before, POLICY, NOW) is not waits


def test_a_pause_that_cannot_be_does_not_begin_once_the_clock_comes_near_it() -> None:
    before = Failures(revision=NEW, attempts=1, reason="OutOfMemory", message="x", next_retry=NOW + 3600, counted_until=NOW)
    after = retry.count(before, NEW, [], POLICY, NOW)
    assert (after.attempts, after.next_retry) == (1, None)
    assert retry.may_try(after, POLICY, NOW + 3500)
