"""What one tenant writes must cost the others nothing."""

from __future__ import annotations

import json
import subprocess

import pytest

from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster
DEEP = "deep"
LEVELS = 9_900
"""The API server takes 10,000."""


def kubectl(stage: Stage, *words: str, given: str | None = None) -> str:
    """For objects that are nested more deeply than Python's own JSON reads."""
    done = subprocess.run([*stage.tools.kubectl(), *words], env=stage.tools.env(), input=given, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_spec_that_is_nested_as_deeply_as_the_api_server_takes_is_refused_and_costs_nobody_else_anything(
    local: Stage, namespace: Namespace
) -> None:
    """Before it was there, while it is there, and for an operator that starts beside it."""
    manifest = local.small(DEEP, podTemplate={"spec": {"deep": "HERE"}})
    manifest["metadata"]["namespace"] = namespace.name
    nested = json.dumps(manifest).replace('"HERE"', '{"a":' * LEVELS + "1" + "}" * LEVELS)
    where = ("-n", namespace.name, "lld", DEEP)
    kubectl(local, "create", "--raw", namespace.llama_path("").rstrip("/"), "-f", "-", given=nested)
    try:
        namespace.wait("it is refused", lambda: kubectl(local, "get", *where, "-o", "jsonpath={.status.phase}") == "Invalid", 60)
        said = kubectl(local, "get", *where, "-o", 'jsonpath={.status.conditions[?(@.type=="Accepted")].message}')
        assert "nested" in said
        namespace.apply(local.small("beside", args={"max_num_seq": 4}))
        namespace.wait_reason("beside", "Accepted", "Invalid", 30)

        killed = local.operator.identity()
        local.kill_operator()
        namespace.wait("another operator leads", lambda: local.operator.identity() not in ("", killed), 90)
        namespace.apply(local.small("later", args={"max_num_seq": 4}))
        namespace.wait_reason("later", "Accepted", "Invalid", 60)
    finally:
        kubectl(local, "delete", *where, "--wait=false")
    namespace.wait("it is gone", lambda: not kubectl(local, "get", *where, "--ignore-not-found", "-o", "name"), 60)


def test_a_service_of_somebody_elses_is_left_alone_and_named_until_the_name_is_free(local: Stage, namespace: Namespace) -> None:
    name = "taken"
    path = f"/api/v1/namespaces/{namespace.name}/services/{name}"
    spec = {"selector": {"app": "db"}, "ports": [{"port": 5432}]}
    namespace.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    namespace.apply(local.simulated(name, args={"loadSeconds": 1}))
    said = namespace.wait_reason(name, "Degraded", "NameTaken", 60)["message"]
    assert f"Service {name} was there already and belongs to nobody" in said
    assert "endpoint" not in namespace.status(name)
    namespace.wait_ready(name, 1, 120)
    there = namespace.get(path) or {}
    assert (there["spec"]["selector"], there["metadata"].get("ownerReferences")) == ({"app": "db"}, None)

    namespace.api.delete(path)
    uid = namespace.llama(name)["metadata"]["uid"]

    def ours() -> bool:
        owners = (namespace.get(path) or {"metadata": {}})["metadata"].get("ownerReferences") or []
        return [owner["uid"] for owner in owners] == [uid]

    namespace.wait("the Service is made", ours, 60, name)
    namespace.wait_reason(name, "Degraded", "Healthy", 60)
    assert name in namespace.status(name)["endpoint"]
    namespace.delete_llama(name)
    namespace.wait_gone(name, 60)


def test_a_token_that_somebody_deleted_is_made_again_for_the_next_pod(local: Stage, namespace: Namespace) -> None:
    name = "token"
    namespace.apply(local.simulated(name, args={"loadSeconds": 1}))
    namespace.wait_ready(name, 1, 120)
    namespace.api.delete(f"/api/v1/namespaces/{namespace.name}/secrets/{name}-ray-token")
    namespace.patch_llama(name, {"spec": {"replicas": 2}})
    namespace.wait_ready(name, 2, 120)
    namespace.delete_llama(name)
    namespace.wait_gone(name, 60)
