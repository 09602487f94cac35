"""A real API server takes the generated CRD, and accepts and refuses the samples as the operator's own validator does.

The CRD is applied under another group, so that an operator in the same cluster sees none of it and its own CRD stays as it is.
"""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes import client
from tests.harness import samples

from llama_operator.api.schema import custom_resource_definition
from llama_operator.api.status import (
    AutoscalingStatus,
    Condition,
    DownWindowStatus,
    FailureStatus,
    LlamaDeploymentStatus,
    PlanObserved,
    PlanStatus,
    ReplicaStatus,
    SignalStatus,
)
from llama_operator.api.v1alpha1 import PLURAL, VERSION
from llama_operator.api.validation import validate
from llama_operator.lifecycle.ownership import foreign_writer

pytestmark = pytest.mark.cluster

GROUP = f"samples-{uuid.uuid4().hex[:8]}.llama-operator.dev"
VALID, INVALID = samples.valid(), samples.invalid()


@pytest.fixture(scope="module")
def crd(api: client.ApiClient) -> Iterator[dict[str, Any]]:
    """The generated CRD under GROUP; taken away at the end."""
    definitions, wanted = client.ApiextensionsV1Api(api), custom_resource_definition()
    name = wanted["metadata"]["name"] = f"{PLURAL}.{GROUP}"
    wanted["spec"]["group"] = GROUP
    definitions.create_custom_resource_definition(wanted)
    try:
        deadline = time.monotonic() + 30
        while conditions(api, name).get("Established") != "True":
            assert time.monotonic() < deadline, "the CRD is not established after 30 s"
            time.sleep(0.2)  # noqa: TID251 -- polls the condition above, with its deadline
        yield wanted
    finally:
        definitions.delete_custom_resource_definition(name)


def conditions(api: client.ApiClient, name: str) -> dict[str, str]:
    status = client.ApiextensionsV1Api(api).read_custom_resource_definition(name).status
    return {item.type: item.status for item in status.conditions or []}


@pytest.fixture(scope="module")
def namespace(api: client.ApiClient, crd: dict[str, Any]) -> Iterator[str]:
    core, name = client.CoreV1Api(api), f"samples-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


def create(api: client.ApiClient, namespace: str, obj: dict[str, Any]) -> Any:
    """As `kubectl create --dry-run=server --validate=strict`."""
    plain = {key: value for key, value in obj["metadata"].items() if key != "namespace"}
    body = obj | {"apiVersion": f"{GROUP}/{VERSION}", "metadata": plain}
    custom = client.CustomObjectsApi(api)
    return custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body, dry_run="All", field_validation="Strict")


def test_the_api_server_finds_the_schema_structural_and_its_rules_affordable(api: client.ApiClient, crd: dict[str, Any]) -> None:
    assert conditions(api, crd["metadata"]["name"]) == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("name", VALID)
def test_a_valid_sample_is_accepted_as_it_is(api: client.ApiClient, namespace: str, name: str) -> None:
    made = create(api, namespace, VALID[name])
    assert made["spec"] == VALID[name]["spec"] | {"replicas": VALID[name]["spec"].get("replicas", 1)}


@pytest.mark.parametrize("sample", INVALID, ids=lambda sample: sample.name)
def test_an_invalid_sample_is_refused_by_the_api_server_where_it_can_see_the_field(
    api: client.ApiClient, namespace: str, sample: samples.Invalid
) -> None:
    if samples.API_SERVER not in sample.refused_by:
        create(api, namespace, sample.obj)  # the operator's to refuse: the API server cannot look into free-form objects
        return
    with pytest.raises(client.ApiException) as error:
        create(api, namespace, sample.obj)
    assert error.value.status in {400, 422}
    message = json.loads(error.value.body)["message"]
    assert sample.field in message
    assert sample.server_says in message


@pytest.fixture
def made(api: client.ApiClient, namespace: str) -> Iterator[str]:
    """A resource that really exists."""
    name = f"status-{uuid.uuid4().hex[:6]}"
    body = VALID["scaled-to-zero"] | {"apiVersion": f"{GROUP}/{VERSION}", "metadata": {"name": name}}
    custom = client.CustomObjectsApi(api)
    custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body)
    yield name
    custom.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)


