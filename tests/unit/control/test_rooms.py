"""Nodes and pods of the whole cluster are listed for all LlamaDeployments together, and no more often than was asked for."""

from __future__ import annotations

from tests.harness.builders import NOW
from tests.harness.fake_api import FakeApi

from llama_operator.control.rooms import Rooms


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


async def test_what_was_found_counts_until_it_is_too_old() -> None:
    clock = Hand()
    api = FakeApi(clock=clock.now)
    rooms, lists = Rooms(reader=api, clock=clock), []
    for passed, resource, most_age in [
        (0, "nvidia.com/gpu", 20),
        (15, "nvidia.com/gpu", 20),
        (0, "nvidia.com/gpu", 1),
        (20, "nvidia.com/gpu", 20),
        (1, "nvidia.com/gpu", 20),
        (0, "amd.com/gpu", 20),
        (-999, "amd.com/gpu", 20),
    ]:
        clock.time += passed
        await rooms.read(resource, most_age)
        lists.append(api.lists["Node"])
    assert lists == [1, 1, 2, 2, 3, 4, 5]
    assert api.lists["Pod"] == 5
