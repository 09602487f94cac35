"""The whole stage: cluster, images, Prometheus, the operator from its chart. The demo and the cluster tests begin with `Stage().prepare()`.

On a foreign cluster (LLAMA_KUBECONFIG, LLAMA_CONTEXT) no image can be loaded and no folder of this machine mounted: LLAMA_OPERATOR_IMAGE
and LLAMA_SERVING_IMAGE name images that it can pull, LLAMA_PROMETHEUS_URL its Prometheus, LLAMA_DEMO_MODEL the source of the demo's model,
LLAMA_DEMO_ACCELERATOR what it runs on, and LLAMA_DEMO_POD_TEMPLATE a file with what its pods need there (tolerations, a pull secret).
"""

from __future__ import annotations

import hashlib
import os
import signal
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any

from llama_operator.telemetry import generate
from llama_operator.telemetry.rules.rule import Pace
from localcluster import models, pod_template, prometheus, serving_env
from localcluster.cluster import Cluster
from localcluster.errors import ForeignCluster, LocalClusterError
from localcluster.images import Images
from localcluster.progress import Progress
from localcluster.waiting import wait_for
from playground import freezing, streams
from playground.client import Client
from playground.kube import Namespace
from playground.operator import Operator
from playground.tools import Tools

ROOT = Path(__file__).resolve().parents[3]
OPERATOR_IMAGE = "docker.io/llama-local/operator"
IMAGE_SOURCES = ("operator", "serving/llama_serving", "pyproject.toml", "uv.lock", "LICENSE")
PROMETHEUS_URL = "http://prometheus.monitoring:9090"
PROMETHEUS = "/apis/apps/v1/namespaces/monitoring/deployments/prometheus"
TRAINED = "smollm2-135m"
MODELS = (TRAINED, "tiny-llama-tp2")
TRAINED_ON_THE_HUB = "hf://HuggingFaceTB/SmolLM2-135M-Instruct"


