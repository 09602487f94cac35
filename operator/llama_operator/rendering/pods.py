"""The head pod, and the pods of a gang.

Both run our agent as PID 1 in a stock Ray + vLLM image; an init container from the operator's own image brings the agent's code. They
meet the restricted Pod Security profile: UID 1000, no capability, read-only root, no service-account token. `restartPolicy` is Never,
because a gang is replaced whole by the operator and never piecemeal by the kubelet.
"""

from __future__ import annotations

from typing import Any

from llama_operator.rendering import names
from llama_operator.rendering.context import HEAD_STORE_PVC, RenderContext
from llama_operator.rendering.merge import overlay
from llama_serving import config as serving

GANG_PLACEHOLDER = "__GANG__"
"""Stands for the gang's number in a pinned template; no Kubernetes name can contain it."""

USER_ID = 1000
DRAIN_MARGIN_SECONDS = 30
"""What Ray and the engine get to stop in after the last stream ended."""

SHM_BASE_GIB = 2
SHM_PER_GPU_GIB = 2
"""NCCL and vLLM's message queues use tens to hundreds of MiB a rank, Ray's object store the rest; memory is only charged when touched."""


def head_pod(context: RenderContext) -> dict[str, Any]:
    """The Ray head of one revision: GCS, dashboard, Serve's controller and a proxy. No GPU, no replica."""
    labels = names.head_labels(context.name, context.revision)
    volume: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": names.head_store(context.name, context.revision)}}
        if context.options.head_store == HEAD_STORE_PVC
        else {"emptyDir": {}}
    )
    pod = _pod(
        context,
        name=names.head(context.name, context.revision),
        labels=labels,
        env=[{"name": "LLAMA_ROLE", "value": names.HEAD}],
        ports=[("gcs", serving.GCS_PORT), ("dashboard", serving.DASHBOARD_PORT)],
        resources={"requests": {"cpu": "250m", "memory": "1Gi"}},
        shm_gib=SHM_BASE_GIB,
        grace_seconds=DRAIN_MARGIN_SECONDS,
    )
    spec = pod["spec"]
    spec["volumes"].append({"name": "gcs", **volume})
    spec["containers"][0]["volumeMounts"].append({"name": "gcs", "mountPath": "/data"})
    merged = _with_template(context, pod)
    # The template's resources are meant for an engine: a head that asks for 256 GiB would take a second node.
    main = next(item for item in merged["spec"]["containers"] if item["name"] == "llama")
    main["resources"] = spec["containers"][0]["resources"]
    return merged


def gang_pod(context: RenderContext, rank: int) -> dict[str, Any]:
    """Pod `rank` of a gang, with GANG_PLACEHOLDER where the gang's number goes."""
    config = context.serving
    gpus = config.gpus_per_pod
    requests: dict[str, Any] = {"cpu": "500m", "memory": "1Gi"} if gpus == 0 else {"cpu": str(2 * gpus), "memory": f"{8 * gpus}Gi"}
    resources: dict[str, Any] = {"requests": requests}
    if gpus:
        resources["limits"] = {context.gpu_resource: str(gpus)}
        requests[context.gpu_resource] = str(gpus)
    env: list[dict[str, Any]] = [
        {"name": "LLAMA_ROLE", "value": names.REPLICA},
        {"name": "LLAMA_GANG", "value": GANG_PLACEHOLDER},
        {"name": "LLAMA_RANK", "value": str(rank)},
        {"name": "LLAMA_HEAD", "value": f"{names.head(context.name, context.revision)}.{context.namespace}.svc:{serving.GCS_PORT}"},
    ]
    if context.token_secret:
        secret, key = context.token_secret
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    pod = _pod(
        context,
        name=names.gang_pod(context.name, context.revision, GANG_PLACEHOLDER, rank),
        labels=names.gang_labels(context.name, context.revision, GANG_PLACEHOLDER, rank),
        env=env,
        ports=[],
        resources=resources,
        shm_gib=SHM_BASE_GIB + SHM_PER_GPU_GIB * gpus,
        grace_seconds=config.drain_seconds + DRAIN_MARGIN_SECONDS,
    )
    _mount_model(context, pod["spec"])
    return _with_template(context, pod)


