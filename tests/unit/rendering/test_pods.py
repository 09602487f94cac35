"""The rendered pods: as in the golden files, restricted, and the user's template in them but never over our labels."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.harness.builders import KEY, OPTIONS, UID, raw_deployment, raw_spec

from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.api.validation import validate
from llama_operator.lifecycle.revision import render_context, shared_objects
from llama_operator.planning.admission import admit, known_model
from llama_operator.rendering import names
from llama_operator.rendering.context import RenderOptions
from llama_operator.rendering.guards import token_secret
from llama_operator.rendering.pods import GANG_PLACEHOLDER
from llama_operator.rendering.revision import Pinned, render
from llama_serving.config import ServingConfig

GOLDEN = Path(__file__).parents[2] / "golden" / "pods"
H100 = {"accelerator": "nvidia-h100-80gb"}
HUB = "hf://meta-llama/Llama-3.1"
ACCEPTED = {"licenseAccepted": True}
TEMPLATE = {
    "metadata": {"labels": {"team": "search"}, "annotations": {"note": "x"}},
    "spec": {
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "containers": [
            {"name": "llama", "env": [{"name": "NCCL_DEBUG", "value": "INFO"}], "resources": {"limits": {"rdma/hca": "8"}}},
            {"name": "exporter", "image": "exporter:1"},
        ],
        "volumes": [{"name": "model", "hostPath": {"path": "/srv/models"}}],
    },
}
SPECS: dict[str, dict[str, Any]] = {
    "tiny-cpu": raw_spec(engine={"type": "vllm"}, parallelism={"tensor": 2}),
    "8b": {"model": {"source": f"{HUB}-8B-Instruct", "tokenSecretRef": {"name": "hf"}, **ACCEPTED}, "hardware": H100},
    "70b-tp4": {
        "model": {"source": f"{HUB}-70B-Instruct", **ACCEPTED},
        "hardware": H100,
        "parallelism": {"tensor": 4},
        "podTemplate": TEMPLATE,
    },
    "405b-fp8-tp8": {
        "model": {"source": f"{HUB}-405B-Instruct-FP8", "servedName": "llama-405b", **ACCEPTED},
        "hardware": H100,
        "parallelism": {"tensor": 8},
        "context": {"maxTokens": 131072},
    },
    "405b-bf16-tp8-pp2": {
        "model": {"source": "pvc://models/Llama-3.1-405B-Instruct"},
        "hardware": H100,
        "parallelism": {"tensor": 8, "pipeline": 2},
    },
}


def rendered(name: str, options: RenderOptions = OPTIONS) -> Pinned:
    raw = SPECS[name]
    assert validate(raw_deployment(raw)) == []
    spec = LlamaDeploymentSpec.model_validate(raw)
    assert admit(spec, known_model(spec.model.source)).accepted
    return render(render_context(KEY, UID, spec, options))


def everything(name: str) -> list[dict[str, Any]]:
    pinned = rendered(name)
    return [pinned.head, pinned.head_service, *([pinned.head_store] if pinned.head_store else []), *pinned.gang_pods(0), pinned.application]


@pytest.mark.parametrize("name", SPECS)
def test_the_manifests_are_those_of_the_golden_file(name: str) -> None:
    """`UPDATE_GOLDEN=1` rewrites the files; look at the difference before committing it."""
    text = yaml.safe_dump_all(everything(name), sort_keys=True, width=140)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_without_a_spec() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(SPECS)


SHAPES = [("tiny-cpu", 1, 0), ("8b", 1, 1), ("70b-tp4", 1, 4), ("405b-fp8-tp8", 1, 8), ("405b-bf16-tp8-pp2", 2, 8)]


@pytest.mark.parametrize(("name", "pods", "gpus"), SHAPES)
def test_a_gang_has_so_many_pods_with_so_many_gpus(name: str, pods: int, gpus: int) -> None:
    pinned = rendered(name)
    gang = pinned.gang_pods(3)
    assert (len(gang), pinned.gpus_per_pod) == (pods, gpus)
    for rank, pod in enumerate(gang):
        resources = pod["spec"]["containers"][0]["resources"]
        assert resources["requests"].get("nvidia.com/gpu") == (str(gpus) if gpus else None)
        assert resources.get("limits", {}).get("nvidia.com/gpu") == (str(gpus) if gpus else None)
        assert pod["metadata"]["name"] == f"demo-{pinned.revision}-g3-{rank}"
        shm = next(item for item in pod["spec"]["volumes"] if item["name"] == "shm")
        assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{2 + 2 * gpus}Gi"}
        assert GANG_PLACEHOLDER not in json.dumps(pod)


@pytest.mark.parametrize("name", SPECS)
def test_every_pod_meets_the_restricted_pod_security_standard(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/ - the template's own volumes and side cars are the user's."""
    pinned = rendered(name)
    for pod in (pinned.head, *pinned.gang_pods(0)):
        spec = pod["spec"]
        security = spec["securityContext"]
        assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        assert security["runAsUser"] > 0
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["initContainers"], spec["containers"][0]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert all("hostPort" not in port for port in container.get("ports", []))
        ours = [volume for volume in spec["volumes"] if "hostPath" not in volume]
        assert all({"emptyDir", "persistentVolumeClaim"} & set(volume) for volume in ours)


