"""Nodes and pods of the whole cluster are listed for all LlamaDeployments together, and no more often than was asked for."""

from __future__ import annotations

import asyncio

from tests.harness.builders import NOW
from tests.harness.fake_api import FakeApi

from llama_operator.control.rooms import Rooms
from llama_operator.lifecycle.observed import NodeGpus
from llama_operator.planning.hardware.requests import Holder


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
    assert lists == [1, 1, 2, 2, 3, 3, 4]
    assert api.lists["Pod"] == 4


async def test_passes_at_the_same_time_share_one_list_whatever_resource_they_want() -> None:
    clock = Hand()
    api = FakeApi(clock=clock.now, latency=0.01)
    for name in ("a", "b"):
        api.put({"kind": "Node", "metadata": {"name": name}, "spec": {}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}})
    asks = [{"resources": {"requests": {"nvidia.com/gpu": "3", "cpu": "1"}}, "env": [{"name": "X", "value": "x" * 999}]}]
    pod = {"spec": {"nodeName": "a", "containers": asks}, "status": {"phase": "Running"}}
    api.put({"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, **pod})
    rooms = Rooms(reader=api, clock=clock)
    found = await asyncio.gather(*(rooms.read(resource, 0.0) for resource in ["nvidia.com/gpu", "amd.com/gpu"] * 4))
    assert (api.lists["Node"], api.lists["Pod"]) == (1, 1)
    holders = [Holder(pod="n/p", node="a", gpus=3)]
    assert found[0] == ([NodeGpus(node="a", total=8, free=5), NodeGpus(node="b", total=8, free=8)], holders)
    assert found[1] == ([], [])
    assert "xxx" not in str(rooms._last)
