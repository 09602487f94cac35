"""A gang without a place: how many GPUs are free where, and what would have to move, in the words of the condition."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.builders import NEW, NOW, Scene, context, spec

from llama_operator.api.conditions import ConditionType, find
from llama_operator.lifecycle.gangs import GangState
from llama_operator.lifecycle.observed import NodeGpus, Unknown, World
from llama_operator.lifecycle.plan import plan
from llama_operator.lifecycle.retry import RetryPolicy
from llama_operator.lifecycle.revision import make_wish
from llama_operator.lifecycle.status import ScalingView, build_status
from llama_operator.planning.admission import admit, known_model
from llama_operator.planning.hardware.requests import Holder

READY, PENDING = GangState.READY, GangState.PENDING
N = NEW


def gpu_story() -> World:
    scene = Scene(size=2, gpus=8).head().gang(0, READY).gang(1, PENDING, unschedulable="0/4 nodes are available")
    nodes = [NodeGpus(node="a", total=8, free=0), NodeGpus(node="b", total=8, free=8), NodeGpus(node="c", total=8, free=3)]
    holders = [Holder(pod="llm/demo-one", node="a", gpus=8), Holder(pod="secret/plans", node="c", gpus=5)]
    return scene.says(2, running=[0]).world(gpus=nodes, holders=holders)


STORIES: dict[str, tuple[World, str]] = {
    "not enough GPUs": (
        gpu_story(),
        (
            "1 of 2 replicas wait for a place; 11 GPUs are free, on 2 nodes (b: 8, c: 3); a gang needs 2 x 8, each on one node: "
            "move a pod of another namespace (5 on c), or wait; it starts by itself when they come free"
        ),
    ),
    "not enough GPUs, and the nodes cannot be read": (
        replace(gpu_story(), gpus=Unknown("403 Forbidden")),
        (
            "1 of 2 replicas wait for a place; each needs 8 GPUs on each of 2 nodes; free GPUs are not known (403 Forbidden); the scheduler says: "
            f"pod demo-{N}-g1-0: 0/4 nodes are available; it starts by itself when they come free"
        ),
    ),
    "one's own pod is named": (
        replace(gpu_story(), holders=[Holder(pod="llm/demo-one", node="c", gpus=5), Holder(pod="secret/plans", node="a", gpus=8)]),
        (
            "1 of 2 replicas wait for a place; 11 GPUs are free, on 2 nodes (b: 8, c: 3); a gang needs 2 x 8, each on one node: "
            "move demo-one (5 on c), or wait; it starts by itself when they come free"
        ),
    ),
    "GPUs are free, and something else is in the way": (
        replace(gpu_story(), gpus=[NodeGpus(node="a", total=8, free=8), NodeGpus(node="b", total=8, free=8)]),
        (
            "1 of 2 replicas wait for a place; a gang needs 2 x 8, each on one node: a, b would do, and the scheduler says: "
            f"pod demo-{N}-g1-0: 0/4 nodes are available"
        ),
    ),
    "no GPU anywhere": (
        replace(gpu_story(), gpus=[]),
        "1 of 2 replicas wait for a place; no node has a GPU; a gang needs 2 x 8, each on one node; it starts by itself when they come free",
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_gang_without_a_place_says_what_it_waits_for(story: str) -> None:
    world, message = STORIES[story]
    decided = plan(world, make_wish(world, context(), 2), RetryPolicy(), NOW)
    admission = admit(spec(), known_model("file:///models/tiny"))
    status = build_status(world, decided, ScalingView(enabled=False, desired=2), admission, {}, NEW, NOW)
    found = find(status["conditions"], ConditionType.PROGRESSING)
    assert found is not None
    assert (found["status"], found["reason"], found["message"]) == ("True", "WaitingForGpus", message)


def test_a_pod_that_has_its_node_needs_no_other() -> None:
    """One of the two pods is placed: one more node of eight is missing, not two."""
    scene = Scene(size=2, gpus=8).head().gang(0, PENDING, unschedulable="0/2 nodes are available")
    scene.pods[1] = replace(scene.pods[1], node="a", unschedulable=None)
    nodes = [NodeGpus(node="a", total=8, free=0), NodeGpus(node="b", total=8, free=4)]
    world = scene.says(1).world(gpus=nodes)
    decided = plan(world, make_wish(world, context(), 1), RetryPolicy(), NOW)
    admission = admit(spec(), known_model("file:///models/tiny"))
    status = build_status(world, decided, ScalingView(enabled=False, desired=1), admission, {}, NEW, NOW)
    found = find(status["conditions"], ConditionType.PROGRESSING)
    assert found is not None
    assert "; a gang needs 8 on one node: " in found["message"]
