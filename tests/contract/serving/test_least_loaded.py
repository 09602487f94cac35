"""Which replica gets the next request: the counts alone, then Ray's own interface to them with replicas that answer, are silent or dead."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tests.contract.serving.conftest import config

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
    asked = 2.0 + ours.ON_THE_WAY_SECONDS / 2
    counts.ask("a", asked)
    counts.told("a", asked, 5)
    assert counts.in_hand("a") == 6, "the first is among the five, the second may still be on its way"
    assert not counts.is_old("a", 2.0 + ours.REPORT_SECONDS)
    assert counts.is_old("a", 3.0 + ours.REPORT_SECONDS)
    counts.keep(["b"])
    assert (counts.in_hand("a"), counts.is_old("a", 2.0)) == (0, True)


def test_who_answers_comes_before_who_is_silent_and_who_never_answered_comes_last(ours: Any) -> None:
    counts = ours.Counts()
    for name in ("few", "many", "late", "failed", "unknown"):
        counts.ask(name, 1.0)
    for name, in_hand in {"few": 3, "many": 60, "late": 2, "failed": 1}.items():
        counts.told(name, 1.0, in_hand)
    for name in ("late", "failed"):
        counts.ask(name, 2.0)
    counts.fail("failed")

    def at(now: float) -> list[str]:
        return sorted(["unknown", "failed", "late", "many", "few"], key=lambda name: counts.order(name, now))

    assert at(2.0) == ["late", "few", "many", "failed", "unknown"], "its answer may still come"
    assert at(2.0 + ours.WAIT_SECONDS) == ["few", "many", "failed", "late", "unknown"]
    counts.told("late", 2.0, 70)
    counts.ask("failed", 3.0)
    assert at(3.0) == ["few", "many", "late", "failed", "unknown"], "it is asked again, and has not answered yet"
    counts.told("failed", 3.0, 0)
    counts.told("unknown", 1.0, 0)
    assert at(4.0)[:2] == ["unknown", "failed"]


def test_a_replica_that_never_answers_takes_bounded_memory(ours: Any) -> None:
    counts = ours.Counts()
    for number in range(2 * ours.MOST_REMEMBERED):
        counts.hand("silent", float(number))
    assert counts.in_hand("silent") == ours.MOST_REMEMBERED


@dataclass
class Replica:
    """As Ray's router sees one. `in_hand` None: it does not answer before it is woken."""

    replica_id: str
    in_hand: int | None = 0
    error: Exception | None = None
    asked: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    max_ongoing_requests: int = 1_000_000
    multiplexed_model_ids: set[str] = field(default_factory=set)

    async def get_queue_len(self, *, deadline_s: float) -> int:
        self.asked += 1
        if self.error:
            raise self.error
        if self.in_hand is None:
            await self.woken.wait()
        return self.in_hand or 0


def died() -> Exception:
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


def unavailable() -> Exception:
    from ray.exceptions import ActorUnavailableError

    return ActorUnavailableError("the network is cut", None)


