"""Load tests: what the real tool wrote, a pod that serves, and a cluster that takes Jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness.builders import NOW
from tests.harness.cluster import FakeKubectl, deployment, pod_manifest

from llama_operator.adapters.kubectl import Finished
from llama_operator.cli import bench_pod
from llama_operator.cli.bench_build import run_report
from llama_operator.cli.bench_document import Report, RunReport
from llama_operator.cli.bench_log import Said, read_log
from llama_operator.cli.bench_question import Load, Question
from llama_operator.cli.bench_subject import report_of
from llama_operator.cli.moments import stamp

GOLDEN = Path(__file__).parents[1] / "golden" / "bench"
REAL = GOLDEN / "vllm-0.29.0.log"
"""What the driver said of vLLM 0.29.0's own tool against the simulated engine: 12 requests of 64 and 16 tokens, 4 at once, then 4 a second."""
FAILURES = GOLDEN / "vllm-0.29.0-failures.log"
"""The same tool, where of six requests three were refused and one broke off."""
LOADS = (Load(requests=12, concurrency=4), Load(requests=12, rate=4.0))
ASKED = Question(loads=LOADS, input_tokens=64, output_tokens=16, seconds=None, seed=7, longest_seconds=1800)


def said(path: Path) -> Said:
    return read_log(path.read_text(encoding="utf-8").splitlines())


def real_runs(objectives: tuple[float | None, float | None] = (None, None)) -> list[RunReport]:
    log = said(REAL)
    return [run_report(load, log.result(index), log.begun[index], 16, objectives) for index, load in enumerate(LOADS)]


def real_report(objectives: tuple[float | None, float | None] = (0.2, None)) -> Report:
    """Of the real runs, on one replica and then two."""
    both = (deployment(status={"replicas": [{"phase": "Ready"}]}), deployment(status={"replicas": [{"phase": "Ready"}] * 2}))
    return report_of(ASKED, real_runs(objectives), both, rich_pod(), (stamp(NOW), stamp(NOW + 60)), {"tool": "0.29.0"})


def rich_pod() -> dict[str, Any]:
    pod = pod_manifest(0, 0, gpus=8)
    pod["spec"] |= {
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "runtimeClassName": "nvidia",
        "serviceAccountName": "trusted",
        "securityContext": {"runAsUser": 0, "runAsGroup": 4000},
        "containers": [
            {"name": "sidecar", "image": "mesh"},
            {
                "name": "llama",
                "image": "registry/llm:1",
                "imagePullPolicy": "IfNotPresent",
                "resources": {"limits": {"nvidia.com/gpu": "8"}},
                "env": [
                    {"name": "LLAMA_CONFIG", "value": "{}"},
                    {"name": "PATH", "value": "/env/bin:/usr/bin"},
                    {"name": "HF_TOKEN", "value": "canary"},
                    {"name": "MY_API_KEY", "value": "canary"},
                    {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "canary", "key": "t"}}},
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
                ],
                "volumeMounts": [
                    {"name": "code", "mountPath": "/opt/llama/serving"},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "env", "mountPath": "/env"},
                    {"name": "weights", "mountPath": "/weights"},
                    {"name": "certificates", "mountPath": "/certificates"},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
            },
        ],
        "volumes": [
            {"name": "code", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "env", "hostPath": {"path": "/env"}},
            {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}},
            {"name": "certificates", "secret": {"secretName": "canary"}},
            {"name": "scratch", "emptyDir": {}},
        ],
    }
    return pod


class Cluster(FakeKubectl):
    """Makes the Job's pod when the Job is created, and remembers both. `refuses` is what `create` ends with instead."""

    made: list[dict[str, Any]]
    deleted: list[str]
    refuses = ""
    pod_status: dict[str, Any]

    def __call__(self, command: Sequence[str]) -> Finished:
        words = [word for word in command[1:] if not word.startswith("--request-timeout")]
        if words[0] == "create":
            if self.refuses:
                return Finished(status=1, out="", err=self.refuses)
            made = json.loads(Path(words[words.index("--filename") + 1]).read_text(encoding="utf-8"))
            self.made.append(made)
            if self.pod_status:
                labels = {bench_pod.LABEL_JOB: made["metadata"]["name"]}
                pod = {"kind": "Pod", "metadata": {"name": "bench-pod", "namespace": "llm", "labels": labels}, "status": self.pod_status}
                self.put(pod)
            return Finished(status=0, out="job.batch/x", err="")
        if words[0] == "delete":
            self.deleted.append(next(word for word in words if word.startswith("job/")).removeprefix("job/"))
            return Finished(status=0, out="", err="")
        return super().__call__(command)
