"""Which replica gets the next request: the counts alone, then Ray's own interface to them with replicas that answer, are silent or dead."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

# Ray warns while it is imported: its to mend.
pytestmark = [pytest.mark.serving, pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def ours() -> Any:
    """The module, which imports Ray."""
    from llama_serving import least_loaded

    return least_loaded


def test_what_was_handed_to_a_replica_since_it_was_asked_counts_beside_what_it_told(ours: Any) -> None:
    counts = ours.Counts()
    assert (counts.in_hand("a"), counts.is_old("a", 0.0)) == (0, True)
    counts.hand("a", 1.0)
    counts.hand("a", 2.0)
    counts.told("a", 2.0 + ours.ON_THE_WAY_SECONDS / 2, 5)
    assert counts.in_hand("a") == 6, "the first is among the five, the second may still be on its way"
    assert not counts.is_old("a", 2.0 + ours.REPORT_SECONDS)
    assert counts.is_old("a", 3.0 + ours.REPORT_SECONDS)
    counts.keep(["b"])
    assert (counts.in_hand("a"), counts.is_old("a", 2.0)) == (0, True)


def test_a_replica_that_never_answers_takes_bounded_memory(ours: Any) -> None:
    counts = ours.Counts()
    for number in range(2 * ours.MOST_REMEMBERED):
        counts.hand("silent", float(number))
    assert counts.in_hand("silent") == ours.MOST_REMEMBERED


@dataclass
class Replica:
    """As Ray's router sees one. `in_hand` None: it never answers."""

    replica_id: str
    in_hand: int | None = 0
    dead: bool = False
    asked: int = 0
    max_ongoing_requests: int = 1_000_000
    multiplexed_model_ids: set[str] = field(default_factory=set)

    async def get_queue_len(self, *, deadline_s: float) -> int:
        self.asked += 1
        if self.dead:
            from ray.exceptions import ActorDiedError

            raise ActorDiedError
        if self.in_hand is None:
            await asyncio.Event().wait()
        assert self.in_hand is not None
        return self.in_hand


async def router(monkeypatch: pytest.MonkeyPatch, *replicas: Replica) -> Any:
    from ray.serve._private.common import DeploymentHandleSource, DeploymentID
    from ray.serve._private.request_router.request_router import RequestRouter

    async def unasked(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(RequestRouter, "_probe_queue_lens", unasked)  # Ray's own look at new replicas
    from llama_serving.least_loaded import LeastLoadedRouter

    made = LeastLoadedRouter(deployment_id=DeploymentID(name="d", app_name="a"), handle_source=DeploymentHandleSource.REPLICA)
    made.update_replicas(list(replicas))
    return made


async def chosen(made: Any) -> str | None:
    """As `_reserve=False` takes it: the first of the first."""
    ranks = await made.choose_replicas(list(made.curr_replicas.values()), SimpleNamespace(routing_context=SimpleNamespace()))
    return ranks[0][0].replica_id if ranks else None


async def test_of_two_the_emptier_gets_all_until_both_have_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    full, empty = Replica("full", 8), Replica("empty", 0)
    made = await router(monkeypatch, full, empty)
    assert Counter([await chosen(made) for _ in range(8)]) == {"empty": 8}
    assert Counter([await chosen(made) for _ in range(8)]) == {"empty": 4, "full": 4}
    assert full.asked == empty.asked == 1, "once within the time for which a count is believed"


async def test_requests_that_come_at_once_are_spread_though_all_of_them_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = [Replica(str(number)) for number in range(4)]
    made = await router(monkeypatch, *replicas)
    shares = Counter(await asyncio.gather(*(chosen(made) for _ in range(400))))
    assert set(shares) == {"0", "1", "2", "3"}
    assert max(shares.values()) - min(shares.values()) <= 12, "three choices even out; one at random would be some 40 apart"
    assert [replica.asked for replica in replicas] == [1] * 4


async def test_a_silent_replica_delays_nobody_twice_and_gets_fewer_and_fewer(monkeypatch: pytest.MonkeyPatch, ours: Any) -> None:
    """Ten requests a second, of which the other has three in hand at any time."""
    made = await router(monkeypatch, Replica("silent", None), well := Replica("well", 3))
    clock = itertools.count(0, 0.05)  # twice a choice
    monkeypatch.setattr(ours, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    began = time.monotonic()
    choices = [await chosen(made) for _ in range(200)]
    assert choices[:20].count("silent") >= 3, "it may be as fast as the other"
    assert choices[20:].count("silent") <= 6
    assert well.asked > 30
    assert time.monotonic() - began < 10 * ours.WAIT_SECONDS, "one wait, not two hundred"


async def test_a_dead_replica_is_left_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await router(monkeypatch, Replica("dead", dead=True), Replica("well", 9))
    assert Counter([await chosen(made) for _ in range(5)]) == {"well": 5}
    assert list(made.curr_replicas) == ["well"]


async def test_one_replica_is_not_asked_and_none_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Replica("alone", None)
    made = await router(monkeypatch, alone)
    assert (await chosen(made), alone.asked) == ("alone", 0)
    made.update_replicas([])
    assert await chosen(made) is None


async def test_the_question_to_a_replica_that_goes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    silent, well = Replica("silent", None), Replica("well")
    made = await router(monkeypatch, silent, well)
    await chosen(made)
    (task,) = [task for _, task in made._asked.values()]
    made.update_replicas([well])
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not made._asked


def test_ray_sends_the_router_s_code_and_not_its_name() -> None:
    """Routers of pods with an older package take it, too: nothing in it may ask for `llama_serving`."""
    from llama_serving.app import routing

    code = routing()["request_router_config"].get_serialized_request_router_cls()
    assert b"choose_replicas" in code
    assert b"LeastLoadedRouter" in code
    assert b"llama_serving." not in code.replace(b"llama_serving.least_loaded", b"")
