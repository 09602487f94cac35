"""What is paid for: pods that a node has taken, until they end."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from llama_operator.lifecycle.held import accelerators_held, cost_gauges
from llama_operator.lifecycle.observed import Pod, World
from llama_operator.rendering import names

POD = Pod(name="a-r-g0-0", uid="1", revision="r", component=names.REPLICA, gang=0, node="n1", phase="Running")


def world(*pods: Pod, gpus: int = 8) -> World:
    pinned: Any = {"r": SimpleNamespace(gpus_per_pod=gpus)}
    return World(key=names.Key("llm", "a"), uid="u", generation=1, deleting=False, finalizers=(), pods=pods, pinned=pinned)


@pytest.mark.parametrize(
    ("pods", "gpus", "held"),
    [
        ((), 8, 0),
        ((POD,), 8, 8),
        ((POD, replace(POD, name="b", rank=1)), 8, 16),
        ((POD,), 0, 1),
        ((replace(POD, node=None, phase="Pending"),), 8, 0),
        ((replace(POD, phase="Pending"),), 8, 8),
        ((replace(POD, deleting=True),), 8, 8),
        ((replace(POD, drain_since=1.0),), 8, 8),
        ((replace(POD, phase="Failed", ended="OOMKilled"),), 8, 0),
        ((replace(POD, component=names.HEAD),), 8, 0),
        ((POD, replace(POD, revision="gone")), 8, None),
    ],
)
def test_a_pod_is_held_from_its_node_to_its_end(pods: tuple[Pod, ...], gpus: int, held: int | None) -> None:
    assert accelerators_held(world(*pods, gpus=gpus)) == held


def test_what_is_not_known_has_no_series() -> None:
    assert [(sample.metric.name.split("_")[-1], sample.value) for sample in cost_gauges(world(POD), 2.5)] == [
        ("held", 8.0),
        ("dollars", 2.5),
    ]
    assert [sample.value for sample in cost_gauges(world(POD), None)] == [8.0]
    assert [sample.value for sample in cost_gauges(world(replace(POD, revision="gone")), None)] == []
    assert {sample.labels for sample in cost_gauges(world(POD), 2.5)} == {("llm", "a")}
