"""What others have under the LlamaDeployment's name stays theirs; it is told, and everything else is made."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.harness.builders import KEY
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.rendering import names

SHARED = {kind for kind, _ in names.shared(KEY.name)}
DATABASE = {"apiVersion": "db/v1", "kind": "Database", "name": "postgres", "uid": "u", "controller": True}


def live(story: Callable[[Sim], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Sim() as sim:
            await story(sim)

    run_virtually(run())


def foreign(kind: str, owners: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    metadata = {"name": KEY.name, "namespace": KEY.namespace, "labels": {"team": "data"}, "ownerReferences": owners or []}
    return {"kind": kind, "metadata": metadata, "spec": {"theirs": True}}


def there(sim: Sim, kind: str) -> dict[str, Any]:
    return sim.api.objects[kind, KEY.namespace, KEY.name]


def ours(sim: Sim, kind: str) -> bool:
    uid = sim.api.objects[names.KIND, KEY.namespace, KEY.name]["metadata"]["uid"]
    found = sim.api.objects.get((kind, KEY.namespace, KEY.name))
    return found is not None and [item["uid"] for item in found["metadata"]["ownerReferences"]] == [uid]


@pytest.mark.parametrize("kind", sorted(SHARED))
@pytest.mark.parametrize(
    ("owners", "owner"), [(None, "nobody"), ([DATABASE], "Database postgres")], ids=["nobody's", "another controller's"]
)
def test_what_is_somebody_elses_is_left_alone_and_told_and_ours_comes_once_it_is_gone(
    kind: str, owners: list[dict[str, Any]] | None, owner: str
) -> None:
    async def story(sim: Sim) -> None:
        before = copy.deepcopy(sim.api.put(foreign(kind, owners)))
        sim.apply()
        await sim.until(sim.settled, 60)
        assert all(ours(sim, other) for other in SHARED - {kind})
        degraded = sim.condition("Degraded")
        assert (degraded["status"], degraded["reason"]) == ("True", "NameTaken")
        assert f"{kind} {KEY.name} was there already and belongs to {owner}" in degraded["message"]
        assert ("endpoint" in sim.status()) is (kind != "Service")  # nobody is led to somebody else's Service, the canary neither
        told = [event for event in sim.api.all("Event") if event["reason"] == "NameTaken"]
        assert [(event["type"], event["count"]) for event in told] == [("Warning", 1)]
        sim.api.writes.clear()
        await asyncio.sleep(600)  # at rest nothing is written
        assert not sim.api.writes
        assert there(sim, kind) == before
        sim.api.remove(before)
        await sim.until(lambda: ours(sim, kind), 30)
        await sim.until(lambda: sim.condition("Degraded")["reason"] == "Healthy", 30)

    live(story)


def test_the_objects_of_a_predecessor_are_waited_for_without_a_word() -> None:
    async def story(sim: Sim) -> None:
        predecessor = {**DATABASE, "kind": names.KIND, "name": KEY.name}
        left = [sim.api.put(foreign(kind, [predecessor])) for kind in sorted(SHARED)]
        sim.apply()
        await sim.until(sim.settled, 60)
        assert all(there(sim, kind)["spec"] == {"theirs": True} for kind in SHARED)
        for manifest in left:
            sim.api.remove(manifest)  # by the garbage collector
        await sim.until(lambda: all(ours(sim, kind) for kind in SHARED), 30)
        assert [event for event in sim.api.all("Event") if event["reason"] == "NameTaken"] == []

    live(story)


def test_one_of_ours_that_lost_its_labels_is_ours_still() -> None:
    async def story(sim: Sim) -> None:
        sim.apply()
        await sim.until(sim.settled, 60)
        policy = there(sim, "NetworkPolicy")
        spec, policy["metadata"]["labels"], policy["spec"] = policy["spec"], {}, {"theirs": True}
        sim.api.touch(policy)
        await sim.restart()
        await sim.until(lambda: there(sim, "NetworkPolicy")["metadata"]["labels"] != {}, 30)
        assert {key: there(sim, "NetworkPolicy")["spec"][key] for key in spec} == spec
        assert sim.condition("Degraded")["reason"] == "Healthy"

    live(story)
