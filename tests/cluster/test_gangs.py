"""Gangs on GPUs: placed by the real scheduler on the fake GPUs, replaced whole, and patient when there are too few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.client import Client
from playground.kube import Namespace
from playground.stage import ROOT, Stage

pytestmark = pytest.mark.cluster
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("llama-*.yaml"))


@pytest.fixture(autouse=True)
def free_gpus(namespace: Namespace) -> Iterator[None]:
    """Every test begins with all GPUs free, whatever became of the one before."""
    yield
    listed = namespace.get(f"/apis/llama-operator.dev/v1alpha1/namespaces/{namespace.name}/llamadeployments") or {"items": []}
    for item in listed["items"]:
        namespace.delete_llama(item["metadata"]["name"])
    for item in listed["items"]:
        namespace.wait_gone(item["metadata"]["name"], 60)


def small_requests(stage: Stage) -> dict[str, Any]:
    """The pod template of this machine, asking for little CPU and memory: the nodes have GPUs in name only."""
    template = dict(stage.pod_template)
    spec = dict(template.get("spec") or {})
    containers = [dict(item) for item in spec.get("containers") or [{"name": "llama"}]]
    for container in containers:
        if container["name"] == "llama":
            container["resources"] = {"requests": {"cpu": "100m", "memory": "256Mi"}}
    return {**template, "spec": {**spec, "containers": containers}}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_are_accepted_and_their_pods_placed_on_gpus(stage: Stage, namespace: Namespace, file: Path) -> None:
    example = next(item for item in yaml.safe_load_all(file.read_text()) if item["kind"] == "LlamaDeployment")
    name = example["metadata"]["name"]
    spec = example["spec"]
    # The example's shape, on the simulated engine: the model itself is not here.
    manifest = stage.simulated(
        name,
        hardware=spec["hardware"],
        parallelism=spec.get("parallelism", {}),
        context=spec.get("context", {}),
        podTemplate=small_requests(stage),
    )
    namespace.api.request(
        "POST",
        f"/apis/llama-operator.dev/v1alpha1/namespaces/{namespace.name}/llamadeployments?dryRun=All&fieldValidation=Strict",
        {**example, "metadata": {"name": name, "namespace": namespace.name}},
    )
    namespace.apply(manifest)
    world = spec.get("parallelism", {}).get("tensor", 1) * spec.get("parallelism", {}).get("pipeline", 1)
    status = namespace.wait_ready(name, 1, 240)
    pods = namespace.pods(name)
    gpus = sum(int(pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) for pod in pods)
    assert gpus == world
    assert len({pod["spec"]["nodeName"] for pod in pods}) == -(-world // 8)
    assert len(status["replicas"]) == 1


def test_the_planner_gives_405b_in_fp8_the_eight_gpus_of_a_node(stage: Stage, namespace: Namespace) -> None:
    """With spec.parallelism left out. The weights are not here, so that its engine would never start: it is its place that counts."""
    spec = {
        "model": {"source": "hf://meta-llama/Llama-3.1-405B-Instruct-FP8", "licenseAccepted": True, "servedName": "Llama-405B"},
        "hardware": {"accelerator": "nvidia-h100-80gb"},
        "engine": {"type": "vllm"},
        "podTemplate": small_requests(stage),
    }
    namespace.apply(stage.simulated("planned", **spec))
    said = namespace.wait_reason("planned", "Accepted", "Fits", 60)
    assert "tensor 8 x pipeline 1, 8 GPUs: 56.73 GiB of weights on the fullest" in said["message"]
    assert namespace.status("planned")["plan"]["kvCacheTokens"] == 190_768

    def placed() -> list[str]:
        return [pod["spec"]["nodeName"] for pod in namespace.pods("planned") if pod["spec"].get("nodeName")]

    assert len(namespace.wait("the gang has its node", placed, 60, "planned")) == 1
    (pod,) = namespace.pods("planned")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"


def test_a_gang_of_two_pods_is_replaced_whole_when_one_of_them_is_killed_and_the_other_gang_goes_on_answering(
    stage: Stage, namespace: Namespace, client: Client
) -> None:
    template = small_requests(stage)
    shape = {"hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 4}, "parallelism": {"tensor": 4, "pipeline": 2}}
    namespace.apply(stage.simulated("pair", args={"tokensPerSecond": 20}, **shape, replicas=2, podTemplate=template))
    namespace.wait_ready("pair", 2, 240)
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in namespace.pods("pair")}
    assert len(before) == 4
    victim = next(pod["metadata"] for pod in namespace.pods("pair") if pod["metadata"]["labels"]["llama-operator.dev/rank"] == "1")
    gang = victim["labels"]["llama-operator.dev/gang"]
    engines = namespace.engines("pair")
    # 25 s: none ends and none begins while the gang is lost; then a second row of them.
    load = client.load("http://pair", "pair", streams=6, seconds=30, tokens=20 * 25)
    namespace.wait("every stream is open", lambda: namespace.in_flight("pair") == 6, 60, "pair")
    lost = [pod for pod in namespace.pods("pair") if pod["metadata"]["labels"]["llama-operator.dev/gang"] == gang]
    own = stage.streams_through(namespace, *lost)
    assert 0 < own <= 6
    namespace.kill_pod(victim["name"])
    namespace.wait("the gang is incomplete, and said so", lambda: gang_event(namespace), 30, "pair")
    result = load.result()
    assert result["requests"] >= 12
    assert result["failed"] <= own, result
    namespace.wait_ready("pair", 2, 180)
    assert {name: engine for name, engine in engines.items() if f"-g{gang}-" not in name}.items() <= namespace.engines("pair").items()
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in namespace.pods("pair")}
    survivors = {name: uid for name, uid in before.items() if f"-g{gang}-" not in name}
    assert len(survivors) == 2
    assert survivors.items() <= after.items()
    assert not set(before.values()) - set(survivors.values()) & set(after.values())
    assert len(after) == 4


def gang_event(namespace: Namespace) -> bool:
    """An Event says that a gang lost a pod."""
    events = namespace.api.get(f"/api/v1/namespaces/{namespace.name}/events")["items"]
    return any(event["reason"] == "GangIncomplete" for event in events)


def test_too_few_gpus_are_named_with_their_nodes_and_it_starts_when_they_come_free(stage: Stage, namespace: Namespace) -> None:
    whole_node = {"hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 8}, "parallelism": {"tensor": 8}}
    template = small_requests(stage)
    namespace.apply(stage.simulated("holder", **whole_node, replicas=2, podTemplate=template))
    namespace.wait_ready("holder", 2, 240)
    namespace.apply(stage.simulated("waiter", **whole_node, podTemplate=template))
    said = namespace.wait_reason("waiter", "Progressing", "WaitingForGpus", 120)
    assert "no GPU is free (node-a: 0 of 8, node-b: 0 of 8); a gang needs 8 on one node: move holder-" in said["message"]
    assert "or wait; it starts by itself when they come free" in said["message"]
    namespace.patch_llama("holder", {"spec": {"replicas": 1}})
    namespace.wait_ready("waiter", 1, 240)
