"""The real operator against the fake cluster, in virtual time: `Sim` runs both, and watches what must never happen.

invariant                                                              where it is watched
a pod is named after what it is; children have owner and labels        FakeApi, at every create
a rollout never uses more gangs' worth of GPUs than were ever wanted   at every create of a pod while two revisions have gangs
Serve is never told to run fewer than the ready gangs that stay        at every scale call
a gang that serves is never deleted undrained                          at every delete of a pod
a draining gang is not deleted while it has requests                   at every delete of a pod
a bug in a pass ends the simulation                                    at every tick
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tests.harness.builders import KEY, NOW, raw_deployment, raw_spec
from tests.harness.fake_api import FakeApi
from tests.harness.fake_cluster import FakeCluster

from llama_operator.adapters.events import Events
from llama_operator.adapters.kinds import CHILD_KINDS
from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.adapters.tokens import Tokens
from llama_operator.api.problems import Problem
from llama_operator.control.execute import Hands
from llama_operator.control.gather import Senses
from llama_operator.control.handlers import observe
from llama_operator.control.reconcile import Reconciler, run_worker
from llama_operator.control.resync import resync, resync_forever
from llama_operator.control.rooms import Rooms
from llama_operator.control.scalers import Scalers
from llama_operator.control.settings import Settings
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue
from llama_operator.lifecycle.observed import rfc3339, timestamp
from llama_operator.planning.admission import Unread, known_model
from llama_operator.planning.facts import ModelFacts
from llama_operator.ports import ApiError
from llama_operator.rendering import names
from llama_operator.scaling.signals import Missing, Series
from llama_operator.telemetry import names as metric

TICK = 0.5
PASS_SECONDS = 2.0
"""No pass of the simulated operator takes longer."""
SETTINGS: dict[str, Any] = {
    "image": "operator:test",
    "default_serving_image": "serving:test",
    "resync_seconds": 60.0,
    "max_load_attempts": 3,
    "retry_base_seconds": 10.0,
}


class LoopClock:
    """Implements Clock: the event loop's time, as a date."""

    def now(self) -> float:
        """Seconds since 1970."""
        return NOW + asyncio.get_running_loop().time()


@dataclass
class FakeMetrics:
    """Implements Metrics: what Prometheus would have scraped from the heads and the leaders that run."""

    cluster: FakeCluster
    down: bool = False

    async def newest(self, selector: str) -> Sequence[Series] | Missing:
        """See ports.Metrics."""
        if self.down:
            return Missing(reason="PrometheusUnreachable", message="Prometheus does not answer")
        series = []
        for pod in self.cluster.api.all("Pod"):
            life = self.cluster.lives.get(pod["metadata"]["uid"])
            if life is None or life.phase != "Ready":
                continue
            labels, at = pod["metadata"]["labels"], {"pod": pod["metadata"]["name"], "revision": "", "time": self.cluster.now}
            if labels[names.LABEL_COMPONENT] == names.HEAD:
                series.append(Series(name=metric.SERVE_QUEUED, value=float(self.cluster.held), **at))
            elif labels.get(names.LABEL_RANK) == "0":
                series.append(Series(name=metric.SERVE_PROCESSING, value=float(life.in_flight), **at))
                series.append(Series(name=metric.LAST_REQUEST, value=life.last_request, **at))
        return series


@dataclass
class FakeModels:
    """Implements Models: what the hub would tell, by source, and otherwise what the real one knows without a hub."""

    answers: dict[str, ModelFacts | Problem | Unread] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def facts(self, source: str, revision: str | None = None) -> ModelFacts | Problem | Unread:
        """See ports.Models."""
        self.asked.append(source)
        return self.answers.get(source) or known_model(source)


@dataclass(frozen=True, kw_only=True)
class Watched(Reconciler):
    """Keeps the faults that the real one survives."""

    faults: list[Exception]

    async def tell_fault(self, key: names.Key, error: Exception) -> None:
        """See Reconciler."""
        self.faults.append(error)
        await super().tell_fault(key, error)


