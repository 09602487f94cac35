"""Worlds in a line each: specs, pods, gangs in any state, and what agents and Serve say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.gangs import Gang, GangState, gangs_of
from llama_operator.lifecycle.observed import Agent, Pod, RootCause, Serve, ServeReplica, Unknown, World
from llama_operator.rendering import names
from llama_operator.rendering.context import RenderContext, RenderOptions
from llama_operator.rendering.revision import Pinned, render, to_controller_revision
from llama_serving.config import ServingConfig

NOW = 1_790_000_000.0
"""Seconds since 1970; 2026-09-21T14:13:20Z."""
KEY = names.Key("llm", "demo")
UID = "11111111-2222-3333-4444-555555555555"
NEW, OLD = "aaaaaaaaaa", "bbbbbbbbbb"
OPTIONS = RenderOptions(operator_image="operator:test", serving_image="serving:test")
NOT_FOUND = RootCause(reason="ModelNotFound", message="/models/x is not there; mount it", retryable=False)


def raw_spec(**over: Any) -> dict[str, Any]:
    """The least spec that is accepted, as YAML gives it."""
    return {"model": {"source": "file:///models/tiny"}, "hardware": {"accelerator": "cpu"}, "engine": {"type": "simulated"}, **over}


def spec(**over: Any) -> LlamaDeploymentSpec:
    """The same, read."""
    return LlamaDeploymentSpec.model_validate(raw_spec(**over))


def raw_deployment(spec_: Mapping[str, Any] | None = None, key: names.Key = KEY, **metadata: Any) -> dict[str, Any]:
    """A LlamaDeployment as the API server gives it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": UID, "generation": 1, "resourceVersion": "1", **metadata},
        "spec": dict(spec_ or raw_spec()),
    }


def context(revision: str = NEW, *, size: int = 1, gpus: int = 0, **over: Any) -> RenderContext:
    """What the makers of manifests get: a gang of `size` pods with `gpus` GPUs each."""
    config = ServingConfig(
        deployment=KEY.name,
        namespace=KEY.namespace,
        revision=revision,
        source="file:///models/tiny",
        served_name="demo",
        engine="simulated",
        tensor_parallel=max(1, gpus),
        pipeline_parallel=size,
        gpus_per_pod=gpus or (1 if size > 1 else 0),
        drain_seconds=300,
    )
    values: dict[str, Any] = {"serving": config, "options": OPTIONS, "image": "serving:test", **over}
    return RenderContext(name=KEY.name, namespace=KEY.namespace, uid=UID, revision=revision, **values)


def pinned(revision: str = NEW, *, size: int = 1, gpus: int = 0) -> Pinned:
    """The manifests of a revision."""
    return render(context(revision, size=size, gpus=gpus))


def record(revision: str = NEW, *, size: int = 1, gpus: int = 0, number: int = 1) -> dict[str, Any]:
    """The ControllerRevision that keeps them."""
    return to_controller_revision(context(revision, size=size, gpus=gpus), pinned(revision, size=size, gpus=gpus), number)


def a_pod(number: int = 0, rank: int = 0, revision: str = NEW, **over: Any) -> Pod:
    """A running, ready pod of a gang."""
    name = names.gang_pod(KEY.name, revision, number, rank)
    values: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "revision": revision,
        "component": names.REPLICA,
        "gang": number,
        "rank": rank,
        "phase": "Running",
        "ip": f"10.0.{number + (100 if revision == OLD else 0)}.{rank + 1}",
        "node": f"node-{number}",
        "ready": True,
        "ready_since": NOW - 60,
        "created": NOW - 100,
        "traffic": rank == 0,
        **over,
    }
    return Pod(**values)


