"""The disruption budget follows the number of replicas that is wanted, whoever wants it, and is written when that changes and not otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.harness.builders import KEY
from tests.harness.world import Sim
from tests.sim.test_stories import live

APPLY = "apply PodDisruptionBudget"
AUTO = {"maxReplicas": 3, "objective": {"inFlightPerReplica": 4}, "scaleToZeroAfter": "2m", "scaleDownStabilizationSeconds": 60}


def budget(sim: Sim) -> dict[str, Any]:
    return dict(sim.api.objects["PodDisruptionBudget", KEY.namespace, KEY.name]["spec"])


def test_it_follows_the_autoscaler_up_down_and_to_zero_with_a_write_for_each_change() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(autoscaling={**AUTO, "minReplicas": 0})
        await sim.until(sim.settled, 60)
        assert budget(sim)["minAvailable"] == 0
        sim.cluster.load = 10
        await sim.until(lambda: sim.status()["autoscaling"]["desiredReplicas"] == 3, 90)
        await sim.until(lambda: budget(sim)["minAvailable"] == 2, 5)
        await sim.until(lambda: sim.settled() and sim.status()["ready"] == "3/3", 90)
        assert sim.api.writes[APPLY] == 2
        await asyncio.sleep(300)
        assert sim.api.writes[APPLY] == 2
        sim.cluster.load = 0
        await sim.until(lambda: not sim.pods() and sim.status()["ready"] == "0/0", 900)
        assert budget(sim)["minAvailable"] == 0
        assert sim.api.writes[APPLY] <= 4

    live(0, story)


def test_it_counts_every_pod_of_the_gangs() -> None:
    async def story(sim: Sim) -> None:
        shape = {"hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 4}, "parallelism": {"tensor": 4, "pipeline": 2}}
        sim.apply(**shape, replicas=2)
        await sim.until(sim.settled, 90)
        assert len(sim.pods()) == 4
        assert budget(sim)["minAvailable"] == 3

    live(0, story)


def test_a_field_that_somebody_set_and_that_excludes_ours_is_taken_away() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        wanted, before = budget(sim), sim.api.writes[APPLY]
        theirs = sim.api.objects["PodDisruptionBudget", KEY.namespace, KEY.name]
        theirs["spec"] = {"maxUnavailable": "50%", "selector": wanted["selector"]}
        sim.api.touch(theirs)
        await sim.until(lambda: budget(sim) == wanted, 30)
        await asyncio.sleep(60)
        assert sim.api.writes[APPLY] == before + 1

    live(0, story)


def test_one_that_an_earlier_operator_made_loses_the_field_that_excludes_the_new_one() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        await sim.operator.kill()
        made = dict(sim.api.objects["PodDisruptionBudget", KEY.namespace, KEY.name])
        selector = made["spec"]["selector"]
        await sim.api.apply({**made, "spec": {"maxUnavailable": 1, "selector": selector}})
        assert budget(sim) == {"maxUnavailable": 1, "selector": selector}
        before = sim.api.writes[APPLY]
        await sim.restart()
        await sim.until(lambda: budget(sim) == {"minAvailable": 1, "selector": selector}, 30)
        await asyncio.sleep(60)
        assert sim.api.writes[APPLY] == before + 1

    live(0, story)
