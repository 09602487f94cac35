"""A mistake of the operator over one LlamaDeployment is that one's alone, and is told; a CRD older than the operator is no write a pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
from tests.harness.builders import KEY
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.api.depth import CUT, shallow_copy
from llama_operator.control import reconcile
from llama_operator.ports import NotLeader
from llama_operator.rendering import names
from llama_operator.telemetry.operator_metrics import PASSES

OTHER = names.Key(KEY.namespace, "other")


def live(story: Callable[[Sim], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Sim() as sim:
            await story(sim)

    run_virtually(run())


def passes(sim: Sim, outcome: str) -> float:
    return sim.operator.reconciler.own.registry.get_sample_value(PASSES.name, {"outcome": outcome}) or 0.0


def told(sim: Sim) -> list[tuple[str, int]]:
    return [(event["type"], event["count"]) for event in sim.api.all("Event") if event["reason"] == "PassFailed"]


class Poison:
    """While it is `on`, a pass over KEY ends with this exception."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.on, self.at = True, list[float]()
        gather = reconcile.gather

        async def poisoned(senses: Any, raw: Mapping[str, Any], resource: str) -> Any:
            if self.on and raw["metadata"]["name"] == KEY.name:
                self.at.append(asyncio.get_running_loop().time())
                raise error
            return await gather(senses, raw, resource)

        monkeypatch.setattr(reconcile, "gather", poisoned)


def test_a_poisoned_deployment_is_told_once_and_tried_again_while_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    poison = Poison(monkeypatch, ValueError("1k is\n  odd " + "x" * 5000))

    async def story(sim: Sim) -> None:
        sim.apply()
        await asyncio.sleep(30)
        sim.apply(OTHER, context={"maxTokens": 64})  # of a revision of its own: the fake Serve knows applications by that
        await asyncio.sleep(1500)
        assert sim.status(OTHER)["ready"] == "1/1"
        assert sim.status() == {}
        assert passes(sim, "fault") == len(poison.at) == len(sim.faults)
        assert 5 < len(poison.at) < 30
        pauses = [later - before for before, later in zip(poison.at, poison.at[1:], strict=False)]
        assert 150 <= pauses[-1] <= 301
        assert told(sim) == [("Warning", 1)]
        message = next(event["message"] for event in sim.api.all("Event") if event["reason"] == "PassFailed")
        assert "ValueError: 1k is odd xxx" in message
        assert "\n" not in message
        assert len(message) < 400
        # An edit is tried at once, and a pass that goes well makes the next fault one to tell again.
        sim.faults.clear()
        poison.on = False
        sim.apply(replicas=2)
        await sim.until(lambda: sim.status().get("ready") == "2/2", 60)
        poison.on = True
        await asyncio.sleep(120)
        assert told(sim) == [("Warning", 2)]
        sim.faults.clear()
        await sim.operator.kill()

    live(story)


def test_what_is_nested_too_deeply_is_refused_alone_and_nothing_is_made_of_it() -> None:
    deep: dict[str, Any] = {}
    for _ in range(CUT):
        deep = {"a": deep}

    async def story(sim: Sim) -> None:
        sim.apply(podTemplate=shallow_copy(deep))
        sim.apply(OTHER, context={"maxTokens": 64})  # of a revision of its own: the fake Serve knows applications by that
        await sim.until(lambda: sim.status(OTHER).get("ready") == "1/1", 120)
        said = sim.condition("Accepted")
        assert (said["status"], said["reason"], sim.status()["phase"]) == ("False", "Invalid", "Invalid")
        assert "spec.podTemplate: more levels" in said["message"]
        assert not any(pod["metadata"]["name"].startswith(f"{KEY.name}-") for pod in sim.api.all("Pod"))
        sim.apply()
        await sim.until(lambda: sim.status().get("ready") == "1/1", 120)

    live(story)


def test_a_resync_that_trips_ends_nothing_and_the_next_one_repairs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(sim: Sim) -> None:
        sim.apply()
        await sim.until(sim.settled, 120)
        replace, rounds = sim.operator.store.replace_kind, [0]

        def trip(*given: Any) -> None:
            rounds[0] += 1
            if rounds[0] <= 2:
                raise KeyError("uid")
            replace(*given)

        monkeypatch.setattr(sim.operator.store, "replace_kind", trip)
        await asyncio.sleep(4 * sim.settings.resync_seconds)
        assert rounds[0] > 3
        sim.operator.check()

    live(story)


def test_a_process_that_lost_the_lease_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, NotLeader("another took the Lease"))

    async def story(sim: Sim) -> None:
        sim.apply()
        await asyncio.sleep(5)
        with pytest.raises(NotLeader):
            sim.operator.check()
        assert (passes(sim, "fault"), told(sim)) == (0, [])
        await sim.operator.kill()

    live(story)


NEWER = ("votes", "changes", "cappedBy", "minReplicas", "maxReplicas", "openWindows")
"""Fields of status.autoscaling that the first CRD did not know."""


KEPT = ("askedReplicas", "currentReplicas", "loadingReplicas", "minReplicas", "maxReplicas", "votes", "cappedBy")
"""Fields of a change that the CRD did not know when it knew changes."""


def without(scaling: Mapping[str, Any], newer: Collection[str], kept: Collection[str]) -> dict[str, Any]:
    """status.autoscaling as the API server stores it under a CRD that knows neither these fields nor, of each change, those."""
    left = {key: value for key, value in scaling.items() if key not in newer}
    if "changes" in left:
        left["changes"] = [{key: value for key, value in change.items() if key not in kept} for change in left["changes"]]
    return left


@pytest.mark.parametrize(("newer", "kept"), [(NEWER, ()), ((), KEPT)], ids=["the first CRD", "changes with their words alone"])
def test_fields_that_the_crd_does_not_know_are_not_written_in_every_pass(newer: Sequence[str], kept: Sequence[str]) -> None:
    async def story(sim: Sim) -> None:
        apply = sim.api.apply

        async def pruned(manifest: Mapping[str, Any], subresource: str | None = None) -> dict[str, Any]:
            if subresource == "status":
                status = dict(manifest["status"])
                scaling = without(status.get("autoscaling", {}), newer, kept)
                manifest = {**manifest, "status": status | {"autoscaling": scaling}}
            return await apply(manifest, subresource)

        sim.api.apply = pruned  # type: ignore[method-assign] - the API server of an earlier CRD
        bounds = {"minReplicas": 2, "maxReplicas": 4}
        sim.apply(autoscaling={**bounds, "objective": {"inFlightPerReplica": 8}, "scaleDownStabilizationSeconds": 60})
        await sim.until(lambda: sim.status().get("ready") == "2/2", 60)
        sim.cluster.load = 20
        await sim.until(lambda: sim.status().get("ready") == "3/3", 60)
        sim.cluster.load = 0
        await sim.until(lambda: sim.status().get("ready") == "2/2", 180)
        await asyncio.sleep(1800)  # the memory of the crowd is written until it is forgotten
        for restarted in (False, True):
            if restarted:
                await sim.operator.kill()
                await sim.restart()
            await asyncio.sleep(60)
            sim.api.writes.clear()
            before = passes(sim, "ok")
            await asyncio.sleep(90)
            assert passes(sim, "ok") > before + 10
            assert sim.api.writes["apply LlamaDeployment"] == 0
        scaling = sim.status()["autoscaling"]
        assert scaling == without(scaling, newer, kept)
        assert bool(scaling.get("changes")) == (not newer)

    live(story)
