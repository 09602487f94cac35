"""What bad specs get: a refusal that names the field, and no child."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.api import ApiError
from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster


def strict_create(namespace: Namespace, manifest: dict[str, Any]) -> None:
    """Create as kubectl does: with strict field validation."""
    path = f"/apis/llama-operator.dev/v1alpha1/namespaces/{namespace.name}/llamadeployments?fieldValidation=Strict"
    namespace.api.request("POST", path, {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace.name}})


REFUSED = {
    "an unknown field": ({"modle": {}}, "modle"),
    "a wrong type": ({"replicas": "three"}, "spec.replicas"),
    "a negative number": ({"replicas": -1}, "spec.replicas"),
    "min over max": ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2, "objective": {"inFlightPerReplica": 4}}}, "maxReplicas"),
}


@pytest.mark.parametrize(("change", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_the_api_server_refuses_and_names_the_field(stage: Stage, namespace: Namespace, change: dict[str, Any], named: str) -> None:
    manifest = stage.simulated("refused", **change)
    with pytest.raises(ApiError) as refusal:
        strict_create(namespace, manifest)
    assert named in str(refusal.value)
    assert not namespace.llama("refused")


def test_a_name_of_63_characters_is_refused_with_the_longest_that_is_allowed(stage: Stage, namespace: Namespace) -> None:
    with pytest.raises(ApiError) as refusal:
        strict_create(namespace, stage.simulated("a" * 63))
    assert "40" in str(refusal.value)


def test_an_unknown_engine_argument_is_refused_with_the_nearest_valid_one_and_no_child_is_made(stage: Stage, namespace: Namespace) -> None:
    namespace.apply(stage.small("typo", args={"max_num_seq": 4}))
    said = namespace.wait_reason("typo", "Accepted", "Invalid", 30)
    assert "max_num_seq" in said["message"]
    assert "max_num_seqs" in said["message"]
    assert not namespace.children("typo")


def test_tensor_parallelism_that_does_not_divide_the_heads_is_refused_before_any_pod(stage: Stage, namespace: Namespace) -> None:
    spec = {
        "model": {"source": "hf://meta-llama/Llama-3.1-8B-Instruct", "licenseAccepted": True},
        "hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 8},
        "parallelism": {"tensor": 6},
    }
    namespace.apply(stage.simulated("six", **spec, engine={"type": "vllm"}))
    said = namespace.wait_reason("six", "Accepted", "Invalid", 30)
    assert "spec.parallelism.tensor" in said["message"]
    assert "6" in said["message"]
    assert not namespace.children("six")


def test_a_model_that_cannot_fit_is_refused_before_any_pod_with_what_would(stage: Stage, namespace: Namespace) -> None:
    """405B in BF16 is 94.5 GiB on each of eight GPUs of 80 GB: found out here, and not after twenty minutes of loading."""
    spec = {
        "model": {"source": "hf://meta-llama/Llama-3.1-405B-Instruct", "licenseAccepted": True},
        "hardware": {"accelerator": "nvidia-h100-80gb", "gpusPerNode": 8},
        "parallelism": {"tensor": 8, "pipeline": 1},
    }
    namespace.apply(stage.simulated("large", **spec, engine={"type": "vllm"}))
    said = namespace.wait_reason("large", "Accepted", "Invalid", 30)
    assert "weights of 94.50 GiB" in said["message"]
    assert "Nearest: quantise the weights to FP8; then tensor 8 x pipeline 1, 8 GPUs" in said["message"]
    assert not namespace.children("large")


def test_a_refused_edit_leaves_what_runs_alone_and_can_be_taken_back(stage: Stage, namespace: Namespace) -> None:
    namespace.apply(stage.simulated("edited"))
    namespace.wait_ready("edited", 1, 180)
    before = {pod["metadata"]["uid"] for pod in namespace.pods("edited")}
    namespace.patch_llama("edited", {"spec": {"engine": {"args": {"tokensPerSecnd": 5}}}})
    said = namespace.wait_reason("edited", "Accepted", "Invalid", 30)
    assert "tokensPerSecond" in said["message"]
    assert namespace.condition("edited", "Available")["status"] == "True"
    namespace.patch_llama("edited", {"spec": {"engine": {"args": {"tokensPerSecnd": None}}}})
    namespace.wait_reason("edited", "Accepted", "Valid", 30)
    assert {pod["metadata"]["uid"] for pod in namespace.pods("edited")} == before
