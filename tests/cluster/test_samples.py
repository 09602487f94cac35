"""A real API server takes the generated CRD, and accepts and refuses the samples as the operator's own validator does."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from tests.harness import samples

from llama_operator.api.schema import custom_resource_definition
from llama_operator.api.v1alpha1 import GROUP, PLURAL, VERSION

pytestmark = pytest.mark.cluster

VALID, INVALID = samples.valid(), samples.invalid()


@pytest.fixture(scope="module")
def api() -> Iterator[client.ApiClient]:
    path = os.environ.get("LLAMA_KUBECONFIG")
    if not path:
        pytest.skip("LLAMA_KUBECONFIG names no cluster")
    with config.new_client_from_config(config_file=path, context=os.environ.get("LLAMA_CONTEXT")) as made:
        yield made


@pytest.fixture(scope="module")
def crd(api: client.ApiClient) -> Iterator[dict[str, Any]]:
    """The generated CRD in the cluster; taken away again where it was not there before."""
    definitions, wanted = client.ApiextensionsV1Api(api), custom_resource_definition()
    name = wanted["metadata"]["name"]
    there = any(item.metadata.name == name for item in definitions.list_custom_resource_definition().items)
    if there:
        definitions.patch_custom_resource_definition(name, wanted)
    else:
        definitions.create_custom_resource_definition(wanted)

    def conditions() -> dict[str, str]:
        status = definitions.read_custom_resource_definition(name).status
        return {item.type: item.status for item in status.conditions or []}

    deadline = time.monotonic() + 30
    while conditions().get("Established") != "True":
        assert time.monotonic() < deadline, "the CRD is not established after 30 s"
        time.sleep(0.2)  # noqa: TID251 -- polls the condition above, with its deadline
    yield wanted
    if not there:
        definitions.delete_custom_resource_definition(name)


@pytest.fixture(scope="module")
def namespace(api: client.ApiClient, crd: dict[str, Any]) -> Iterator[str]:
    core, name = client.CoreV1Api(api), f"samples-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


def create(api: client.ApiClient, namespace: str, obj: dict[str, Any]) -> Any:
    """As `kubectl create --dry-run=server --validate=strict`."""
    body = obj | {"metadata": {key: value for key, value in obj["metadata"].items() if key != "namespace"}}
    custom = client.CustomObjectsApi(api)
    return custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body, dry_run="All", field_validation="Strict")


def test_the_committed_crd_is_what_was_applied(crd: dict[str, Any]) -> None:
    committed = Path(__file__).parents[2] / "crds" / "llamadeployments.yaml"
    assert yaml.safe_load(committed.read_text()) == crd


def test_the_api_server_finds_the_schema_structural_and_its_rules_affordable(api: client.ApiClient, crd: dict[str, Any]) -> None:
    status = client.ApiextensionsV1Api(api).read_custom_resource_definition(crd["metadata"]["name"]).status
    assert {item.type: item.status for item in status.conditions} == {"NamesAccepted": "True", "Established": "True"}


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