class Stage:
    """Cluster, images and operator, made once and kept."""

    def __init__(self, progress: Progress | None = None) -> None:
        """Nothing is started yet."""
        self.progress = progress or Progress()
        self._ahead: Thread | None = None
        self.cluster = Cluster(progress=self.progress)
        self.tools = Tools(self.cluster)
        self.operator_image = os.environ.get("LLAMA_OPERATOR_IMAGE") or f"{OPERATOR_IMAGE}:{image_key()}"
        self.serving_image = os.environ.get("LLAMA_SERVING_IMAGE", "")
        self.prometheus_url = os.environ.get("LLAMA_PROMETHEUS_URL", PROMETHEUS_URL)

    @property
    def api(self) -> Any:
        """The API server, as somebody who may do anything."""
        return self.cluster.api

    @cached_property
    def operator(self) -> Operator:
        """The operator's release."""
        return Operator(self.tools, self.api, self.operator_image, self.prometheus_url)

    @cached_property
    def pod_template(self) -> dict[str, Any]:
        """What a LlamaDeployment needs in its podTemplate to run here: the machine's Python environment; on a foreign cluster what
        LLAMA_DEMO_POD_TEMPLATE says, or nothing.
        """
        if not self.cluster.foreign:
            return pod_template.make(serving_env=self.cluster.settings.serving_env, models=self.cluster.settings.models)
        path = os.environ.get("LLAMA_DEMO_POD_TEMPLATE")
        return pod_template.read(Path(path)) if path else {}

    def cluster_up(self) -> None:
        """Start the cluster, or check that the foreign one answers."""
        self.cluster.ensure_up()

    def load_images(self) -> None:
        """Build what is not built, and bring it to the nodes."""
        if self.cluster.foreign:
            if not self.serving_image or "LLAMA_OPERATOR_IMAGE" not in os.environ:
                raise ForeignCluster(
                    "name images that your cluster can pull: LLAMA_OPERATOR_IMAGE (operator/Dockerfile) and LLAMA_SERVING_IMAGE"
                )
            return
        images = Images(self.cluster.settings, self.cluster.layout.debian, self.progress)
        # The tag is a hash of all that goes in: an archive of that name is the image already.
        archive = images.archive_of(self.operator_image)
        if not archive.is_file():
            images.build_image(ROOT / "operator" / "Dockerfile", ROOT, self.operator_image)
        serve_archive, self.serving_image = images.serve_base()
        with self.progress.step("load the images into both nodes"):
            self.cluster.load_image(archive)
            self.cluster.load_image(serve_archive)

    def start_prometheus(self) -> None:
        """Start Prometheus in the cluster; a foreign cluster brings its own."""
        if not self.cluster.foreign:
            prometheus.ensure(self.cluster)

    def set_prometheus(self, replicas: int) -> None:
        """Stop (0) or start (1) Prometheus, and wait until it is so."""
        self.api.request("PATCH", PROMETHEUS, {"spec": {"replicas": replicas}}, content_type="application/merge-patch+json")
        wait_for(
            f"{replicas} Prometheus",
            lambda: self.api.get(PROMETHEUS)["status"].get("availableReplicas", 0) == replicas,
            seconds=90,
            every=0.5,
        )

    def rehearse(self, shrink: float) -> None:
        """Let Prometheus start anew with the rules, every time in them divided by `shrink`; what it had stored is gone."""
        prometheus.put_rules(self.api, generate.text(Pace(shrink=shrink)))
        self.set_prometheus(0)
        self.set_prometheus(1)

    def firing(self) -> list[dict[str, Any]]:
        """The labels and annotations of every alert that fires."""
        answer = self.api.get("/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/alerts")
        return [
            {**alert["labels"], **alert["annotations"], "value": alert["value"]}
            for alert in answer["data"]["alerts"]
            if alert["state"] == "firing"
        ]

    def engine_ahead(self) -> None:
        """Begin with `engine` in another thread: it waits for the network while the cluster's programs compile."""
        # A daemon: a demo that fails must not wait in silence for gigabytes. What is half made is made whole the next time.
        progress = Progress(alive=False)
        self._ahead = Thread(target=self._engine_quietly, args=(progress,), name="engine", daemon=True)
        self._ahead.start()

    def _engine_quietly(self, progress: Progress) -> None:
        try:
            self._make_engine(progress)
        except LocalClusterError:
            progress.note("it is tried again when the cluster is up")

    def engine(self) -> None:
        """The Python environment and the models that the serving pods mount."""
        if self._ahead is not None:
            self._ahead.join()
        self._make_engine(self.progress)  # nothing where they are there, and where that failed its error

    def _make_engine(self, progress: Progress) -> None:
        if not self.cluster.foreign:
            serving_env.ensure(self.cluster.settings, progress)
            for name in MODELS:
                models.ensure(self.cluster.settings, progress, name)

    def prepare(self) -> Stage:
        """All of it, up to a running operator. What is there already is left."""
        self.cluster_up()
        self.load_images()
        self.engine()
        self.start_prometheus()
        with self.progress.step("install the operator with Helm"):
            self.operator.install()
        return self

    def freeze_pod(self, uid: str) -> None:
        """Stop every process of a pod where it stands. Raises NotReady when it has none."""
        wait_for(f"processes of pod {uid}", lambda: freezing.send(uid, signal.SIGSTOP), seconds=10)

    def thaw_pod(self, uid: str) -> None:
        """Let a frozen pod go on; nothing happens when it is gone."""
        freezing.send(uid, signal.SIGCONT)

    def kill_operator(self) -> None:
        """SIGKILL to the process that leads: it cannot give the Lease up, and the kubelet starts another in its pod. On a foreign cluster,
        whose processes are out of reach, its pod is deleted with no grace.
        """
        leader = self.operator.holder()
        if self.cluster.foreign or leader is None:
            self.operator.kill()
        elif not freezing.send(self.operator.uid(leader), signal.SIGKILL, "llama_operator"):
            raise LocalClusterError(f"pod {leader} holds the Lease, and no process of the operator was found in it")

    def streams_through(self, namespace: Namespace, *pods: dict[str, Any]) -> int:
        """Requests that came in by one of these pods or are answered by one: what breaks when all of them are lost."""
        own = {str(pod["status"]["podIP"]) for pod in pods}
        tables = [self.tools.execute(namespace.name, pod["metadata"]["name"], *streams.TABLES) for pod in pods]
        return sum(streams.through(table, own) for table in tables)

    def namespace(self, name: str) -> Namespace:
        """A namespace of that name, made if it is not there. Raises LocalClusterError for one that is a foreign cluster's own."""
        space = Namespace(self.api, name)
        if self.cluster.foreign:
            space.refuse_theirs()
        return space.make()

    def client(self, namespace: Namespace) -> Client:
        """A client pod in that namespace."""
        return Client(self.tools, namespace, self.operator_image).start()

    def simulated(self, name: str, *, args: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        """A LlamaDeployment of the simulated engine on the CPU; `spec` replaces whole fields."""
        body: dict[str, Any] = {
            "model": {"source": "file:///simulated", "servedName": name},
            "hardware": {"accelerator": "cpu"},
            "engine": {"type": "simulated", "args": {"loadSeconds": 2, **(args or {})}},
            "image": self.serving_image,
            "podTemplate": self.pod_template,
            **spec,
        }
        return _manifest(name, body)

    def small(self, name: str, model: str = TRAINED, *, args: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        """A LlamaDeployment of a model of the cache on vLLM's CPU engine; on a foreign cluster the demo's trained one, from the hub."""
        body: dict[str, Any] = {
            "model": {"source": self._source(model), "servedName": name},
            "hardware": {"accelerator": os.environ.get("LLAMA_DEMO_ACCELERATOR", "cpu") if self.cluster.foreign else "cpu"},
            "context": {"maxTokens": 1024},
            "engine": {"type": "vllm", "args": {"max_num_seqs": 8, **(args or {})}},
            "image": self.serving_image,
            "podTemplate": self.pod_template,
            **spec,
        }
        return _manifest(name, body)

    def _source(self, model: str) -> str:
        if not self.cluster.foreign:
            return f"file://{self.cluster.settings.models / model}"
        if model != TRAINED:
            raise ForeignCluster(f"{model} lies in this machine's cache, which no pod of your cluster sees")
        return os.environ.get("LLAMA_DEMO_MODEL", TRAINED_ON_THE_HUB)


def image_key() -> str:
    """Twelve hex digits over every file that the operator's image is made from: another content is another tag, so that pods never run
    an old one.
    """
    digest = hashlib.sha256()
    for source in IMAGE_SOURCES:
        place = ROOT / source
        files = (
            [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        )
        for file in files:
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _manifest(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "llama-operator.dev/v1alpha1", "kind": "LlamaDeployment", "metadata": {"name": name}, "spec": spec}


def autoscaling(maximum: int, in_flight: int, down_seconds: int = 30) -> dict[str, Any]:
    """An autoscaling block from one replica up to `maximum`."""
    return {
        "minReplicas": 1,
        "maxReplicas": maximum,
        "objective": {"inFlightPerReplica": in_flight},
        "scaleUpStabilizationSeconds": 0,
        "scaleDownStabilizationSeconds": down_seconds,
    }
