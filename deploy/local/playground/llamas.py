"""LlamaDeployments for the local cluster: the small trained model on the CPU, and the simulated engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcluster import pod_template
from localcluster.settings import Settings

SERVE_BASE = "localhost/llama-local/serve-base:latest"


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


def simulated(
    settings: Settings,
    name: str,
    *,
    args: Mapping[str, Any] | None = None,
    gpus: int = 0,
    tensor: int = 1,
    pipeline: int = 1,
    **spec: Any,
) -> dict[str, Any]:
    """A LlamaDeployment of the simulated engine. `gpus` per node: 0 asks for none."""
    body: dict[str, Any] = {
        "model": {"source": "file:///simulated", "servedName": name},
        "hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": gpus} if gpus else {"accelerator": "cpu"},
        "parallelism": {"tensor": tensor, "pipeline": pipeline},
        "engine": {"type": "simulated", "args": {"loadSeconds": 3, **(args or {})}},
        "image": SERVE_BASE,
        "podTemplate": pod_template.template(settings),
        **spec,
    }
    return _manifest(name, body)


def small(settings: Settings, name: str, *, model: str = "smollm2-135m", tensor: int = 1, args: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A LlamaDeployment of a model of the cache on vLLM's CPU engine."""
    body: dict[str, Any] = {
        "model": {"source": f"file://{settings.models / model}", "servedName": name},
        "hardware": {"accelerator": "cpu"},
        "parallelism": {"tensor": tensor},
        "context": {"maxTokens": 1024},
        "engine": {"type": "vllm", "args": {"max_num_seqs": 8, **(args or {})}},
        "image": SERVE_BASE,
        "podTemplate": pod_template.template(settings),
        **spec,
    }
    return _manifest(name, body)
