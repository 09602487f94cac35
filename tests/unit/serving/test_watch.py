"""What the agent makes of the GCS's list of nodes."""

from __future__ import annotations

from llama_serving.agent.raystart import POD_LABEL, START_LABEL
from llama_serving.agent.watch import find_node
from llama_serving.ray_internals import RayNode


def node(node_id: str, start: str, *, alive: bool = True) -> RayNode:
    return RayNode(node_id=node_id, labels={POD_LABEL: "d-r-g0-0", START_LABEL: start}, alive=alive)


def test_a_lost_predecessor_of_the_same_name_is_not_taken_for_this_pod() -> None:
    """The GCS calls a node alive for seconds after its pod is gone, and a drain of that one would leave this pod's replica where it is."""
    assert find_node([node("predecessor", "1")], "2") is None
    assert find_node([node("predecessor", "1"), node("own", "2")], "2") == "own"


def test_a_node_that_is_dead_is_nobodys() -> None:
    assert find_node([node("own", "2", alive=False)], "2") is None