WHEN = "2026-11-21T04:00:00Z"
STATUS = LlamaDeploymentStatus(
    observed_generation=1,
    phase="Loading",
    endpoint="http://x.y.svc",
    revision="0123456789",
    ready="1/2",
    reason="Loading",
    replica_count=2,
    ready_replicas=1,
    selector="llama-operator.dev/deployment=x",
    replicas=[ReplicaStatus(gang=0, phase="LoadingWeights", percent=42.5, message="42 %", pods=["p"], nodes=["n"], attempts=1, since=WHEN)],
    autoscaling=AutoscalingStatus(
        desired_replicas=2,
        current_replicas=1,
        scale_down_window=DownWindowStatus(seconds=160, message="for loads of 20 s"),
        reason="ScaledUp",
        message="9 in flight",
        signals=[SignalStatus(name="inFlight", value=9.0, age_seconds=1.5), SignalStatus(name="queued")],
        memory={"peaks": [[1.0, 2]]},
        last_scale_time=WHEN,
    ),
    plan=PlanStatus(
        tensor_parallel=8,
        pipeline_parallel=1,
        gpus=8,
        weight_bytes_per_gpu=60_000_000_000,
        kv_cache_tokens=460_000,
        max_concurrency_at_context=3.5,
        decode_floor_seconds=0.0182,
        predicted_load_seconds=420.0,
        observed=PlanObserved(kv_cache_tokens=470_000, ratio=1.02),
    ),
    failures=FailureStatus(attempts=1, last_reason="ModelNotFound", last_message="not there", next_retry_time=WHEN),
    conditions=[
        Condition(type="Accepted", status="True", observed_generation=1, last_transition_time=WHEN, reason="Valid", message="fits")
    ],
)


def write_status(api: client.ApiClient, namespace: str, name: str) -> dict[str, Any]:
    body = {"status": STATUS.model_dump(by_alias=True, exclude_none=True, mode="json")}
    patched: dict[str, Any] = client.CustomObjectsApi(api).patch_namespaced_custom_object_status(
        GROUP, VERSION, namespace, PLURAL, name, body
    )
    return patched


def test_a_status_with_every_field_is_kept_whole(api: client.ApiClient, namespace: str, made: str) -> None:
    kept = write_status(api, namespace, made)["status"]
    assert LlamaDeploymentStatus.model_validate(kept) == STATUS


def test_kubectl_get_shows_ready_phase_reason_endpoint_and_age(api: client.ApiClient, namespace: str, made: str) -> None:
    write_status(api, namespace, made)
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{made}"
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    answer = api.call_api(*api.param_serialize("GET", path, header_params=accept, auth_settings=["BearerToken"]))
    table = json.loads(answer.read())
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Ready", "Phase", "Reason", "Endpoint", "Age"]
    assert table["rows"][0]["cells"][:5] == [made, "1/2", "Loading", "Loading", "http://x.y.svc"]


def test_kubectl_scale_writes_replicas_and_reads_what_runs(api: client.ApiClient, namespace: str, made: str) -> None:
    write_status(api, namespace, made)
    custom = client.CustomObjectsApi(api)
    custom.patch_namespaced_custom_object_scale(GROUP, VERSION, namespace, PLURAL, made, {"spec": {"replicas": 3}})
    scale = custom.get_namespaced_custom_object_scale(GROUP, VERSION, namespace, PLURAL, made)
    assert scale["spec"]["replicas"] == 3
    assert scale["status"] == {"replicas": 2, "selector": "llama-operator.dev/deployment=x"}


def test_a_number_set_beside_an_autoscaler_is_taken_so_that_whoever_sets_it_can_be_named(
    api: client.ApiClient, namespace: str, made: str
) -> None:
    custom = client.CustomObjectsApi(api)
    autoscaling = {"spec": {"replicas": None, "autoscaling": {"maxReplicas": 4, "objective": {"inFlightPerReplica": 8}}}}
    custom.patch_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, made, autoscaling)
    custom.patch_namespaced_custom_object_scale(GROUP, VERSION, namespace, PLURAL, made, {"spec": {"replicas": 3}})
    found = custom.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, made)
    assert "set spec.replicas to 3 through the scale subresource" in str(foreign_writer(found))


