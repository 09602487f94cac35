"""The real reconciler lives through what users and bad luck do. `tests/harness/world.py` lists what is watched all along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.harness.builders import KEY
from tests.harness.depth import seeds
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.rendering import names

H100 = {"accelerator": "nvidia-h100-80gb"}
BIG = {"hardware": H100, "parallelism": {"tensor": 8}}
TWO_PODS = {"hardware": H100, "parallelism": {"tensor": 8, "pipeline": 2}}
SEEDS = seeds(3)


def live(seed: int, story: Callable[[Sim], Awaitable[None]], **sim: Any) -> None:
    async def run() -> None:
        async with Sim(seed, **sim) as world:
            await story(world)

    run_virtually(run())


def leader(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"]["labels"][names.LABEL_RANK] == "0")


def uids(sim: Sim) -> set[str]:
    return {pod["metadata"]["uid"] for pod in sim.pods()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_first_load_ends_ready_and_at_rest_nothing_is_written(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        assert (sim.status()["phase"], sim.status()["ready"]) == ("Ready", "2/2")
        await asyncio.sleep(10)
        before = sum(sim.api.writes.values())
        await asyncio.sleep(180)
        assert sum(sim.api.writes.values()) == before
        writes, lists = await sim.one_pass()
        assert writes == 0
        assert lists <= 2

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_scaling_up_and_down_follows_the_spec_and_streams_finish(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.cluster.load = 9
        sim.apply(replicas=1)
        await sim.until(sim.settled, 60)
        first = uids(sim)
        sim.apply(replicas=3)
        await sim.until(sim.settled, 60)
        assert first < uids(sim)
        sim.apply(replicas=1)
        await sim.until(lambda: any(pod["metadata"].get("annotations", {}).get(names.ANNOTATION_DRAIN_SINCE) for pod in sim.pods()), 30)
        await sim.until(sim.settled, 120)
        assert len(sim.pods()) == 1

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_autoscaler_follows_the_load_up_and_down_and_holds_while_it_is_blind(seed: int) -> None:
    async def story(sim: Sim) -> None:
        objective = {"objective": {"inFlightPerReplica": 4}, "scaleDownStabilizationSeconds": 60}
        sim.apply(autoscaling={"minReplicas": 1, "maxReplicas": 3, **objective})
        await sim.until(sim.settled, 60)
        sim.cluster.load = 10
        await sim.until(lambda: sim.status()["ready"] == "3/3", 90)
        sim.metrics.down, sim.cluster.load = True, 0
        await sim.until(lambda: sim.condition("Scaling")["reason"] == "Holding", 30)
        assert sim.condition("MetricsAvailable")["reason"] == "PrometheusUnreachable"
        await asyncio.sleep(300)
        assert sim.status()["ready"] == "3/3"
        sim.metrics.down = False
        assert await sim.until(lambda: sim.status()["autoscaling"]["desiredReplicas"] == 1, 180) >= 55
        await sim.until(sim.settled, 120)

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_replica_goes_when_nobody_asks_and_the_first_request_brings_one_back(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(autoscaling={"minReplicas": 0, "maxReplicas": 2, "objective": {"inFlightPerReplica": 4}, "scaleToZeroAfter": "5m"})
        await sim.until(sim.settled, 60)
        assert sim.status()["ready"] == "1/1"
        sim.cluster.load = 2
        await asyncio.sleep(400)
        assert sim.status()["ready"] == "1/1"
        sim.cluster.load = 0
        await asyncio.sleep(200)
        await sim.restart()
        # Idle time was not forgotten with the operator, nor is that of an outage invented.
        assert 80 <= await sim.until(lambda: sim.status()["autoscaling"]["desiredReplicas"] == 0, 200) <= 130
        await sim.until(lambda: sim.settled() and not sim.pods(), 60)
        assert (sim.status()["phase"], sim.condition("Available")["reason"]) == ("Idle", "ScaledToZero")
        assert "the next one is held" in sim.condition("Available")["message"]
        await asyncio.sleep(20)
        before = sum(sim.api.writes.values())
        await asyncio.sleep(600)
        assert sum(sim.api.writes.values()) == before
        sim.metrics.down = True
        await sim.until(lambda: sim.condition("Scaling")["reason"] == "Holding", 30)
        sim.cluster.load = 1
        await asyncio.sleep(60)
        assert not sim.pods()
        assert "a request that comes now is held until it can be seen" in sim.condition("Scaling")["message"]
        sim.metrics.down = False
        assert await sim.until(lambda: sim.status()["autoscaling"]["desiredReplicas"] == 1, 30) <= 10
        await sim.until(lambda: sim.settled() and sim.status()["ready"] == "1/1", 90)

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gang_is_not_asked_for_without_a_place(seed: int) -> None:
    async def story(sim: Sim) -> None:
        scaling = {"minReplicas": 1, "maxReplicas": 3, "objective": {"inFlightPerReplica": 4}}
        sim.apply(**BIG, autoscaling=scaling)
        await sim.until(sim.settled, 60)
        sim.cluster.load = 10
        await sim.until(lambda: "a gang needs 8 on one node" in sim.condition("Scaling")["message"], 120)
        assert (sim.condition("Scaling")["reason"], sim.status()["autoscaling"]["desiredReplicas"]) == ("NoRoom", 2)
        assert len(sim.pods()) == 2

    live(seed, story, nodes={"node-0": 8, "node-1": 8, "node-2": 4})


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bad_luck", ["lose", "crash"])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_gang_that_lost_a_pod_is_replaced_whole_and_the_others_go_on(seed: int, bad_luck: str, rank: str) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**TWO_PODS, replicas=2)
        await sim.until(sim.settled, 60)
        gang = [pod["metadata"]["uid"] for pod in sim.pods() if pod["metadata"]["labels"][names.LABEL_GANG] == "0"]
        others = uids(sim) - set(gang)
        victim = next(pod for pod in sim.pods() if pod["metadata"]["uid"] in gang and pod["metadata"]["labels"][names.LABEL_RANK] == rank)
        getattr(sim, bad_luck)(victim)
        await sim.until(lambda: not sim.settled(), 30)
        await sim.until(sim.settled, 120)
        assert not uids(sim) & set(gang)
        assert others < uids(sim)

    live(seed, story, nodes={f"node-{index}": 8 for index in range(4)})


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bad_luck", ["lose", "crash"])
def test_a_lost_head_comes_back_and_no_replica_is_touched(seed: int, bad_luck: str) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        replicas = uids(sim)
        getattr(sim, bad_luck)(sim.pods(names.HEAD)[0])
        await sim.until(lambda: sim.condition("Degraded")["reason"] == "HeadLost", 30)
        assert sim.condition("Available")["status"] == "True"
        await sim.until(lambda: sim.settled() and sim.condition("Degraded")["status"] == "False", 60)
        assert uids(sim) == replicas
        sim.apply(replicas=3)
        await sim.until(sim.settled, 60)

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_model_is_tried_so_often_with_pauses_and_then_no_more(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.cluster.bad_sources.add("file:///models/tiny")
        sim.apply()
        seconds = await sim.until(lambda: sim.condition("Progressing").get("reason") == "RetriesExhausted", 200)
        assert seconds >= 10 + 20
        found = sim.condition("Available")
        assert (found["status"], found["reason"]) == ("False", "ModelNotFound")
        assert sim.status()["failures"]["attempts"] == 3
        await sim.until(lambda: sim.pods() == [], 30)
        await asyncio.sleep(10)
        writes = sum(sim.api.writes.values())
        await asyncio.sleep(300)
        assert sum(sim.api.writes.values()) == writes
        sim.apply(model={"source": "file:///models/there"})
        await sim.until(sim.settled, 60)
        assert "failures" not in sim.status()

    live(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_served_is_replaced_even_after_all_attempts_at_another_were_used_up(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.apply()
        await sim.until(sim.settled, 60)
        (first,) = sim.pods()
        sim.cluster.bad_sources.add("file:///models/tiny")
        sim.apply(replicas=2)
        await sim.until(lambda: sim.condition("Progressing").get("reason") == "RetriesExhausted", 200)
        assert sim.status()["ready"] == "1/2"
        sim.cluster.bad_sources.clear()
        sim.lose(first)
        await sim.until(lambda: sim.status()["ready"] == "2/2" and sim.settled(), 120)
        assert "failures" not in sim.status()

    live(seed, story)


def test_an_application_that_serve_refuses_is_sent_again_with_pauses_and_then_no_more() -> None:
    async def story(sim: Sim) -> None:
        sim.cluster.app_error = "ModuleNotFoundError: no module named x"
        sim.apply()
        await sim.until(lambda: sim.condition("Progressing").get("reason") == "RetriesExhausted", 300)
        assert (sim.condition("Available")["reason"], "no module named x" in sim.condition("Available")["message"]) == (
            "EngineFailed",
            True,
        )

    live(0, story)


def test_an_application_that_serve_refuses_once_is_served_in_the_end() -> None:
    async def story(sim: Sim) -> None:
        sim.cluster.app_error = "the hub does not answer"
        sim.apply()
        await sim.until(lambda: sim.condition("Progressing").get("reason") == "BackingOff", 60)
        sim.cluster.app_error = None
        await sim.until(sim.settled, 120)

    live(0, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_free_gpus_it_says_what_is_wanted_and_starts_when_they_come_free(seed: int) -> None:
    async def story(sim: Sim) -> None:
        blocker = {"kind": "Pod", "metadata": {"name": "train", "namespace": "other", "labels": {names.LABEL_COMPONENT: "x"}}}
        asks = {"nodeName": "node-a", "containers": [{"resources": {"requests": {"nvidia.com/gpu": "4"}}}]}
        sim.cluster.nodes.pop("node-b")
        sim.api.remove({"kind": "Node", "metadata": {"name": "node-b"}})
        other = sim.api.put({**blocker, "spec": asks, "status": {"phase": "Succeeding", "conditions": []}})
        sim.cluster._run = _only_ours(sim.cluster._run)  # type: ignore[method-assign]
        sim.apply(**BIG)
        await sim.until(lambda: sim.condition("Progressing").get("reason") == "WaitingForGpus", 60)
        assert sim.condition("Progressing")["message"] == (
            "1 of 1 replicas wait for a place; 4 GPUs are free, on 1 node (node-a: 4); a gang needs 8 on one node: "
            "move a pod of another namespace (4 on node-a), or wait; it starts by itself when they come free"
        )
        await asyncio.sleep(60)
        assert sim.condition("Progressing")["reason"] == "WaitingForGpus"
        sim.api.remove(other)
        await sim.until(lambda: sim.status()["ready"] == "1/1", 60)

    live(seed, story)


def _only_ours(run: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def run_ours(pod: dict[str, Any]) -> None:
        if pod["metadata"]["namespace"] == KEY.namespace:
            run(pod)

    return run_ours


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spec_that_is_refused_leaves_what_runs_alone(seed: int) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        before = uids(sim)
        sim.apply(replicas=2, parallelism={"tensor": 8}, hardware={**H100, "gpusPerNode": 4})
        await sim.until(lambda: sim.condition("Accepted")["status"] == "False", 30)
        assert "spec.parallelism.tensor" in sim.condition("Accepted")["message"]
        await asyncio.sleep(60)
        assert uids(sim) == before
        sim.lose(sim.pods()[0])
        await sim.until(lambda: sim.status()["ready"] == "1/2", 30)
        await sim.until(lambda: sim.status()["ready"] == "2/2", 60)

    live(seed, story)


@pytest.mark.parametrize("seed", seeds(6))
@pytest.mark.parametrize("after", [0, 3, 9, 60])
def test_a_deletion_at_any_moment_leaves_nothing_within_a_minute(seed: int, after: float) -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**TWO_PODS)
        await asyncio.sleep(after)
        await sim.delete()
        await sim.until(lambda: (names.KIND, KEY.namespace, KEY.name) not in sim.api.objects, 60)
        await sim.until(lambda: [key for key in sim.api.objects if key[0] not in ("Node", "Event")] == [], 60)
        await asyncio.sleep(30)
        assert [key for key in sim.api.objects if key[0] not in ("Node", "Event")] == []

    live(seed, story)


def test_a_successor_of_the_same_name_starts_afresh() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=1)
        await sim.until(sim.settled, 60)
        await sim.delete()
        await sim.until(lambda: (names.KIND, KEY.namespace, KEY.name) not in sim.api.objects, 60)
        sim.apply(replicas=1)
        await sim.until(sim.settled, 90)

    live(1, story)


def test_two_deployments_do_not_touch_each_other() -> None:
    async def story(sim: Sim) -> None:
        other = names.Key("other", "second")
        sim.apply(replicas=1)
        sim.apply(other, replicas=1, context={"maxTokens": 99})
        await sim.until(lambda: sim.status(KEY).get("ready") == sim.status(other).get("ready") == "1/1", 90)
        await sim.delete(other)
        await sim.until(lambda: (names.KIND, "other", "second") not in sim.api.objects, 60)
        assert sim.settled()

    live(0, story)


def test_an_api_server_that_is_away_for_two_minutes_costs_nothing() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=2)
        await sim.until(sim.settled, 60)
        before = uids(sim)
        sim.api.down = True
        await asyncio.sleep(120)
        sim.api.down = False
        await asyncio.sleep(120)
        assert uids(sim) == before
        assert sim.settled()

    live(0, story)


def test_a_child_that_somebody_deletes_unseen_is_repaired_within_a_resync() -> None:
    async def story(sim: Sim) -> None:
        sim.apply()
        await sim.until(sim.settled, 60)
        watchers, sim.api._watchers = sim.api._watchers, []
        sim.api.remove(sim.api.objects["Service", KEY.namespace, KEY.name])
        sim.api._watchers = watchers
        await sim.until(lambda: ("Service", KEY.namespace, KEY.name) in sim.api.objects, 65)

    live(0, story)
