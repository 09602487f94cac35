"""What the real reconciler tells of scaling: each change once, a foreign writer by name, and nothing because a number moved."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.harness.builders import KEY
from tests.harness.world import Sim
from tests.sim.test_stories import live

from llama_operator.control.scalers import MOST_AGE_SECONDS
from llama_operator.rendering import names

AUTO = {"autoscaling": {"maxReplicas": 3, "objective": {"inFlightPerReplica": 4}}}
HPA = "HorizontalPodAutoscaler"


def events(sim: Sim, *reasons: str) -> list[str]:
    return [event["message"] for event in sim.api.all("Event") if event["reason"] in reasons]


def test_each_change_of_the_number_is_told_once_and_a_load_that_flickers_writes_next_to_nothing() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(autoscaling={"maxReplicas": 3, "objective": {"inFlightPerReplica": 4}, "scaleDownStabilizationSeconds": 60})
        await sim.until(sim.settled, 60)
        await asyncio.sleep(60)
        before = sim.api.writes["apply LlamaDeployment"]
        for number in range(60):  # a request or two come and go: numbers move at every look, and nothing is decided
            sim.cluster.load = 1 + number % 2
            await asyncio.sleep(5)
        assert sim.api.writes["apply LlamaDeployment"] - before <= 6
        sim.cluster.load = 10
        await sim.until(lambda: sim.status()["ready"] == "3/3", 90)
        (change,) = sim.status()["autoscaling"]["changes"]
        assert (change["from"], change["to"], change["reason"]) == (1, 3, "ScaledUp")
        assert events(sim, "ScaledUp", "ScaledDown") == [change["message"]]
        sim.cluster.load = 0
        await sim.until(lambda: sim.status()["autoscaling"]["desiredReplicas"] == 1, 180)
        await sim.until(sim.settled, 120)
        changes = sim.status()["autoscaling"]["changes"]
        assert [(item["from"], item["to"]) for item in changes][-1] == (1, 3)
        assert sorted(events(sim, "ScaledUp", "ScaledDown")) == sorted(item["message"] for item in changes)

    live(0, story)


def test_a_foreign_writer_is_named_in_a_condition_and_an_event_until_it_is_gone() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(**AUTO)
        await sim.until(sim.settled, 60)
        assert sim.condition("ScalingContested")["reason"] == "SoleWriter"
        sim.apply(**AUTO, replicas=3)
        mine = sim.api.objects[names.KIND, KEY.namespace, KEY.name]
        fields = {"fieldsV1": {"f:spec": {"f:replicas": {}}}, "time": "2026-09-21T14:13:20Z"}
        mine["metadata"]["managedFields"] = [{"manager": "kube-controller-manager", "subresource": "scale", **fields}]
        sim.api.touch(mine)
        await sim.until(lambda: sim.condition("ScalingContested")["status"] == "True", 30)
        assert "kube-controller-manager" in sim.condition("ScalingContested")["message"]
        assert sim.condition("ScalingContested")["reason"] == "ForeignWriter"
        await sim.until(lambda: len(events(sim, "ForeignWriter")) == 1, 30)
        await asyncio.sleep(60)
        assert sim.status()["autoscaling"]["desiredReplicas"] == 1
        sim.apply(**AUTO, replicas=1)
        await sim.until(lambda: sim.condition("ScalingContested")["status"] == "False", 30)

    live(0, story)


def scaled_by_nobody_known(sim: Sim) -> None:
    """A number through the scale subresource: the server notes who applied the rest, and nobody for the number."""
    sim.apply(**AUTO, replicas=3)
    mine = sim.api.objects[names.KIND, KEY.namespace, KEY.name]
    mine["metadata"]["managedFields"] = [{"manager": "helm", "fieldsV1": {"f:spec": {"f:model": {}, "f:autoscaling": {}}}}]
    sim.api.touch(mine)


def scaler(name: str, target: str, **metadata: Any) -> dict[str, Any]:
    reference = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": target}
    made = {"name": name, "namespace": KEY.namespace, **metadata}
    return {"apiVersion": "autoscaling/v2", "kind": HPA, "metadata": made, "spec": {"scaleTargetRef": reference, "maxReplicas": 3}}


def test_the_horizontal_pod_autoscaler_that_scales_beside_it_is_named_and_looked_up_only_then_and_seldom() -> None:
    async def story(sim: Sim) -> None:
        owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "chat", "uid": "u"}
        for made in (scaler("of-another", "another"), scaler("keda-hpa-chat", KEY.name, ownerReferences=[owner])):
            sim.api.put(made)
        sim.apply(**AUTO)
        await sim.until(sim.settled, 60)
        assert sim.api.lists[HPA] == 0
        scaled_by_nobody_known(sim)
        await sim.until(lambda: sim.condition("ScalingContested")["status"] == "True", 30)
        named = (
            "KEDA ScaledObject chat (through HorizontalPodAutoscaler keda-hpa-chat) set spec.replicas to 3 through the scale subresource"
        )
        assert sim.condition("ScalingContested")["message"].startswith(named)
        assert "kubectl delete scaledobject chat -n " in sim.condition("ScalingContested")["message"]
        await sim.until(lambda: len(events(sim, "ForeignWriter")) == 1, 30)
        assert "of-another" not in events(sim, "ForeignWriter")[0]
        before, pods = sim.api.lists[HPA], sim.api.lists["Pod"]
        await asyncio.sleep(300)
        assert sim.api.lists[HPA] - before <= 300 / MOST_AGE_SECONDS
        assert sim.api.lists["Pod"] - pods > 300 / MOST_AGE_SECONDS
        assert len(events(sim, "ForeignWriter")) == 1
        assert sum(await sim.one_pass()) == 2
        assert sim.api.lists == {"Pod": 1, HPA: 1}

    live(0, story)


def test_a_role_that_may_not_list_horizontal_pod_autoscalers_costs_the_name_and_nothing_else() -> None:
    async def story(sim: Sim) -> None:
        sim.api.forbidden = frozenset({HPA})
        sim.api.put(scaler("web", KEY.name))
        sim.apply(**AUTO)
        await sim.until(sim.settled, 60)
        scaled_by_nobody_known(sim)
        await sim.until(lambda: sim.condition("ScalingContested")["status"] == "True", 30)
        message = sim.condition("ScalingContested")["message"]
        assert message.startswith("somebody set spec.replicas to 3 through the scale subresource, which does not count")
        assert "remove what scales it, then kubectl patch" in message
        assert sim.status()["autoscaling"]["desiredReplicas"] == 1

    live(0, story)


def test_without_autoscaling_whoever_scales_is_obeyed() -> None:
    async def story(sim: Sim) -> None:
        sim.apply(replicas=1)
        await sim.until(sim.settled, 60)
        sim.apply(replicas=2)
        mine = sim.api.objects[names.KIND, KEY.namespace, KEY.name]
        mine["metadata"]["managedFields"] = [{"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
        sim.api.touch(mine)
        await sim.until(lambda: sim.status()["ready"] == "2/2", 60)
        assert sim.condition("ScalingContested") == {}
        assert events(sim, "ForeignWriter") == []
        assert sim.api.lists[HPA] == 0

    live(0, story)
