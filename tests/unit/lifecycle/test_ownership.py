"""Who else writes the number of replicas, as the API server's own book says it."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.lifecycle.ownership import foreign_writer

TIME = "2026-11-21T15:02:03Z"


def entry(manager: str, *fields: str, subresource: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "manager": manager,
        "operation": "Update",
        "time": TIME,
        "fieldsV1": {"f:spec": {f"f:{name}": {} for name in fields}},
    }
    return made | ({"subresource": subresource} if subresource else {})


def raw(replicas: int | None, *entries: dict[str, Any], autoscaling: bool = True) -> dict[str, Any]:
    spec: dict[str, Any] = {} if replicas is None else {"replicas": replicas}
    if autoscaling:
        spec["autoscaling"] = {"maxReplicas": 4}
    return {"metadata": {"name": "demo", "namespace": "llm", "managedFields": list(entries)}, "spec": spec}


APPLIED = entry("kubectl-client-side-apply", "model", "autoscaling")
WHOLE = entry("kubectl-client-side-apply", "model", "autoscaling", "replicas")
SCALED = entry("kubectl", "replicas", subresource="scale")
HPA = entry("kube-controller-manager", "replicas", subresource="scale")
EDITED = entry("kubectl-edit", "replicas")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (raw(3, APPLIED, SCALED), f"kubectl set spec.replicas to 3 through the scale subresource at {TIME}"),
        (
            raw(3, APPLIED, HPA),
            "kube-controller-manager (a HorizontalPodAutoscaler, perhaps of a KEDA ScaledObject) set spec.replicas to 3",
        ),
        (raw(0, APPLIED, entry("keda", "replicas", subresource="scale")), "keda set spec.replicas to 0 through the scale subresource"),
        (raw(3, APPLIED, EDITED), f"kubectl-edit set spec.replicas to 3 at {TIME}"),
        (raw(3, WHOLE, SCALED), "kubectl set spec.replicas to 3"),
    ],
)
def test_a_foreign_writer_is_named_with_the_way_out(found: dict[str, Any], says: str) -> None:
    message = foreign_writer(found)
    assert message is not None
    assert says in message
    assert message.endswith("or remove spec.autoscaling, and that number counts")
    assert "kubectl patch llamadeployment demo -n llm --type=merge" in message


@pytest.mark.parametrize(
    "found",
    [
        raw(3, SCALED, autoscaling=False),
        raw(3, HPA, autoscaling=False),
        raw(1, APPLIED, SCALED),
        raw(None, APPLIED),
        raw(3, WHOLE),
        raw(3),
        raw(3, {"manager": "x"}, {"manager": "y", "fieldsV1": {}}, {"manager": "z", "fieldsV1": {"f:metadata": {}}}),
        raw(3, entry("llama-operator", "replicas")),
    ],
    ids=["no autoscaling", "an HPA without autoscaling", "the default", "absent", "one manifest with both", "no book", "odd book", "ours"],
)
def test_whoever_does_no_harm_is_not_named(found: dict[str, Any]) -> None:
    assert foreign_writer(found) is None
