"""A real API server takes the CRD over an earlier one, and what was made under that one stays readable, editable and deletable.

Both CRDs are applied under another group, so that an operator in the same cluster sees none of it and its own CRD stays as it is.
"""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client
from tests.harness import crd_history, samples
from tests.harness.crd_history import Earlier

from llama_operator.api.schema import custom_resource_definition
from llama_operator.api.v1alpha1 import PLURAL, VERSION, LlamaDeploymentSpec
from llama_operator.api.validation import validate

pytestmark = pytest.mark.cluster

GROUP = f"upgrade-{uuid.uuid4().hex[:8]}.llama-operator.dev"
EARLIER = crd_history.earlier()
FINALIZER = f"{GROUP}/test"
SECONDS = 30


@pytest.fixture(scope="module", params=EARLIER, ids=lambda version: version.name)
def upgraded(request: pytest.FixtureRequest, api: client.ApiClient) -> Iterator[tuple[Earlier, str]]:
    """An earlier version whose samples were made for real before the CRD of now took its place, and their namespace."""
    version: Earlier = request.param
    definitions, core, custom = client.ApiextensionsV1Api(api), client.CoreV1Api(api), client.CustomObjectsApi(api)
    crd = f"{PLURAL}.{GROUP}"
    namespace = f"upgrade-{uuid.uuid4().hex[:8]}"
    definitions.create_custom_resource_definition(in_group(version.crd))
    try:
        wait(lambda: established(definitions, crd), "the earlier CRD is established")
        core.create_namespace({"metadata": {"name": namespace}})
        for name, sample in version.samples.items():
            body = {**sample, "apiVersion": f"{GROUP}/{VERSION}", "metadata": {"name": name, "finalizers": [FINALIZER]}}
            custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body, field_validation="Strict")
        found = definitions.read_custom_resource_definition(crd)
        wanted = in_group(custom_resource_definition())
        wanted["metadata"]["resourceVersion"] = found.metadata.resource_version
        definitions.replace_custom_resource_definition(crd, wanted)
        wait(lambda: serves_the_new_schema(custom, namespace), "the new schema is served")
        yield version, namespace
    finally:
        for item in listed(custom, namespace):
            change(custom, namespace, item["metadata"]["name"], {"metadata": {"finalizers": None}})
        definitions.delete_custom_resource_definition(crd)
        core.delete_namespace(namespace)
        wait(lambda: crd not in {item.metadata.name for item in definitions.list_custom_resource_definition().items}, "the CRD is gone")


def in_group(crd: dict[str, Any]) -> dict[str, Any]:
    moved = copy.deepcopy(crd)
    moved["metadata"]["name"] = f"{PLURAL}.{GROUP}"
    moved["spec"]["group"] = GROUP
    return moved


def wait(what: Any, words: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, f"not so after {SECONDS} s: {words}"
        time.sleep(0.2)  # noqa: TID251 -- polls the condition above, with its deadline


def established(definitions: client.ApiextensionsV1Api, crd: str) -> bool:
    status = definitions.read_custom_resource_definition(crd).status
    return any(item.type == "Established" and item.status == "True" for item in (status.conditions or []))


def serves_the_new_schema(custom: client.CustomObjectsApi, namespace: str) -> bool:
    """A field that only the new schema knows is taken."""
    body = {**samples.valid()["rollout-auto"], "apiVersion": f"{GROUP}/{VERSION}", "metadata": {"name": "probe"}}
    try:
        custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body, dry_run="All", field_validation="Strict")
    except client.ApiException as error:
        if error.status not in {400, 404, 422}:
            raise
        return False
    return True


def listed(custom: client.CustomObjectsApi, namespace: str) -> list[dict[str, Any]]:
    try:
        items: list[dict[str, Any]] = custom.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL)["items"]
    except client.ApiException as error:
        if error.status != 404:
            raise
        return []
    return items


def change(custom: client.CustomObjectsApi, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = custom.patch_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name, body)
    return changed


def test_every_object_is_there_as_it_was_and_readable(api: client.ApiClient, upgraded: tuple[Earlier, str]) -> None:
    version, namespace = upgraded
    found = {item["metadata"]["name"]: item["spec"] for item in listed(client.CustomObjectsApi(api), namespace)}
    assert found == {name: {"replicas": 1, **sample["spec"]} for name, sample in version.samples.items()}
    for spec in found.values():
        LlamaDeploymentSpec.model_validate(spec, by_alias=True, by_name=False)


def test_metadata_and_status_can_be_written_even_where_the_spec_would_be_refused_now(
    api: client.ApiClient, upgraded: tuple[Earlier, str]
) -> None:
    version, namespace = upgraded
    custom = client.CustomObjectsApi(api)
    for name in version.samples:
        changed = change(custom, namespace, name, {"metadata": {"labels": {"edited": "true"}}})
        assert changed["metadata"]["labels"]["edited"] == "true"
        body = {"status": {"phase": "Ready", "plan": {"gpus": 8, "later": True}}}
        written = custom.patch_namespaced_custom_object_status(GROUP, VERSION, namespace, PLURAL, name, body)
        assert written["status"] == body["status"]


def test_another_field_can_be_edited_and_what_is_refused_is_mended(api: client.ApiClient, upgraded: tuple[Earlier, str]) -> None:
    version, namespace = upgraded
    custom = client.CustomObjectsApi(api)
    for name, sample in version.samples.items():
        change(custom, namespace, name, {"spec": {"context": {"maxTokens": 4096}}})
        if validate(sample):
            with pytest.raises(client.ApiException) as error:
                change(custom, namespace, name, {"spec": {"model": {"licenseNotes": "seen"}}})
            assert "spec.model.licenseAccepted" in json.loads(error.value.body)["message"]
            change(custom, namespace, name, {"spec": {"model": {"licenseAccepted": True}}})


def test_every_object_can_be_deleted(api: client.ApiClient, upgraded: tuple[Earlier, str]) -> None:
    version, namespace = upgraded
    custom = client.CustomObjectsApi(api)
    for name in version.samples:
        custom.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        change(custom, namespace, name, {"metadata": {"finalizers": None}})
    wait(lambda: listed(custom, namespace) == [], "every object is gone")
