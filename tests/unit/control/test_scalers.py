"""HorizontalPodAutoscalers are listed for a namespace at once, not at every look, and no pass fails where they cannot be."""

from __future__ import annotations

from tests.harness.builders import NOW
from tests.harness.fake_api import FakeApi

from llama_operator.control.scalers import MOST_AGE_SECONDS, Scalers
from llama_operator.lifecycle.ownership import Scaler

KIND = "HorizontalPodAutoscaler"
TARGET = {"apiVersion": "llama-operator.dev/v1alpha1", "kind": "LlamaDeployment", "name": "demo"}
WEB = {"kind": KIND, "metadata": {"name": "web", "namespace": "llm"}, "spec": {"scaleTargetRef": TARGET, "maxReplicas": 3}}
FOUND = (Scaler(name="web", target="demo"),)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


async def test_what_was_found_in_a_namespace_counts_until_it_is_too_old() -> None:
    clock = Hand()
    api = FakeApi(clock=clock.now)
    scalers, seen = Scalers(reader=api, clock=clock), []
    api.put(WEB)
    for passed, namespace in [(0, "llm"), (MOST_AGE_SECONDS, "llm"), (1, "llm"), (0, "others"), (-999, "llm")]:
        clock.time += passed
        seen.append((tuple(await scalers.read(namespace)), api.lists[KIND]))
    assert seen == [(FOUND, 1), (FOUND, 1), (FOUND, 2), ((), 3), (FOUND, 4)]


async def test_where_they_may_not_be_listed_none_are_known_and_that_is_not_asked_at_every_look() -> None:
    clock = Hand()
    api = FakeApi(clock=clock.now, forbidden=frozenset({KIND}))
    api.put(WEB)
    scalers = Scalers(reader=api, clock=clock)
    assert [tuple(await scalers.read("llm")) for _ in range(5)] == [()] * 5
    assert api.lists[KIND] == 1


async def test_a_server_that_does_not_answer_takes_no_name_away() -> None:
    clock = Hand()
    api = FakeApi(clock=clock.now)
    api.put(WEB)
    scalers = Scalers(reader=api, clock=clock)
    assert await scalers.read("llm") == FOUND
    api.down = True
    clock.time += MOST_AGE_SECONDS + 1
    assert await scalers.read("llm") == FOUND
    assert await scalers.read("others") == ()