def a_head(revision: str = NEW, **over: Any) -> Pod:
    """A running, ready head pod, shut to users."""
    name = names.head(KEY.name, revision)
    values: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "revision": revision,
        "component": names.HEAD,
        "phase": "Running",
        "ip": "10.1.0.1" if revision == NEW else "10.1.0.2",
        "node": "node-0",
        "ready": True,
        "ready_since": NOW - 90,
        "created": NOW - 120,
        **over,
    }
    return Pod(**values)


@dataclass
class Scene:
    """Collects pods, agents and Serve's view, and gives the World of them."""

    size: int = 1
    """Pods of a gang."""
    gpus: int = 0
    """GPUs of a pod."""
    pods: list[Pod] = field(default_factory=list)
    agents: dict[str, Agent | Unknown] = field(default_factory=dict)
    serve: dict[str, Serve | Unknown] = field(default_factory=dict)
    revisions: set[str] = field(default_factory=lambda: {NEW})

    def head(self, revision: str = NEW, **over: Any) -> Scene:
        """Add a head pod."""
        self.revisions.add(revision)
        self.pods.append(a_head(revision, **over))
        return self

    def gang(self, number: int, state: GangState, revision: str = NEW, *, in_flight: int | None = 0, **over: Any) -> Scene:
        """Add a gang that is in that state."""
        self.revisions.add(revision)
        changes: dict[str, Any] = {}
        agent: Agent | None = Agent(phase="Ready", in_flight=in_flight)
        match state:
            case GangState.PENDING:
                changes, agent = {"phase": "Pending", "ready": False, "ready_since": None, "ip": None, "node": None}, None
            case GangState.STARTING | GangState.DOWNLOADING | GangState.LOADING | GangState.WARMING:
                changes, agent = {"ready": False, "ready_since": None}, Agent(phase=state.value, message="on its way")
            case GangState.FAILED:
                changes, agent = {"ready": False, "ready_since": None}, Agent(phase="Failed", root_cause=NOT_FOUND)
            case GangState.BROKEN:
                changes = {"ready": False, "ready_since": None, "phase": "Failed", "ended": "Evicted: the node was low on memory"}
                agent = None
            case GangState.DRAINING:
                changes, agent = {"drain_since": NOW - 10, "traffic": False, "ready": False}, Agent(phase="Draining", in_flight=in_flight)
            case GangState.TERMINATING:
                changes = {"deleting": True}
        for rank in range(self.size):
            pod = a_pod(number, rank, revision, **{**changes, **over})
            self.pods.append(pod)
            if agent:
                self.agents[pod.name] = agent if rank == 0 or agent.phase != "Failed" else Agent(phase="Ready")
        return self

    def says(self, target: int | None, revision: str = NEW, *, running: Sequence[int] = (), state: str = "RUNNING", **over: Any) -> Scene:
        """Let Serve of a revision want `target` replicas, of which those on the gangs `running` are in `state`."""
        places = [pod.ip for number in running for pod in self.pods if (pod.gang, pod.rank, pod.revision) == (number, 0, revision)]
        replicas = [ServeReplica(state=state, node_ip=ip) for ip in places]
        values: dict[str, Any] = {"deployed": True, "app_status": "RUNNING", "target": target, "replicas": replicas, **over}
        self.serve[revision] = Serve(**values)
        return self

    def world(self, **over: Any) -> World:
        """The World; every revision named so far is pinned."""
        kept = {revision: pinned(revision, size=self.size, gpus=self.gpus) for revision in self.revisions}
        objects = {("ControllerRevision", names.revision_object(KEY.name, name)): record(name) for name in self.revisions}
        values: dict[str, Any] = {
            "key": KEY,
            "uid": UID,
            "generation": 1,
            "deleting": False,
            "finalizers": (names.FINALIZER,),
            "pods": tuple(self.pods),
            "agents": dict(self.agents),
            "serve": dict(self.serve),
            "pinned": kept,
            "objects": objects,
            **over,
        }
        return World(**values)

    def gangs(self, **over: Any) -> list[Gang]:
        """The gangs of that World."""
        return gangs_of(self.world(**over))
