"""A record that a tenant wrote makes the operator do nothing that the tenant may not."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.harness.builders import KEY, raw_spec
from tests.harness.virtual_time import run_virtually
from tests.harness.world import Sim

from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.revision import revision_of
from llama_operator.planning.parallelism import parallelism_of, with_split
from llama_operator.rendering import names


def test_a_forged_record_of_the_revision_to_come_makes_nothing_elsewhere_and_the_model_moves_on() -> None:
    async def run() -> None:
        async with Sim(1) as sim:
            sim.apply()
            await sim.until(sim.settled, 60)
            change = {"model": {"source": "file:///models/tiny", "servedName": "b"}}
            spec = LlamaDeploymentSpec.model_validate(raw_spec(**change))
            revision = revision_of(with_split(spec, parallelism_of(spec)))
            (record,) = sim.api.all("ControllerRevision")
            forged = copy.deepcopy(record)
            forged["metadata"] = {
                "name": names.revision_object(KEY.name, revision),
                "namespace": KEY.namespace,
                "labels": names.revision_labels(KEY.name, revision),
                "ownerReferences": record["metadata"]["ownerReferences"],
            }
            forged["data"]["head"] = {"kind": "Pod", "metadata": {"name": "pwn", "namespace": "kube-system"}, "spec": {"hostPID": True}}
            forged["data"]["headStore"] = {"kind": "Secret", "metadata": {"name": "pwn", "namespace": "kube-system"}}
            sim.api.put(forged)
            sent: list[Mapping[str, Any]] = []
            create = sim.api.create

            async def seen(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
                sent.append(manifest)
                return await create(manifest)

            sim.api.create = seen  # type: ignore[method-assign] - to see what is sent, done or not
            sim.apply(**change)  # in the same moment: a record of a revision that nobody asks for is cleared away
            await sim.until(sim.settled, 120)
            assert sim.status()["revision"] == revision
            assert {manifest["metadata"]["namespace"] for manifest in sent} == {KEY.namespace}
            kept = sim.api.objects["ControllerRevision", KEY.namespace, names.revision_object(KEY.name, revision)]
            assert kept["data"]["head"]["metadata"]["name"] == names.head(KEY.name, revision)
            assert "pwn" not in {manifest["metadata"]["name"] for manifest in sent}

    run_virtually(run())
