"""Two operators never write at the same time, however long either is frozen and whatever its clock says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.lifecycle.leadership import Observation, may_take, may_write

DURATION, MARGIN = 15.0, 3.0


def lease(holder: str | None, version: str = "1", seconds: int | None = 15) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds}}


@pytest.mark.parametrize(
    ("holder", "age", "allowed"),
    [("", 0, True), (None, 0, True), ("me", 0, True), ("other", 0, False), ("other", 14.9, False), ("other", 15, True)],
)
def test_a_lease_may_be_taken(holder: str | None, age: float, allowed: bool) -> None:
    seen = Observation().seen(lease(holder), 100.0)
    assert may_take(seen, "me", 100.0 + age) is allowed


def test_a_lease_that_changes_is_alive_and_one_that_does_not_grows_old() -> None:
    seen = Observation().seen(lease("other", "1"), 0.0).seen(lease("other", "1"), 14.0)
    assert may_take(seen, "me", 15.0)
    assert not may_take(seen.seen(lease("other", "2"), 14.0), "me", 15.0)


def test_the_duration_that_the_holder_promised_counts_not_ours() -> None:
    assert not may_take(Observation(duration=5).seen(lease("other", seconds=60), 0.0), "me", 20.0)
    assert may_take(Observation(duration=5).seen(lease("other", seconds=None), 0.0), "me", 5.0)


@pytest.mark.parametrize(("renewed", "now", "allowed"), [(None, 0, False), (0.0, 11.9, True), (0.0, 12.0, False), (0.0, 1e9, False)])
def test_writing_stops_before_the_lease_runs_out(renewed: float | None, now: float, allowed: bool) -> None:
    assert may_write(renewed, DURATION, MARGIN, now) is allowed


@dataclass
class Operator:
    """One process: acts only when it is scheduled, and knows only its own monotonic clock, which is `skew` off."""

    name: str
    skew: float
    seen: Observation = field(default_factory=lambda: Observation(duration=DURATION))
    renewed: float | None = None

    def renew(self, server: dict[str, Any], now: float) -> dict[str, Any]:
        """Read, then compare and swap: one atomic step of the server, as resourceVersion makes it."""
        mine = now + self.skew
        self.seen = self.seen.seen(server, mine)
        if not may_take(self.seen, self.name, mine):
            return server
        written = lease(self.name, str(int(server["metadata"]["resourceVersion"]) + 1), int(DURATION))
        self.seen, self.renewed = self.seen.seen(written, mine), mine
        return written

    def writes(self, now: float) -> bool:
        return may_write(self.renewed, DURATION, MARGIN, now + self.skew)


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.floats(min_value=0.0, max_value=20.0)), max_size=60),
    st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=3, max_size=3),
)
def test_never_do_two_write_at_once(turns: list[tuple[int, float]], skews: list[float]) -> None:
    """Any of three operators is awake in any order, with pauses of any length between: at no moment may two write."""
    operators = [Operator(f"op-{index}", skew) for index, skew in enumerate(skews)]
    server, now = lease("", "1"), 0.0
    for who, pause in turns:
        now += pause
        assert sum(operator.writes(now) for operator in operators) <= 1
        server = operators[who].renew(server, now)
        assert sum(operator.writes(now) for operator in operators) <= 1