CHANGES = st.one_of(
    st.tuples(st.just("spec.replicas"), st.integers(-2, 1002)),
    st.tuples(st.just("spec.hardware.gpusPerNode"), st.integers(-1, 66) | st.just("8")),
    st.tuples(st.just("spec.hardware.accelerator"), st.sampled_from(["cpu", "nvidia-h100", "H100", "-a", ""]) | st.text(max_size=8)),
    st.tuples(st.just("spec.parallelism.tensor"), st.integers(-1, 66)),
    st.tuples(st.just("spec.parallelism.pipeline"), st.integers(0, 65)),
    st.tuples(st.just("spec.autoscaling.minReplicas"), st.integers(0, 6)),
    st.tuples(st.just("spec.autoscaling.maxReplicas"), st.integers(0, 6)),
    st.tuples(st.just("spec.autoscaling"), st.just({"maxReplicas": 3, "objective": {"inFlightPerReplica": 4}})),
    st.tuples(st.just("spec.context.maxTokens"), st.integers(-1, 10**9) | st.booleans()),
    st.tuples(st.just("spec.model.revision"), st.sampled_from(["main", "refs/pr/1", "a..b", "-x", "a b", "v1\n"]) | st.text(max_size=8)),
    st.tuples(
        st.just("spec.model.source"),
        st.sampled_from(
            [
                "hf://a/b",
                "hf://meta-llama/Llama-3.1-8B",
                "s3://b/k",
                "s3://",
                "hf://a/b/c",
                "pvc://c",
                "pvc://c/p",
                "pvc://C/p",
                "file:///",
                "file:///m",
                "file:///a b",
                "hf://a/b\n",
            ]
        )
        | st.text(max_size=10).map(lambda text: f"hf://org/{text}")
        | st.text(max_size=10).map(lambda text: f"file:///{text}"),
    ),
    st.tuples(st.just("spec.model.servedName"), st.text(max_size=8)),
    st.tuples(st.just("spec.model.licenseAccepted"), st.booleans() | st.just("yes")),
    st.tuples(st.just("spec.model.licenseNotes"), st.text(max_size=8)),
    st.tuples(
        st.just("spec.hardware.custom"),
        st.sampled_from(
            [{}, {"memoryGiB": 80}, {"memoryGiB": 80, "memoryBandwidthGBps": 3350}, {"memoryGiB": 0.5, "memoryBandwidthGBps": 1}]
        ),
    ),
    st.tuples(
        st.just("spec.autoscaling.objective"),
        st.dictionaries(st.sampled_from(["inFlightPerReplica", "timeToFirstTokenSeconds", "percentile"]), st.integers(0, 100)),
    ),
    st.tuples(st.just("spec.autoscaling.scaleToZeroAfter"), st.just("30m")),
    st.tuples(st.just("spec.rollout.strategy"), st.sampled_from(["Auto", "Surge", "Replace", "Recreate"])),
    st.tuples(st.just("spec.access"), st.sampled_from([{}, {"apiKeysSecretRef": {"name": "keys"}}, {"apiKeysSecretRef": {}}])),
    st.tuples(st.just("spec.image"), st.text(max_size=8)),
    st.tuples(st.just("spec.podTemplate.metadata.labels"), st.dictionaries(st.sampled_from(["a", "llama-operator.dev/x"]), st.just("v"))),
    st.tuples(st.just("metadata.name"), st.text("ab1-.A", max_size=44)),
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(sorted(VALID)), st.lists(CHANGES, min_size=1, max_size=3))
def test_the_api_server_and_the_operator_agree_on_any_change_of_a_sample(
    api: client.ApiClient, namespace: str, base: str, changes: list[tuple[str, Any]]
) -> None:
    obj = copy.deepcopy(VALID[base])
    for path, value in changes:
        *parents, last = path.split(".")
        node = obj
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = copy.deepcopy(value)
    problems = [problem.message for problem in validate(obj)]
    refusal = refusal_of(api, namespace, obj)
    assert bool(problems) == bool(refusal), f"the operator says {problems}, the API server {refusal!r}"


def refusal_of(api: client.ApiClient, namespace: str, obj: dict[str, Any]) -> str:
    """Why the API server refuses; empty where it does not."""
    try:
        create(api, namespace, obj)
    except client.ApiException as error:
        if error.status not in {400, 422}:
            raise
        return str(json.loads(error.body)["message"])
    return ""
