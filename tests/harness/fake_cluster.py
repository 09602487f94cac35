"""Nodes, kubelets, agents and Ray Serve in memory: what happens to pods once they exist. All in virtual time, in an order by seed.

A gang's leader begins to load when all pods of its gang run and Serve has put a replica on it; it is ready `load_seconds` later. Serve
keeps its own count, puts replicas on whatever leader is free, and stops one of its own choice when it is told to run fewer, those on
draining nodes first. It lives in the head, and remembers all when the head comes back on its volume.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.harness.fake_api import FakeApi

from llama_operator.lifecycle.observed import Agent, RootCause, Serve, ServeReplica, Unknown, rfc3339, timestamp
from llama_operator.planning.hardware.requests import requested
from llama_operator.ports import AgentError, ServeError
from llama_operator.rendering import names

GPU = "nvidia.com/gpu"
BAD_MODEL = RootCause(reason="ModelNotFound", message="the model is not there; correct spec.model.source", retryable=False)


@dataclass
class Life:
    """What the kubelet and the agent know of one pod, and the API server does not."""

    starts_at: float
    ip: str
    phase: str = "Starting"
    since: float = 0.0
    """When the phase began."""
    loading_since: float | None = None
    ready_at: float | None = None
    in_flight: int = 0
    last_request: float = 0.0
    dies_at: float | None = None


@dataclass
class Replica:
    """One replica in Serve's book."""

    state: str = "STARTING"
    uid: str | None = None
    """The leader's pod."""
    ip: str | None = None


@dataclass
class App:
    """Serve's memory of one revision."""

    deployed: bool = False
    target: int = 0
    failed: str | None = None
    replicas: list[Replica] = field(default_factory=list)


