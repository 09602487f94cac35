"""What the agent makes of the GCS's list of nodes, and that a look ends when it is told to."""

from __future__ import annotations

import asyncio

import pytest

from llama_serving.agent.raystart import POD_LABEL, START_LABEL
from llama_serving.agent.watch import find_node, port_open
from llama_serving.ray_internals import RayNode


def node(node_id: str, start: str, *, alive: bool = True) -> RayNode:
    return RayNode(node_id=node_id, labels={POD_LABEL: "d-r-g0-0", START_LABEL: start}, alive=alive)


def test_a_lost_predecessor_of_the_same_name_is_not_taken_for_this_pod() -> None:
    """The GCS calls a node alive for seconds after its pod is gone, and a drain of that one would leave this pod's replica where it is."""
    assert find_node([node("predecessor", "1")], "2") is None
    assert find_node([node("predecessor", "1"), node("own", "2")], "2") == "own"


def test_a_node_that_is_dead_is_nobodys() -> None:
    assert find_node([node("own", "2", alive=False)], "2") is None


@pytest.mark.parametrize("turns", range(6))
async def test_a_look_hears_its_cancellation_even_in_the_moment_of_its_answer(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def refused(host: str, port: int) -> None:
        await answer
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", refused)
    look = asyncio.create_task(port_open("127.0.0.1", 1))
    await asyncio.sleep(0.01)
    answer.set_result(None)
    for _ in range(turns):
        await asyncio.sleep(0)
    if look.cancel():
        with pytest.raises(asyncio.CancelledError):
            await look