@pytest.mark.parametrize("name", SPECS)
def test_no_secret_is_in_a_manifest_in_plain(name: str) -> None:
    for pod in rendered(name).gang_pods(0):
        env = {item["name"]: item for item in pod["spec"]["containers"][0]["env"]}
        assert set(env["RAY_AUTH_TOKEN"]) == {"name", "valueFrom"}
        assert env["RAY_AUTH_MODE"]["value"] == "token"
        assert "HF_TOKEN" not in env or "value" not in env["HF_TOKEN"]


@pytest.mark.parametrize("name", SPECS)
def test_the_pods_can_read_what_they_are_told(name: str) -> None:
    pinned = rendered(name)
    for pod in (pinned.head, *pinned.gang_pods(0)):
        env = {item["name"]: item.get("value") for item in pod["spec"]["containers"][0]["env"]}
        assert ServingConfig.from_json(env["LLAMA_CONFIG"] or "") == pinned.config


def test_the_template_merges_into_the_pods_and_cannot_take_our_labels() -> None:
    stolen = {"metadata": {"labels": {names.LABEL_GANG: "9", names.LABEL_TRAFFIC: "true", "team": "x"}}}
    spec = LlamaDeploymentSpec.model_validate({**SPECS["70b-tp4"], "podTemplate": {**TEMPLATE, **stolen}})
    (pod,) = render(render_context(KEY, UID, spec, OPTIONS)).gang_pods(0)
    assert pod["metadata"]["labels"][names.LABEL_GANG] == "0"
    assert pod["metadata"]["labels"]["team"] == "x"
    llama, exporter = pod["spec"]["containers"]
    assert exporter == {"name": "exporter", "image": "exporter:1"}
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in llama["env"]
    assert llama["resources"]["limits"] == {"nvidia.com/gpu": "4", "rdma/hca": "8"}
    assert pod["spec"]["nodeSelector"] == {"gpu": "h100"}
    assert next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "model")["hostPath"] == {"path": "/srv/models"}


def test_pods_end_only_after_their_longest_stream() -> None:
    pinned = rendered("8b")
    assert pinned.gang_pods(0)[0]["spec"]["terminationGracePeriodSeconds"] > pinned.config.drain_seconds
    assert pinned.gang_pods(0)[0]["spec"]["restartPolicy"] == "Never"


def test_the_heads_memory_is_on_a_claim_or_on_none_as_the_installation_says() -> None:
    claim = rendered("8b").head_store
    assert claim is not None
    assert "storageClassName" not in claim["spec"]
    chosen = rendered("8b", RenderOptions(operator_image="o", serving_image="s", head_store_class="fast", head_store_size="5Gi")).head_store
    assert chosen is not None
    assert (chosen["spec"]["storageClassName"], chosen["spec"]["resources"]) == ("fast", {"requests": {"storage": "5Gi"}})
    without = rendered("8b", RenderOptions(operator_image="o", serving_image="s", head_store="emptyDir"))
    assert without.head_store is None
    assert {"name": "gcs", "emptyDir": {}} in without.head["spec"]["volumes"]


@pytest.mark.parametrize(
    ("source", "volume", "mount"),
    [
        ("pvc://models/a/b", {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}, "/models/pvc"),
        ("hf://a/b", {"emptyDir": {}}, "/models"),
        ("file:///srv/x", None, None),
    ],
)
def test_the_model_is_mounted_where_its_source_says(source: str, volume: dict[str, Any] | None, mount: str | None) -> None:
    spec = LlamaDeploymentSpec.model_validate(raw_spec(model={"source": source}))
    (pod,) = render(render_context(KEY, UID, spec, OPTIONS)).gang_pods(0)
    models = [item for item in pod["spec"]["volumes"] if item["name"] == "model"]
    mounts = [item["mountPath"] for item in pod["spec"]["containers"][0]["volumeMounts"] if item["name"] == "model"]
    assert (models, mounts) == ([{"name": "model", **volume}] if volume else [], [mount] if mount else [])


def test_every_child_is_owned_and_labelled() -> None:
    spec = LlamaDeploymentSpec.model_validate(SPECS["405b-bf16-tp8-pp2"])
    made = render_context(KEY, UID, spec, OPTIONS)
    pinned = render(made)
    children = [
        *shared_objects(made, 1, 2),
        pinned.head,
        pinned.head_service,
        pinned.head_store,
        *pinned.gang_pods(0),
        token_secret(made, "t"),
    ]
    for child in children:
        assert child is not None
        metadata = child["metadata"]
        assert [owner["uid"] for owner in metadata["ownerReferences"]] == [UID]
        assert metadata["labels"][names.LABEL_MANAGED_BY] == names.FIELD_MANAGER
        assert names.key_of(metadata["labels"], metadata["namespace"]) == KEY


def test_users_come_in_at_the_port_of_the_proxy_and_others_do_not_come_in() -> None:
    service, _, policy = shared_objects(render_context(KEY, UID, LlamaDeploymentSpec.model_validate(SPECS["8b"]), OPTIONS), 1, 1)
    assert service["spec"]["ports"] == [{"name": "openai", "port": 80, "targetPort": 8000, "protocol": "TCP"}]
    open_to_all = [rule for rule in policy["spec"]["ingress"] if "from" not in rule]
    assert [[port["port"] for port in rule["ports"]] for rule in open_to_all] == [[8000, 8080]]