@dataclass
class FakeCluster:
    """Implements Agents and ServeApi, and moves the pods on with `tick`."""

    api: FakeApi
    rng: random.Random
    nodes: dict[str, int]
    """GPUs by node."""
    load_seconds: float = 8.0
    bad_sources: set[str] = field(default_factory=set)
    """Models that cannot be loaded."""
    kv_cache_tokens: int | None = None
    weight_bytes: int | None = None
    memory_bytes: int | None = None
    """What every engine says once it is ready."""
    app_error: str | None = None
    """Why Serve cannot even build the application."""
    load: int = 0
    """Requests that users have open; the ready leaders share them, and the head holds them while there is none."""
    held: int = 0
    flaky: float = 0.0
    """Chance that an agent or a head does not answer."""
    on_scale: Callable[[str, int], None] = lambda revision, target: None
    stranded: set[str] = field(default_factory=set)
    """Pods, by uid, on a node that is dead: they neither answer nor go."""
    lives: dict[str, Life] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    _ips: int = 0

    def __post_init__(self) -> None:
        for name, gpus in self.nodes.items():
            self.api.put({"kind": "Node", "metadata": {"name": name}, "spec": {}, "status": {"allocatable": {GPU: str(gpus)}}})
        self.api.watch(self._forget)

    def _forget(self, event: str, manifest: Mapping[str, Any]) -> None:
        """A head's memory goes with its volume."""
        if event == "DELETED" and manifest["kind"] == "PersistentVolumeClaim":
            self.apps.pop(manifest["metadata"]["labels"][names.LABEL_REVISION], None)

    def tick(self) -> None:
        """Everything moves on by what the time allows."""
        pods = self.api.all("Pod")
        self.rng.shuffle(pods)
        for pod in pods:
            if pod["metadata"]["uid"] in self.stranded:
                continue
            self._bury(pod) if pod["metadata"].get("deletionTimestamp") else self._run(pod)
        for revision in sorted(self.apps):
            self._serve(revision)
        self._spread()

    # Kubelet and scheduler.

    def _run(self, pod: dict[str, Any]) -> None:
        if not pod["spec"].get("nodeName"):
            self._schedule(pod)
            return
        status, life = pod.setdefault("status", {}), self.lives[pod["metadata"]["uid"]]
        if status.get("phase") == "Pending" and self.now >= life.starts_at:
            status.update(phase="Running", podIP=life.ip)
            self.api.touch(pod)
        if status.get("phase") == "Running":
            before = life.phase
            self._agent(pod, life)
            self._note_phase(life, before)
            self._mark_ready(pod, life)

    def _schedule(self, pod: dict[str, Any]) -> None:
        wants, free = requested(pod, GPU), dict(self.nodes)
        for other in self.api.all("Pod"):
            if (node := other["spec"].get("nodeName")) and other["status"].get("phase") not in ("Failed", "Succeeded"):
                free[node] -= requested(other, GPU)
        fits = [node for node, gpus in sorted(free.items()) if gpus >= wants]
        if fits:
            pod["spec"]["nodeName"] = self.rng.choice(fits)
            self._ips += 1
            life = Life(starts_at=self.now + 1 + 2 * self.rng.random(), ip=f"10.{self._ips // 250}.0.{self._ips % 250}")
            self.lives[pod["metadata"]["uid"]] = life
            pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
            self.api.touch(pod)
        elif not pod.get("status"):
            said = {"type": "PodScheduled", "status": "False", "message": f"0/{len(self.nodes)} nodes are available: Insufficient {GPU}"}
            pod["status"] = {"phase": "Pending", "conditions": [said]}
            self.api.touch(pod)

    def _bury(self, pod: dict[str, Any]) -> None:
        life = self.lives.get(pod["metadata"]["uid"])
        if life is not None and life.dies_at is None:
            life.dies_at = self.now + 3 * self.rng.random()
        if life is None or self.now >= min(life.dies_at or 0.0, timestamp(pod["metadata"]["deletionTimestamp"]) or 0.0):
            self.lives.pop(pod["metadata"]["uid"], None)
            self.api.remove(pod)

    def _note_phase(self, life: Life, before: str) -> None:
        if life.phase != before or not life.since:
            life.since = self.now

    def _mark_ready(self, pod: dict[str, Any], life: Life) -> None:
        ready = "True" if life.phase == "Ready" else "False"
        conditions = [item for item in pod["status"]["conditions"] if item["type"] != "Ready"]
        known = next((item for item in pod["status"]["conditions"] if item["type"] == "Ready"), {})
        if known.get("status") != ready:
            said = {"type": "Ready", "status": ready, "lastTransitionTime": rfc3339(self.now)}
            pod["status"]["conditions"] = [*conditions, said]
            self.api.touch(pod)

    # Agents.

    def _agent(self, pod: dict[str, Any], life: Life) -> None:
        labels = pod["metadata"]["labels"]
        if labels[names.LABEL_COMPONENT] == names.HEAD:
            if life.phase != "Ready" and self.now >= life.starts_at + 3:
                life.phase = "Ready"
                self.apps.setdefault(labels[names.LABEL_REVISION], App())
            return
        if life.phase in ("Ready", "Draining", "Failed"):
            return
        if labels[names.LABEL_RANK] != "0":
            life.phase = "Ready" if self.head(labels[names.LABEL_REVISION]) else "Starting"
            return
        if self._source(pod) in self.bad_sources:
            life.phase = "Failed" if self.now >= life.starts_at + 2 else "Starting"
        elif not self._whole(pod) or self._replica_on(pod["metadata"]["uid"], labels[names.LABEL_REVISION]) is None:
            life.phase, life.loading_since = "Starting", None
        else:
            life.loading_since = self.now if life.loading_since is None else life.loading_since
            done = (self.now - life.loading_since) / self.load_seconds
            life.phase = "LoadingWeights" if done < 0.8 else "WarmingUp" if done < 1 else "Ready"
            life.ready_at = self.now if life.phase == "Ready" else None

    def _source(self, pod: Mapping[str, Any]) -> str:
        env = next(item["value"] for item in pod["spec"]["containers"][0]["env"] if item["name"] == "LLAMA_CONFIG")
        return str(env.split('"source":"', 1)[1].split('"', 1)[0])

    def gang(self, pod: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All pods of the pod's gang."""
        labels = pod["metadata"]["labels"]
        same = (names.LABEL_DEPLOYMENT, names.LABEL_REVISION, names.LABEL_GANG)
        return [item for item in self.api.all("Pod") if all(item["metadata"]["labels"].get(key) == labels.get(key) for key in same)]

    def _whole(self, pod: Mapping[str, Any]) -> bool:
        env = next(item["value"] for item in pod["spec"]["containers"][0]["env"] if item["name"] == "LLAMA_CONFIG")
        gang = self.gang(pod)
        pipeline = int(env.split('"pipeline_parallel":', 1)[1].split(",", 1)[0])
        size = pipeline if requested(pod, GPU) else 1
        return len(gang) == size and all(item.get("status", {}).get("phase") == "Running" for item in gang)

    async def status(self, ip: str) -> Agent | Unknown:
        """See ports.Agents."""
        await self.api._wait()
        pod = self._at(ip)
        if pod is None or self.rng.random() < self.flaky:
            return Unknown("ConnectTimeout")
        life = self.lives[pod["metadata"]["uid"]]
        cause = BAD_MODEL if life.phase == "Failed" else None
        percent = None
        if life.phase == "LoadingWeights" and life.loading_since is not None:
            percent = min(100.0, 100 * (self.now - life.loading_since) / self.load_seconds)
        return Agent(
            phase=life.phase,
            since=life.since or self.now,
            percent=percent,
            message=life.phase,
            root_cause=cause,
            joined=True,
            in_flight=life.in_flight,
            kv_cache_tokens=self.kv_cache_tokens if life.phase == "Ready" else None,
            weight_bytes=self.weight_bytes if life.phase == "Ready" else None,
            memory_bytes=self.memory_bytes if life.phase == "Ready" else None,
        )

    async def drain(self, ip: str, token: str, deadline_seconds: int) -> None:
        """See ports.Agents."""
        await self.api._wait()
        pod = self._at(ip)
        if pod is None or self.rng.random() < self.flaky:
            raise AgentError(f"agent at {ip}: ConnectTimeout")
        self.lives[pod["metadata"]["uid"]].phase = "Draining"
        replica = self._replica_on(pod["metadata"]["uid"], pod["metadata"]["labels"][names.LABEL_REVISION])
        if replica is not None and replica.state == "RUNNING":
            replica.state = "PENDING_MIGRATION"

    def _at(self, ip: str) -> dict[str, Any] | None:
        running = [pod for pod in self.api.all("Pod") if pod.get("status", {}).get("phase") == "Running"]
        return next((pod for pod in running if pod["status"].get("podIP") == ip and pod["metadata"]["uid"] not in self.stranded), None)

    # Ray Serve.

    def head(self, revision: str) -> dict[str, Any] | None:
        """The head pod of a revision, when it is ready."""
        for pod in self.api.all("Pod"):
            labels = pod["metadata"]["labels"]
            if labels[names.LABEL_COMPONENT] == names.HEAD and labels[names.LABEL_REVISION] == revision:
                life = self.lives.get(pod["metadata"]["uid"])
                return pod if life is not None and life.phase == "Ready" else None
        return None

    def _replica_on(self, uid: str, revision: str) -> Replica | None:
        app = self.apps.get(revision)
        return next((replica for replica in app.replicas if replica.uid == uid), None) if app else None

    def _serve(self, revision: str) -> None:
        if self.head(revision) is None:
            return
        app = self.apps[revision]
        leaders = {
            pod["metadata"]["uid"]: pod
            for pod in self.api.all("Pod")
            if pod["metadata"]["labels"].get(names.LABEL_RANK) == "0"
            and pod["metadata"]["labels"][names.LABEL_REVISION] == revision
            and pod.get("status", {}).get("phase") == "Running"
            and pod["metadata"]["uid"] not in self.stranded
        }
        app.replicas = [replica for replica in app.replicas if replica.uid is None or replica.uid in leaders]
        if app.deployed and self.app_error:
            app.failed, app.replicas = self.app_error, []
            return
        wanted = app.target if app.deployed else 0
        order = {"PENDING_MIGRATION": 0, "STARTING": 1, "RUNNING": 2}
        active = [replica for replica in app.replicas if replica.state in order]
        self.rng.shuffle(active)
        active.sort(key=lambda replica: (order[replica.state], replica.uid is not None))
        for replica in active[: max(0, len(active) - wanted)]:
            replica.state = "STOPPING"
        staying = [replica for replica in app.replicas if replica.state in ("STARTING", "RUNNING")]
        app.replicas += [Replica() for _ in range(wanted - len(staying))]
        for replica in app.replicas:
            self._place(app, replica, leaders)
        app.replicas = [replica for replica in app.replicas if replica.state != "STOPPING" or self._in_flight(replica) > 0]

    def _place(self, app: App, replica: Replica, leaders: Mapping[str, Mapping[str, Any]]) -> None:
        if replica.state != "STARTING":
            return
        if replica.uid is None:
            taken = {other.uid for other in app.replicas}
            free = sorted(uid for uid in leaders if uid not in taken and self.lives[uid].phase == "Starting")
            if free:
                replica.uid = self.rng.choice(free)
                replica.ip = self.lives[replica.uid].ip
        elif self.lives[replica.uid].phase == "Ready":
            replica.state = "RUNNING"

    def _in_flight(self, replica: Replica) -> int:
        return self.lives[replica.uid].in_flight if replica.uid in self.lives else 0

    def _spread(self) -> None:
        """New requests enter at ready leaders; those that drain finish one in a while."""
        open_leaders = []
        for pod in self.api.all("Pod"):
            life = self.lives.get(pod["metadata"]["uid"])
            if life is None or pod["metadata"]["labels"].get(names.LABEL_RANK) != "0":
                continue
            if (
                life.phase == "Ready"
                and pod["metadata"]["labels"][names.LABEL_TRAFFIC] == "true"
                and not pod["metadata"].get("deletionTimestamp")
            ):
                open_leaders.append(life)
            elif life.in_flight and self.rng.random() < 0.3:
                life.in_flight -= 1
        self.held = 0 if open_leaders else self.load
        for index, life in enumerate(open_leaders):
            life.in_flight = self.load // len(open_leaders) + (1 if index < self.load % len(open_leaders) else 0)
            life.last_request = self.now if life.in_flight else life.last_request or self.now

    async def view(self, ip: str, token: str, deployment: str) -> Serve | Unknown:
        """See ports.ServeApi."""
        await self.api._wait()
        app = self._app(ip)
        if app is None or self.rng.random() < self.flaky:
            return Unknown("ConnectError")
        if not app.deployed:
            return Serve(deployed=False)
        # An entry that stops may have lost its address (tests/contract/ray_serve).
        replicas = [ServeReplica(state=item.state, node_ip=None if item.state == "STOPPING" else item.ip) for item in app.replicas]
        status = "DEPLOY_FAILED" if app.failed else "RUNNING"
        return Serve(deployed=True, app_status=status, message=app.failed or "", target=app.target, replicas=replicas)

    async def put(self, ip: str, token: str, body: Mapping[str, Any]) -> None:
        """See ports.ServeApi."""
        await self.api._wait()
        app = self._app(ip)
        if app is None:
            raise ServeError("ConnectError")
        applications: Sequence[Mapping[str, Any]] = body["applications"]
        if not applications:
            app.deployed, app.failed = False, None
        elif not app.deployed:
            app.deployed, app.target = True, int(applications[0]["deployments"][0]["num_replicas"])

    async def scale(self, ip: str, token: str, deployment: str, target: int) -> None:
        """See ports.ServeApi."""
        await self.api._wait()
        app = self._app(ip)
        if app is None or not app.deployed:
            raise ServeError("404: no such application")
        revision = next(revision for revision, other in self.apps.items() if other is app)
        self.on_scale(revision, target)
        app.target = target

    def _app(self, ip: str) -> App | None:
        pod = self._at(ip)
        if pod is None or self.lives[pod["metadata"]["uid"]].phase != "Ready":
            return None
        return self.apps.get(pod["metadata"]["labels"][names.LABEL_REVISION])

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self.api.clock()
