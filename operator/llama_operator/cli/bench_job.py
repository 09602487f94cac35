"""The Job in which the load tool runs: the serving pod's image where the serving pods run, and nothing else of theirs that is secret. Pure.

taken over     image, pull secrets, node selector, affinity, tolerations, host aliases, DNS, the user it runs as, plain environment
               variables, and mounts of host folders, ConfigMaps and images, which are how an image may be completed; all of them read-only
left out       GPUs, the runtime class, the service account, Secrets, claims (a volume that one node holds would keep the pod from
               starting), and whatever is the operator's own

A pod that asks for no GPU still sees all of a node's where NVIDIA's runtime is the default one and the image says
NVIDIA_VISIBLE_DEVICES=all; `void` shuts them
(https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_operator.cli.bench_question import Question
from llama_operator.cli.redaction import SECRET_NAME
from llama_operator.rendering import names
from llama_serving import config as serving

CONTAINER = "bench"
SERVING_CONTAINER = "llama"
TTL_SECONDS = 300
"""For which the cluster keeps a Job that ended and that nobody deleted
(https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/)."""
USER_ID = 1000
RESOURCES = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "4", "memory": "4Gi"}}
"""The tool is one process on one core; its imports take 1 GB, the largest load that is accepted another one."""
TAKEN = ("imagePullSecrets", "nodeSelector", "affinity", "tolerations", "hostAliases", "dnsPolicy", "dnsConfig")
KINDS_OF_VOLUMES = ("hostPath", "configMap", "image", "emptyDir")
OWN_VOLUMES = frozenset({"code", "tmp", "shm", "run", "model", "gcs"})
OWN_VARIABLE = re.compile(r"LLAMA_|RAY_|PYTHONPATH$|HF_|OPENAI_|NVIDIA_|CUDA_|HOME$")
TMP = "/tmp"  # noqa: S108 - a path in the pod, an emptyDir of its own


def job(
    deployment: Mapping[str, Any], pod: Mapping[str, Any], question: Question, *, name: str, model: str, driver: str, variable: str
) -> dict[str, Any]:
    """The Job. `pod` is one of the deployment's that serves, `driver` the text of the program that runs in it and finds its plan in the
    environment variable `variable`.
    """
    metadata = deployment["metadata"]
    spec = pod["spec"]
    served = next((item for item in spec["containers"] if item["name"] == SERVING_CONTAINER), spec["containers"][0])
    volumes = [volume for volume in spec.get("volumes") or [] if _is_taken(volume)]
    labels = {names.LABEL_BENCH: metadata["name"], "app.kubernetes.io/name": "llama-bench"}
    plan = {
        "url": f"http://{names.service(metadata['name'])}.{metadata['namespace']}.svc",
        "model": model,
        "seed": question.seed,
        "inputTokens": question.input_tokens,
        "outputTokens": question.output_tokens,
        "runs": [{"requests": load.requests, "rate": load.rate, "concurrency": load.concurrency} for load in question.loads],
    }
    container = {
        "name": CONTAINER,
        "image": served["image"],
        **({"imagePullPolicy": served["imagePullPolicy"]} if "imagePullPolicy" in served else {}),
        "command": ["python3", "-c", driver],
        "env": [
            *_variables(served.get("env") or []),
            {"name": "HOME", "value": TMP},
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
            {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"},
            # What looks like a variable is none: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
            {"name": variable, "value": json.dumps(plan).replace("$(", "$$(")},
        ],
        "resources": RESOURCES,
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tmp", "mountPath": TMP}, *_mounts(served.get("volumeMounts") or [], volumes)],
    }
    template = {
        **{key: spec[key] for key in TAKEN if spec.get(key)},
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": _user(spec.get("securityContext") or {}),
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
    }
    owner = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": question.longest_seconds,
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": template},
        },
    }


def _is_taken(volume: Mapping[str, Any]) -> bool:
    return volume["name"] not in OWN_VOLUMES and any(kind in volume for kind in KINDS_OF_VOLUMES)


def _variables(given: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those with a plain value that are neither the operator's own nor named like a secret."""
    for variable in given:
        name = str(variable["name"])
        if "value" in variable and OWN_VARIABLE.match(name) is None and SECRET_NAME.search(name) is None:
            yield {"name": name, "value": variable["value"]}


def _mounts(given: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    kept = {volume["name"]: "emptyDir" not in volume for volume in volumes}
    for mount in given:
        if mount["name"] in kept and mount["mountPath"] not in (TMP, serving.CODE_DIR):
            yield {**mount, "readOnly": True} if kept[mount["name"]] else dict(mount)


def _user(given: Mapping[str, Any]) -> dict[str, Any]:
    """Never root; else whom the serving pod runs as, which the namespace may prescribe."""
    groups = [value for value in given.get("supplementalGroups") or [] if value]
    return {
        "runAsNonRoot": True,
        **{key: given.get(key) or USER_ID for key in ("runAsUser", "runAsGroup", "fsGroup")},
        **({"supplementalGroups": groups} if groups else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
