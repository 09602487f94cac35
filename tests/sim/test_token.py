"""The Ray token's Secret comes back, whoever took it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.harness.builders import KEY
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.rendering import names


def live(story: Callable[[Sim], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Sim() as sim:
            await story(sim)

    run_virtually(run())


def secret(sim: Sim) -> tuple[str, str, str]:
    return "Secret", KEY.namespace, names.token_secret(KEY.name)


def wait_for_secret(sim: Sim) -> None:
    """As the kubelet: no container begins without the Secret."""
    tick = sim.cluster.tick

    def ticked() -> None:
        there = secret(sim) in sim.api.objects
        waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": f'secret "{secret(sim)[2]}" not found'}}
        for pod in sim.api.all("Pod"):
            status = pod.get("status") or {}
            known = status.get("containerStatuses")
            begun = status.get("podIP") is not None
            if not there and not begun and not known:
                pod["status"] = {**status, "phase": "Pending", "containerStatuses": [{"name": "llama", "state": waiting}]}
                sim.api.touch(pod)
            elif there and not begun and known:
                pod["status"] = {}
                sim.api.touch(pod)
        if there:
            tick()

    sim.cluster.tick = ticked  # type: ignore[method-assign] - a cluster whose kubelets look for the Secret


def test_a_secret_that_somebody_deleted_comes_back_with_the_next_pods_and_is_the_same() -> None:
    async def story(sim: Sim) -> None:
        sim.apply()
        await sim.until(sim.settled, 60)
        before = sim.api.objects[secret(sim)]["stringData"]
        sim.api.remove(sim.api.objects[secret(sim)])
        sim.api.writes.clear()
        await asyncio.sleep(120)  # what runs has it already: nothing is written
        assert not sim.api.writes
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        assert sim.api.objects[secret(sim)]["stringData"] == before

    live(story)


@pytest.mark.parametrize("seconds", [2, 20])
def test_a_predecessors_secret_that_the_garbage_collector_takes_late_is_made_anew(seconds: float) -> None:
    async def story(sim: Sim) -> None:
        owner = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": KEY.name, "uid": "of a predecessor", "controller": True}
        metadata = {"name": secret(sim)[2], "namespace": KEY.namespace, "ownerReferences": [owner], "labels": names.common_labels(KEY.name)}
        left = sim.api.put({"kind": "Secret", "metadata": metadata, "stringData": {"auth_token": "theirs"}})
        make, pods = sim.cluster.tick, sim.api.all
        sim.cluster.tick = lambda: None  # type: ignore[method-assign] - no kubelet is that fast
        sim.apply()
        await asyncio.sleep(seconds)
        assert pods("Pod")
        sim.api.remove(left)
        sim.cluster.tick = make  # type: ignore[method-assign] - and now there is one
        wait_for_secret(sim)
        await sim.until(sim.settled, 60)
        uid = sim.api.objects[names.KIND, KEY.namespace, KEY.name]["metadata"]["uid"]
        assert [item["uid"] for item in sim.api.objects[secret(sim)]["metadata"]["ownerReferences"]] == [uid]

    live(story)
