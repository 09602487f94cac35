"""When to try again after a failed load: at once after a lost pod, with doubling pauses after failures, and not for ever.

    attempt that failed   pause before the next (base 10 s, maximum 300 s)
    1                     10 s   (0 s where a pod of a gang was lost and nothing had failed before)
    2                     20 s
    5                     160 s
    6 and later           300 s; after `max_attempts` none, until the spec changes, a replica that had served is lost, or none is wanted

The memory of it lives in the status, so that a restarted operator neither forgets a pause nor starts counting anew. A pause that would
last longer than any may was written by a clock that ran ahead: it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.lifecycle.observed import Failures

CLOCKS_SECONDS = 60.0
"""By so much may the clocks of two nodes differ: a new leader must not forget the pause that the last one has just written."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Bounds of retries. Seconds."""

    max_attempts: int = 6
    base_seconds: float = 10.0
    max_seconds: float = 300.0

    def pause(self, attempts: int) -> float:
        """Seconds to wait after that many failed attempts."""
        return min(self.max_seconds, self.base_seconds * 2.0 ** min(max(attempts - 1, 0), 30))


def is_exhausted(failures: Failures, policy: RetryPolicy) -> bool:
    """No further attempt is allowed."""
    return failures.attempts >= policy.max_attempts


def may_try(failures: Failures, policy: RetryPolicy, now: float) -> bool:
    """A new gang may be made now."""
    if is_exhausted(failures, policy):
        return False
    return not waits(failures, policy, now)


def waits(failures: Failures, policy: RetryPolicy, now: float) -> bool:
    """A pause after a failure is running."""
    return failures.next_retry is not None and 0 < failures.next_retry - now <= policy.max_seconds + CLOCKS_SECONDS


def count(
    failures: Failures, revision: str, gangs: Iterable[Gang], policy: RetryPolicy, now: float, *, lost_working: bool = False
) -> Failures:
    """The memory after looking at the gangs of `revision`.

    A gang is counted once: only those made after the last counted one count. A gang made since that became Ready clears the memory.
    `lost_working`: a replica that had served is lost since the last look. It is replaced even where all attempts at another one were used
    up, so the counting begins anew: what could be loaded once can be loaded again, and each such loss allows one more series only.
    """
    if failures.revision != revision:
        failures = Failures(revision=revision)
    if failures.next_retry is not None and failures.next_retry > now and not waits(failures, policy, now):
        # Forgotten, not only passed over: it would begin once the clock comes near it, and the status must not name it as the next attempt.
        failures = replace(failures, next_retry=None)
    every = list(gangs)
    if lost_working and is_exhausted(failures, policy):
        failures = anew(failures)
    if any(gang.state is GangState.READY and gang.created > failures.counted_until for gang in every):
        failures = anew(failures)
    fallen = [gang for gang in every if gang.state in (GangState.FAILED, GangState.BROKEN) and gang.created > failures.counted_until]
    if not fallen:
        return failures
    first = fallen[0]
    attempts = failures.attempts + 1
    lost_first = attempts == 1 and first.state is GangState.BROKEN
    pause = 0.0 if lost_first else policy.pause(attempts)
    return replace(
        failures,
        attempts=attempts,
        reason=first.cause.reason if first.cause else "PodLost",
        message=first.why,
        next_retry=None if attempts >= policy.max_attempts else now + pause,
        counted_until=max(gang.created for gang in fallen),
    )


def anew(failures: Failures) -> Failures:
    """The memory at the begin of a new series. At zero replicas one must begin: nothing is left that could become Ready, or be lost."""
    return Failures(revision=failures.revision, counted_until=failures.counted_until)


def count_refusal(failures: Failures, revision: str, message: str, policy: RetryPolicy, now: float) -> Failures:
    """The memory after Ray Serve gave up on the application itself, which no gang's agent reports."""
    base = failures if failures.revision == revision else Failures(revision=revision)
    attempts = base.attempts + 1
    return replace(
        base,
        attempts=attempts,
        reason="EngineFailed",
        message=message,
        next_retry=None if attempts >= policy.max_attempts else now + policy.pause(attempts),
    )