class Clock:
    """The router's, in place of the machine's: set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ours: Any) -> None:
        self.now = 0.0
        self.patience = ours.WAIT_SECONDS
        monkeypatch.setattr(ours, "time", SimpleNamespace(monotonic=lambda: self.now))

    async def chosen_in_vain(self, made: Any) -> str | None:
        """Which replica gets a request that waits for an answer for as long as a router does."""
        request = asyncio.create_task(chosen(made))
        await asyncio.sleep(0)
        self.now += self.patience
        return await request


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
    context = SimpleNamespace(should_backoff=False)
    ranks = await made.choose_replicas(list(made.curr_replicas.values()), SimpleNamespace(routing_context=context))
    assert context.should_backoff, "else Ray asks again without a pause, where no replica takes the request"
    return ranks[0][0].replica_id if ranks else None


async def share_out(made: Any, requests: int) -> dict[str | None, int]:
    return dict(Counter([await chosen(made) for _ in range(requests)]))


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


async def test_a_silent_replica_delays_nobody_twice_and_gets_nothing_while_others_answer(
    monkeypatch: pytest.MonkeyPatch, ours: Any
) -> None:
    """Ten requests a second, of which the other has sixty in hand at any time."""
    made = await router(monkeypatch, silent := Replica("silent", None), well := Replica("well", 60))
    clock = itertools.count(0, 0.033)  # three times a choice
    monkeypatch.setattr(ours, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    began = time.monotonic()
    assert await share_out(made, 200) == {"well": 200}
    assert (silent.asked, well.asked > 30) == (1, True)
    assert time.monotonic() - began < 10 * ours.WAIT_SECONDS, "one wait, not two hundred"


async def test_a_replica_that_falls_silent_gets_nothing_until_it_answers(monkeypatch: pytest.MonkeyPatch, ours: Any) -> None:
    clock = Clock(monkeypatch, ours)
    made = await router(monkeypatch, falls := Replica("falls"), Replica("one", 60), Replica("two", 60))
    assert await share_out(made, 20) == {"falls": 20}
    clock.now, falls.in_hand = 1.0, None
    assert await clock.chosen_in_vain(made) in ("one", "two")
    assert (await share_out(made, 99)).keys() == {"one", "two"}
    falls.woken.set()
    await asyncio.sleep(0.01)
    assert await share_out(made, 20) == {"falls": 20}


async def test_a_replica_that_comes_gets_the_next_requests_once_it_has_answered(monkeypatch: pytest.MonkeyPatch, ours: Any) -> None:
    clock = Clock(monkeypatch, ours)
    old, new = Replica("old", 8), Replica("new", None)
    made = await router(monkeypatch, old)
    made.update_replicas([old, new])
    assert await clock.chosen_in_vain(made) == "old"
    assert await share_out(made, 4) == {"old": 4}
    new.woken.set()
    await asyncio.sleep(0.01)
    assert await share_out(made, 13) == {"new": 13}, "eight, and the five that the old one was given since it was asked"
    clock.now = 1.0
    new.in_hand, old.in_hand = 13, 13
    assert await share_out(made, 2) == {"old": 1, "new": 1}


async def test_where_all_are_silent_the_last_counts_decide(monkeypatch: pytest.MonkeyPatch, ours: Any) -> None:
    clock = Clock(monkeypatch, ours)
    made = await router(monkeypatch, few := Replica("few", 3), many := Replica("many", 9))
    assert await share_out(made, 6) == {"few": 6}
    clock.now, few.in_hand, many.in_hand = 1.0, None, None
    made.update_replicas([few, many, new := Replica("new", None)])
    await clock.chosen_in_vain(made)
    await share_out(made, 9)
    assert [made._counts.in_hand(name) for name in ("few", "many", "new")] == [14, 14, 0], "nothing is known of the new one"
    assert new.asked == 1


async def test_a_replica_that_cannot_be_reached_gets_nothing_and_is_asked_twice_a_second_and_told_of_once(
    monkeypatch: pytest.MonkeyPatch, ours: Any
) -> None:
    said = list[str]()
    monkeypatch.setattr(ours, "logger", SimpleNamespace(warning=lambda text, *values: said.append(text % values)))
    clock = Clock(monkeypatch, ours)
    made = await router(monkeypatch, far := Replica("far"), well := Replica("well", 50))
    assert await share_out(made, 20) == {"far": 20}
    far.error = unavailable()
    for _ in range(10):
        clock.now += ours.REPORT_SECONDS + 0.01
        assert await share_out(made, 100) == {"well": 100}
    assert (far.asked, well.asked) == (11, 11)
    (line,) = said
    assert line.startswith("far ")
    assert "the network is cut" in line
    far.error = None
    clock.now += 1
    assert await share_out(made, 10) == {"far": 10}


@pytest.mark.parametrize("questions", [0, 1], ids=["at the first question", "at the second"])
async def test_a_dead_replica_is_left_out_when_it_is_next_asked(monkeypatch: pytest.MonkeyPatch, ours: Any, questions: int) -> None:
    clock = Clock(monkeypatch, ours)
    made = await router(monkeypatch, dies := Replica("dies"), Replica("well", 9))
    if questions:
        assert await share_out(made, 3) == {"dies": 3}
        dies.error = died()
        assert await share_out(made, 3) == {"dies": 3}, "nobody asks while the count is believed; its HAProxy finds no connection"
        clock.now = 1.0
    dies.error = died()
    assert await share_out(made, 5) == {"well": 5}
    assert list(made.curr_replicas) == ["well"]


async def test_who_moves_up_for_a_dead_one_was_not_asked_and_comes_after_those_that_were(
    monkeypatch: pytest.MonkeyPatch, ours: Any
) -> None:
    """The fullest of four stands behind the three that are drawn, one of which is dead. Long ago it said that it had none."""
    clock = Clock(monkeypatch, ours)
    dead, full = Replica("dead", error=died()), Replica("full", 90)
    made = await router(monkeypatch, Replica("one", 40), dead, Replica("two", 40), full)
    made._counts.ask("full", clock.now)
    made._counts.told("full", clock.now, 0)
    clock.now = 60.0
    monkeypatch.setattr(ours, "random", SimpleNamespace(sample=lambda these, _: list(these)))
    assert await chosen(made) in ("one", "two")
    assert full.asked == 0


async def test_where_all_that_were_drawn_are_dead_another_gets_the_request(monkeypatch: pytest.MonkeyPatch, ours: Any) -> None:
    made = await router(monkeypatch, *(Replica(str(number), error=died()) for number in range(ours.DRAWN)), Replica("well", 90))
    monkeypatch.setattr(ours, "random", SimpleNamespace(sample=lambda these, _: list(these)))
    assert await chosen(made) == "well"


async def test_one_replica_is_not_asked_and_none_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Replica("alone", None)
    made = await router(monkeypatch, alone)
    assert (await chosen(made), alone.asked) == ("alone", 0)
    made.update_replicas([])
    assert await chosen(made) is None


@pytest.mark.parametrize("begun", [True, False], ids=["that has begun", "that has not"])
async def test_the_question_to_a_replica_that_goes_is_given_up_and_asked_again_when_it_comes_back(
    monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    silent, well = Replica("silent", None), Replica("well")
    made = await router(monkeypatch, silent, well)
    request = asyncio.create_task(chosen(made))
    await asyncio.sleep(0)
    assert made._questions, "asked, and no question has had its first step"
    if begun:
        assert await request == "well"
    question = made._questions["silent"]
    made.update_replicas([well])
    assert "silent" not in made._questions
    made.update_replicas([well, silent])
    assert await chosen(made) == "well"
    assert question.cancelled()
    assert (silent.asked, list(made._questions)) == (1 + begun, ["silent"]), "the one that was given up took only itself away"
    silent.woken.set()
    await made._questions["silent"]
    assert await request == "well"
    assert not made._questions


def test_ray_sends_the_router_s_code_and_not_its_name() -> None:
    """Routers of pods with an older package take it, too: nothing in it may ask for `llama_serving`."""
    from llama_serving.app import routing

    code = routing()["request_router_config"].get_serialized_request_router_cls()
    assert b"choose_replicas" in code
    assert b"LeastLoadedRouter" in code
    assert b"llama_serving." not in code.replace(b"llama_serving.least_loaded", b"")
    # Without the environment's PYTHONPATH: the package is nowhere.
    script = "import pickle, sys; made = pickle.load(sys.stdin.buffer); print(made.__name__, made.choose_replicas.__globals__['DRAWN'])"
    done = subprocess.run([sys.executable, "-I", "-c", script], input=code, capture_output=True, timeout=60, check=False)
    assert done.stdout.split() == [b"LeastLoadedRouter", b"3"], done.stderr[-3000:]


def test_ray_holds_another_router_of_the_same_name_for_the_same() -> None:
    """So a changed one comes with the next application alone: docs/adr/0013-choices.md."""
    from llama_serving.app import routing

    now, changed = (routing()["request_router_config"] for _ in range(2))
    changed.set_serialized_request_router_cls(b"other code")
    assert now == changed


@pytest.mark.parametrize("engine", ["simulated", "vllm"])
def test_the_application_of_each_engine_is_built_with_it(engine: str) -> None:
    from llama_serving.app import build

    made = build(json.loads(config(engine=engine, engine_args={}).to_json()))
    carried = made._bound_deployment._deployment_config.request_router_config
    assert carried.request_router_class == "llama_serving.least_loaded.LeastLoadedRouter"