@dataclass
class Operator:
    """One process of the operator: its memory is its own, and a kill leaves nothing of it."""

    reconciler: Watched
    store: Store
    queue: WorkQueue[names.Key]
    api: FakeApi
    rng: random.Random
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _unwatch: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Watch, list, work. Like `control.wiring`, with the fake's watch in Kopf's place."""
        events: dict[str, asyncio.Queue[tuple[str, dict[str, Any]]]] = {kind: asyncio.Queue() for kind in (names.KIND, "Pod", *CHILD_KINDS)}

        def tell(event: str, manifest: dict[str, Any]) -> None:
            if manifest["kind"] in events:
                events[manifest["kind"]].put_nowait((event, manifest))

        self._unwatch = self.api.watch(tell)
        while True:
            try:
                await resync(self.api, self.store, self.queue, ())
                break
            except ApiError:
                await asyncio.sleep(1)  # the real one asks again too (control/begin.py)
        settings = self.reconciler.settings
        self.tasks = [
            asyncio.create_task(resync_forever(self.api, self.store, self.queue, settings)),
            *(asyncio.create_task(run_worker(self.reconciler, self.queue)) for _ in range(2)),
            *(asyncio.create_task(self._watch(queue)) for queue in events.values()),
        ]

    async def _watch(self, events: asyncio.Queue[tuple[str, dict[str, Any]]]) -> None:
        while True:
            event, manifest = await events.get()
            await asyncio.sleep(self.rng.random() * 0.2)
            observe(self.store, self.queue, event, manifest)

    async def kill(self) -> None:
        """SIGKILL: at whatever await each task is."""
        self._unwatch()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []

    def check(self) -> None:
        """Raises what ended a task, or a pass: only a bug does."""
        for fault in self.reconciler.faults:
            raise fault
        for task in self.tasks:
            if task.done():
                task.result()
                raise AssertionError("a task of the operator ended")


class Sim:
    """The operator, the cluster and a user, in one event loop."""

    def __init__(self, seed: int = 0, nodes: Mapping[str, int] | None = None, latency: float = 0.05, **cluster: Any) -> None:
        """`nodes` are GPUs by node name. Use inside `run_virtually`."""
        self.rng = random.Random(seed)  # noqa: S311 - a simulation repeats itself by its seed
        self.clock = LoopClock()
        self.api = FakeApi(clock=self.clock.now, rng=self.rng, latency=latency)
        self.cluster = FakeCluster(
            api=self.api, rng=self.rng, nodes=dict(nodes or {"node-a": 8, "node-b": 8}), on_scale=self._on_scale, **cluster
        )
        self.metrics = FakeMetrics(self.cluster)
        self.models = FakeModels()
        self.faults: list[Exception] = []
        self.settings = Settings(**SETTINGS)
        self.most_wanted = 0
        self.api.before_write = self.on_write
        self.operator = self._operator()
        self._ticker: asyncio.Task[None] | None = None

    def _operator(self) -> Operator:
        store, queue = Store(), WorkQueue[names.Key](jitter=self.rng.random)
        tokens, cluster = Tokens(b"k" * 32), self.cluster
        rooms = Rooms(reader=self.api, clock=self.clock)
        reconciler = Watched(
            senses=Senses(reader=self.api, agents=cluster, serve=cluster, tokens=tokens, store=store, rooms=rooms),
            hands=Hands(writer=self.api, agents=cluster, serve=cluster, tokens=tokens, store=store),
            metrics=self.metrics,
            events=Events(self.api, "llama-operator", "pod-0"),
            own=OwnMetrics(),
            clock=self.clock,
            settings=self.settings,
            models=self.models,
            rooms=rooms,
            scalers=Scalers(reader=self.api, clock=self.clock),
            faults=self.faults,
        )
        return Operator(reconciler=reconciler, store=store, queue=queue, api=self.api, rng=self.rng)

    async def __aenter__(self) -> Self:
        await self.operator.start()
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if self._ticker:
            self._ticker.cancel()
        await self.operator.kill()
        if kind is None:
            self.operator.check()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.cluster.tick()

    # What a user and bad luck do.

    def apply(self, key: names.Key = KEY, **spec: Any) -> None:
        """Apply a LlamaDeployment: what `spec` gives over the least spec."""
        known = self.api.objects.get((names.KIND, key.namespace, key.name))
        manifest = raw_deployment(raw_spec(**spec), key)
        for field_ in ("uid", "resourceVersion", "generation"):
            manifest["metadata"].pop(field_)
        wanted = spec.get("autoscaling", {}).get("maxReplicas", spec.get("replicas", 1))
        self.most_wanted = max(self.most_wanted if known else 0, wanted)
        self.api.put(manifest)

    async def delete(self, key: names.Key = KEY) -> None:
        """`kubectl delete`."""
        self.api._begin_deletion(self.api.objects[names.KIND, key.namespace, key.name], 0)

    async def restart(self, away: float = 0.0) -> None:
        """Kill the operator wherever it is, and start another one that knows nothing."""
        await self.operator.kill()
        await asyncio.sleep(away)
        self.operator = self._operator()
        await self.operator.start()

    def lose(self, pod: Mapping[str, Any]) -> None:
        """The pod is gone without a word, as after a force-delete."""
        self.cluster.lives.pop(pod["metadata"]["uid"], None)
        self.api.remove(pod)

    def strand(self, pod: dict[str, Any], grace: int = 30) -> None:
        """The pod's node is dead: the pod is deleted, as the node's controller does it, and nobody is there to end it."""
        self.cluster.stranded.add(pod["metadata"]["uid"])
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False", "lastTransitionTime": rfc3339(self.clock.now())}]
        self.api._begin_deletion(pod, grace)

    def crash(self, pod: dict[str, Any]) -> None:
        """The pod's main container ends."""
        state = {"terminated": {"exitCode": 137, "reason": "Error"}}
        pod["status"] = {**pod["status"], "phase": "Failed", "containerStatuses": [{"name": "llama", "state": state}]}
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-09-21T14:13:20Z"}]
        self.api.touch(pod)

    # What is seen.

    def status(self, key: names.Key = KEY) -> dict[str, Any]:
        """The LlamaDeployment's status."""
        return dict((self.api.objects.get((names.KIND, key.namespace, key.name)) or {}).get("status") or {})

    def condition(self, kind: str) -> dict[str, Any]:
        """One condition."""
        return next((item for item in self.status().get("conditions", []) if item["type"] == kind), {})

    def pods(self, component: str = names.REPLICA, revision: str | None = None) -> list[dict[str, Any]]:
        """Pods of a component, those on their way out included."""
        found = [pod for pod in self.api.all("Pod") if pod["metadata"]["labels"][names.LABEL_COMPONENT] == component]
        return [pod for pod in found if revision in (None, pod["metadata"]["labels"][names.LABEL_REVISION])]

    def settled(self) -> bool:
        """All that is wanted is Ready, nothing else is there, and the status says so of this very spec."""
        status = self.status()
        ready, _, wanted = status.get("ready", "0/1").partition("/")
        deployment = self.api.objects[names.KIND, KEY.namespace, KEY.name]
        current = status.get("observedGeneration") == deployment["metadata"]["generation"]
        revisions = {pod["metadata"]["labels"][names.LABEL_REVISION] for pod in self.api.all("Pod")}
        done = self.condition("Progressing").get("reason") == "Complete"
        return current and done and ready == wanted and len(status["replicas"]) == int(wanted) and revisions == {status["revision"]}

    async def until(self, what: Callable[[], bool], seconds: float = 300) -> float:
        """Wait for something to be so; how many seconds that took. Fails after `seconds`."""
        begun = self.clock.now()
        while not what():
            self.operator.check()
            if self._ticker and self._ticker.done():
                self._ticker.result()
            assert self.clock.now() - begun < seconds, f"not so after {seconds} s: {self.describe()}"
            await asyncio.sleep(TICK)
        return self.clock.now() - begun

    def describe(self) -> str:
        """The state in some lines, for a failure's message."""
        lives = self.cluster.lives
        pods = [
            f"{pod['metadata']['name']}: {lives[pod['metadata']['uid']].phase if pod['metadata']['uid'] in lives else '-'}"
            for pod in self.api.all("Pod")
        ]
        said = [f"{item['type']}={item['status']} {item['reason']}: {item['message']}" for item in self.status().get("conditions", [])]
        return "\n".join([*pods, *said, str(self.cluster.apps)])

    async def one_pass(self, key: names.Key = KEY) -> tuple[int, int]:
        """Writes and lists of one pass of a fresh operator that has just resynced."""
        await self.operator.kill()
        if self._ticker:
            self._ticker.cancel()
            self._ticker = None
        fresh = self._operator()
        await resync(self.api, fresh.store, fresh.queue, ())
        self.api.writes.clear()
        self.api.lists.clear()
        await fresh.reconciler.reconcile(key)
        return sum(self.api.writes.values()), sum(self.api.lists.values())

    # What must never happen.

    def on_write(self, verb: str, target: Mapping[str, Any]) -> None:
        """Watch every write of the operator."""
        if verb == "create" and target["kind"] == "Pod" and target["metadata"]["labels"].get(names.LABEL_COMPONENT) == names.REPLICA:
            self._check_gpus(target)
        if verb == "delete" and target["kind"] == "Pod":
            self._check_delete(target)

    def _check_gpus(self, made: Mapping[str, Any]) -> None:
        def gang(pod: Mapping[str, Any]) -> tuple[str, str]:
            labels = pod["metadata"]["labels"]
            return labels[names.LABEL_REVISION], labels[names.LABEL_GANG]

        owner = made["metadata"]["labels"][names.LABEL_DEPLOYMENT]
        # What a dead node held cannot be used.
        pods = [pod for pod in self.pods() if pod["metadata"]["uid"] not in self.cluster.stranded]
        gangs = {gang(pod) for pod in pods if pod["metadata"]["labels"][names.LABEL_DEPLOYMENT] == owner} | {gang(made)}
        if len({revision for revision, _ in gangs}) > 1:
            assert len(gangs) <= self.most_wanted, (
                f"a rollout uses {len(gangs)} gangs of GPUs, {self.most_wanted} were ever wanted: {sorted(gangs)}"
            )

    def _check_delete(self, target: Mapping[str, Any]) -> None:
        pod = self.api.objects.get(("Pod", target["metadata"]["namespace"], target["metadata"]["name"]))
        if (
            pod is None
            or pod["metadata"]["uid"] != target["metadata"]["uid"]
            or pod["metadata"]["labels"].get(names.LABEL_COMPONENT) != names.REPLICA
        ):
            return
        owner = self.api.objects.get((names.KIND, pod["metadata"]["namespace"], pod["metadata"]["labels"][names.LABEL_DEPLOYMENT]))
        gang = self.cluster.gang(pod)
        whole = self.cluster._whole(pod) and not any(item["metadata"].get("deletionTimestamp") for item in gang)
        leader = next((item for item in gang if item["metadata"]["labels"][names.LABEL_RANK] == "0"), None)
        if owner is None or owner["metadata"].get("deletionTimestamp") or not whole or leader is None:
            return
        life = self.cluster.lives[leader["metadata"]["uid"]]
        # A pass decides on what it saw when it began; a replica that became ready since has served for less than that.
        served = life.phase == "Ready" and self.clock.now() - (life.ready_at or 0.0) > PASS_SECONDS
        assert not served, f"{pod['metadata']['name']} serves and is deleted undrained\n{self.describe()}"
        since = timestamp((leader["metadata"].get("annotations") or {}).get(names.ANNOTATION_DRAIN_SINCE))
        if since is not None and self.clock.now() < since + 300:
            assert life.in_flight == 0, f"{pod['metadata']['name']} is deleted with {life.in_flight} requests"

    def _on_scale(self, revision: str, target: int) -> None:
        staying = 0
        for pod in self.pods(revision=revision):
            metadata, life = pod["metadata"], self.cluster.lives.get(pod["metadata"]["uid"])
            leads = metadata["labels"][names.LABEL_RANK] == "0" and life is not None and life.phase == "Ready"
            if (
                leads
                and self.cluster._whole(pod)
                and not any(
                    item["metadata"].get("deletionTimestamp")
                    or (item["metadata"].get("annotations") or {}).get(names.ANNOTATION_DRAIN_SINCE)
                    for item in self.cluster.gang(pod)
                )
            ):
                staying += 1
        assert target >= staying, f"Serve is told to run {target}, {staying} gangs serve and stay\n{self.describe()}"
