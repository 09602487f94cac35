"""Free GPUs that a gang cannot use: where they are, and which pods to move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.lifecycle.observed import NodeGpus
from llama_operator.planning.gpus import GangShape
from llama_operator.planning.hardware.fragmentation import diagnose
from llama_operator.planning.hardware.requests import Holder


def room(node: str, free: int, total: int = 8) -> NodeGpus:
    return NodeGpus(node=node, total=total, free=free)


def holder(pod: str, node: str, gpus: int) -> Holder:
    return Holder(pod=pod, node=node, gpus=gpus)


def gang(pods: int, gpus: int) -> GangShape:
    return GangShape(pods=pods, gpus_per_pod=gpus, stages_per_pod=1)


def test_a_gang_lies_on_the_fullest_nodes_that_have_place() -> None:
    found = diagnose([room("a", 8), room("b", 5), room("c", 4), room("d", 3)], [], gang(2, 4))
    assert (found.fits, found.nodes, found.moves) == (True, ("c", "b"), ())
    assert found.message == "a gang needs 2 x 4, each on one node: c, b"
    assert diagnose([room("a", 8)], [], gang(2, 4)).nodes == ("a", "a")
    assert diagnose([room("a", 8)], [], gang(2, 4)).message == "a gang needs 2 x 4, each on one node: a"


def test_scattered_gpus_are_counted_and_the_least_move_is_named() -> None:
    held = [holder("n/x", "a", 4), holder("n/y", "b", 3), holder("n/z", "b", 2), holder("n/w", "c", 7)]
    found = diagnose([room("a", 4), room("b", 3), room("c", 1)], held, gang(1, 8))
    assert not found.fits
    assert found.moves == (holder("n/x", "a", 4),)
    assert found.message == ("8 GPUs are free, on 3 nodes (a: 4, b: 3, c: 1); a gang needs 8 on one node: move n/x (4 on a), or wait")


def test_the_pods_to_move_exceed_what_is_missing_the_least() -> None:
    held = [holder("n/five", "a", 5), holder("n/two", "a", 2), holder("n/one", "a", 1)]
    found = diagnose([room("a", 0)], held, gang(1, 3))
    assert {move.pod for move in found.moves} == {"n/two", "n/one"}
    assert found.message.startswith("no GPU is free (a: 0 of 8); a gang needs 3 on one node: move n/two (2 on a), n/one (1 on a)")
    pair = [holder("n/a", "a", 1), holder("n/b", "a", 1), holder("n/c", "a", 2)]
    assert diagnose([room("a", 0)], pair, gang(1, 2)).moves == (holder("n/c", "a", 2),)


def test_two_missing_pods_are_found_on_two_nodes() -> None:
    held = [holder("n/a1", "a", 2), holder("n/b1", "b", 3), holder("n/c1", "c", 8)]
    found = diagnose([room("a", 6), room("b", 5), room("c", 0)], held, gang(2, 8))
    assert found.moves == (holder("n/a1", "a", 2), holder("n/b1", "b", 3))


def test_two_missing_pods_can_come_from_one_node() -> None:
    held = [holder("n/a1", "a", 4), holder("n/a2", "a", 4), holder("n/b1", "b", 8)]
    assert diagnose([room("a", 0), room("b", 0)], held, gang(2, 4)).moves == (holder("n/a1", "a", 4), holder("n/a2", "a", 4))


@pytest.mark.parametrize(
    ("rooms", "wanted", "words"),
    [
        ([room("a", 4, total=4)], gang(1, 8), "4 GPUs are free, on 1 nodes (a: 4); a gang needs 8 on one node: the largest node has 4"),
        ([], gang(1, 8), "no node has a GPU; a gang needs 8 on one node"),
        (
            [room("a", 8)],
            gang(2, 8),
            "8 GPUs are free, on 1 nodes (a: 8); a gang needs 2 x 8, each on one node: even empty, the nodes have place for 1 of the 2",
        ),
        (
            [room("a", 0)],
            gang(1, 8),
            "no GPU is free (a: 0 of 8); a gang needs 8 on one node: wait for GPUs to become free, or make cordoned nodes schedulable",
        ),
    ],
)
def test_where_no_move_helps_that_is_said(rooms: list[NodeGpus], wanted: GangShape, words: str) -> None:
    found = diagnose(rooms, [], wanted)
    assert (found.nodes, found.moves, found.message) == ((), (), words.replace("1 nodes", "1 node"))


def test_no_move_off_a_cordoned_node_is_proposed() -> None:
    held = [holder("n/a", "a", 8), holder("n/b", "b", 8)]
    assert diagnose([room("a", 0), room("b", 0)], held, gang(1, 8), cordoned={"a"}).moves == (holder("n/b", "b", 8),)
    assert diagnose([room("a", 0)], held, gang(1, 8), cordoned={"a"}).moves == ()


@given(st.lists(st.lists(st.integers(1, 8), max_size=5), max_size=5), st.integers(1, 3), st.integers(1, 8))
def test_after_the_moves_the_gang_has_a_place(nodes: list[list[int]], pods: int, gpus: int) -> None:
    rooms, held = [], []
    for index, sizes in enumerate(nodes):
        free = 8
        for number, size in enumerate(sizes):
            if size <= free:
                held.append(holder(f"n/{index}-{number}", str(index), size))
                free -= size
        rooms.append(room(str(index), free))
    found = diagnose(rooms, held, gang(pods, gpus))
    assert found.fits == (sum(each.free // gpus for each in rooms) >= pods)
    if found.fits or len(rooms) * (8 // gpus) < pods:
        assert found.moves == ()
        return
    assert found.moves
    moved = {each.node: sum(move.gpus for move in found.moves if move.node == each.node) for each in rooms}
    assert diagnose([room(each.node, each.free + moved[each.node]) for each in rooms], [], gang(pods, gpus)).fits


def test_one_gpu_is_one_gpu() -> None:
    found = diagnose([room("a", 1)], [holder("n/a", "a", 7)], gang(1, 8))
    assert found.message == "1 GPU is free, on 1 node (a: 1); a gang needs 8 on one node: move n/a (7 on a), or wait"
    assert (found.fits, found.nodes) == (False, ())


def test_the_pods_of_others_are_counted_and_not_named() -> None:
    held = [holder("ours/x", "a", 2), holder("theirs/secret", "a", 2)]
    found = diagnose([room("a", 4)], held, gang(1, 8), namespace="ours")
    assert found.message.endswith(": move x (2 on a), a pod of another namespace (2 on a), or wait")


def test_many_nodes_are_summed_up() -> None:
    found = diagnose([room(f"n{index:02}", 1) for index in range(20)], [], gang(1, 2))
    assert "20 GPUs are free, on 20 nodes (n00: 1, " in found.message
    assert ", n07: 1 and 12 more)" in found.message


def test_nodes_without_gpus_are_none() -> None:
    assert diagnose([], [], gang(1, 2)).message == "no node has a GPU; a gang needs 2 on one node"