def number_gang(template: Any, gang: int) -> Any:
    """A pinned gang template with the gang's number in it."""
    if isinstance(template, str):
        return template.replace(GANG_PLACEHOLDER, str(gang))
    if isinstance(template, dict):
        return {key: number_gang(value, gang) for key, value in template.items()}
    if isinstance(template, list):
        return [number_gang(item, gang) for item in template]
    return template


def _mount_model(context: RenderContext, spec: dict[str, Any]) -> None:
    mounts = spec["containers"][0]["volumeMounts"]
    source = context.serving.source
    if source.startswith("pvc://"):
        claim = source.removeprefix("pvc://").split("/", 1)[0]
        spec["volumes"].append({"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
        mounts.append({"name": "model", "mountPath": serving.PVC_MOUNT, "readOnly": True})
    elif source.startswith("hf://"):
        spec["volumes"].append({"name": "model", "emptyDir": {}})
        mounts.append({"name": "model", "mountPath": serving.MODELS_DIR})


def _pod(
    context: RenderContext,
    *,
    name: str,
    labels: dict[str, str],
    env: list[dict[str, Any]],
    ports: list[tuple[str, int]],
    resources: dict[str, Any],
    shm_gib: int,
    grace_seconds: int,
) -> dict[str, Any]:
    common_ports = [("openai", serving.HTTP_PORT), ("metrics", serving.METRICS_PORT), ("agent", serving.AGENT_PORT)]
    hardened = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "llama",
        "image": context.image,
        "imagePullPolicy": context.options.image_pull_policy,
        "command": ["python3", "-m", "llama_serving.agent"],
        "env": [*_common_env(context), *env],
        "ports": [{"name": port_name, "containerPort": port} for port_name, port in [*common_ports, *ports]],
        "resources": resources,
        "securityContext": hardened,
        "volumeMounts": [
            {"name": "code", "mountPath": serving.CODE_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the pod, an emptyDir of its own
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - likewise
            {"name": "run", "mountPath": serving.RUN_DIR},
        ],
        # An agent that is up answers in milliseconds whatever its engine does; these bounds only catch a wedged node.
        "startupProbe": _probe("/livez", period=2, timeout=5, failures=90),
        "livenessProbe": _probe("/livez", period=10, timeout=10, failures=12),
        "readinessProbe": _probe("/readyz", period=2, timeout=5, failures=2),
    }
    init = {
        "name": "code",
        "image": context.options.operator_image,
        "imagePullPolicy": context.options.image_pull_policy,
        "command": ["python3", "-m", "llama_serving.install", serving.CODE_DIR],
        "securityContext": hardened,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "code", "mountPath": serving.CODE_DIR}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": context.metadata(
            name,
            labels,
            {"prometheus.io/scrape": "true", "prometheus.io/port": str(serving.METRICS_PORT), "prometheus.io/path": "/metrics"},
        ),
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": grace_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "fsGroup": USER_ID,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [init],
            "containers": [container],
            "volumes": [
                {"name": "code", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shm_gib}Gi"}},
                {"name": "run", "emptyDir": {}},
            ],
        },
    }


def _common_env(context: RenderContext) -> list[dict[str, Any]]:
    return [
        {"name": "LLAMA_CONFIG", "value": context.serving.to_json()},
        {"name": "LLAMA_RUN_DIR", "value": serving.RUN_DIR},
        {"name": "LLAMA_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LLAMA_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "PYTHONPATH", "value": serving.CODE_DIR},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - Ray and the hub's client write below HOME; the root is read-only
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {
            "name": "RAY_AUTH_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": names.token_secret(context.name), "key": "auth_token"}},
        },
    ]


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": serving.AGENT_PORT},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _with_template(context: RenderContext, pod: dict[str, Any]) -> dict[str, Any]:
    """The user's template over the pod; labels that the operator selects by stay its own."""
    template = context.pod_template
    merged: dict[str, Any] = overlay(pod, {"spec": template.get("spec") or {}})
    metadata = template.get("metadata") or {}
    own = pod["metadata"]
    merged["metadata"] = {
        **own,
        "labels": {**(metadata.get("labels") or {}), **own["labels"]},
        "annotations": {**own.get("annotations", {}), **(metadata.get("annotations") or {})},
    }
    return merged
