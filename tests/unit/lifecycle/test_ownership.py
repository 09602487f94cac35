"""Who else writes the number of replicas, as the API server's own book and the HorizontalPodAutoscalers of the namespace say it."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.lifecycle.ownership import Scaler, foreign_writer, read_scalers

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


OURS, VERSION = "LlamaDeployment", "llama-operator.dev/v1alpha1"
WEB = Scaler(name="web", target="demo")
CHAT = Scaler(name="keda-hpa-chat", target="demo", scaled_object="chat")
OTHER = Scaler(name="other", target="another")
BY_WEB = "HorizontalPodAutoscaler web"
BY_CHAT = "KEDA ScaledObject chat (through HorizontalPodAutoscaler keda-hpa-chat)"
RESET = "then kubectl patch llamadeployment demo -n llm"


def hpa(name: str, kind: str = OURS, version: str | None = VERSION, owner: tuple[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "llm"}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": owner[0], "kind": owner[1], "name": "chat", "uid": "u"}]
    target = {"kind": kind, "name": "demo"} | ({"apiVersion": version} if version else {})
    return {"metadata": metadata, "spec": {"scaleTargetRef": target, "maxReplicas": 4}}


def test_horizontal_pod_autoscalers_of_llamadeployments_are_told_from_others() -> None:
    listed = [
        hpa("web"),
        hpa("keda-hpa-chat", owner=("keda.sh/v1alpha1", "ScaledObject")),
        hpa("later", version="llama-operator.dev/v1"),
        hpa("owned", owner=("example.com/v1", "ScaledObject")),
        hpa("deployment", kind="Deployment", version="apps/v1"),
        hpa("theirs", version="example.com/v1alpha1"),
        hpa("of-no-group", version=None),
        {"metadata": {"name": "odd"}},
    ]
    later, owned = (Scaler(name=name, target="demo") for name in ("later", "owned"))
    assert read_scalers(listed) == (WEB, CHAT, later, owned)


@pytest.mark.parametrize(
    ("found", "scalers", "says", "remedy"),
    [
        (
            raw(3, APPLIED),
            [WEB],
            "HorizontalPodAutoscaler web set spec.replicas to 3 through the scale subresource, which does not count",
            f"remove what scales it (kubectl delete hpa web -n llm), {RESET}",
        ),
        (
            raw(3, APPLIED, HPA),
            [WEB],
            f"HorizontalPodAutoscaler web set spec.replicas to 3 through the scale subresource at {TIME}",
            "hpa web",
        ),
        (
            raw(3, APPLIED),
            [OTHER, CHAT],
            f"{BY_CHAT} set spec.replicas to 3 through the scale subresource",
            f"remove what scales it (kubectl delete scaledobject chat -n llm), {RESET}",
        ),
        (
            raw(3, APPLIED),
            [WEB, CHAT],
            f"HorizontalPodAutoscaler web and {BY_CHAT} set spec.replicas to 3",
            f"(kubectl delete hpa web -n llm; kubectl delete scaledobject chat -n llm), {RESET}",
        ),
        (
            raw(3, APPLIED, EDITED),
            [WEB],
            f"kubectl-edit set spec.replicas to 3 at {TIME}, which does not count while spec.autoscaling is set, and {BY_WEB} scales it too; ",
            "(kubectl delete hpa web -n llm)",
        ),
        (
            raw(3, APPLIED),
            [Scaler(name=f"s{number}", target="demo") for number in range(9)],
            "HorizontalPodAutoscaler s0 and HorizontalPodAutoscaler s1 and HorizontalPodAutoscaler s2 and 6 more set spec.replicas to 3",
            "hpa s2 -n llm), then",
        ),
        (raw(3, APPLIED), [OTHER], "somebody set spec.replicas to 3 through the scale subresource", f"remove what scales it, {RESET}"),
        (raw(3, APPLIED), [], "somebody set spec.replicas to 3 through the scale subresource", f"remove what scales it, {RESET}"),
    ],
    ids=["an HPA", "an HPA that is noted", "KEDA", "two", "a hand beside it", "nine", "one of another", "none"],
)
def test_a_horizontal_pod_autoscaler_is_named_with_what_to_delete(
    found: dict[str, Any], scalers: list[Scaler], says: str, remedy: str
) -> None:
    message = foreign_writer(found, scalers)
    assert message is not None
    assert message.startswith(says)
    assert remedy in message
    assert message.endswith("or remove spec.autoscaling, and that number counts")


@pytest.mark.parametrize("found", [raw(3, APPLIED, autoscaling=False), raw(1, APPLIED), raw(3, WHOLE)])
def test_a_horizontal_pod_autoscaler_that_set_nothing_is_not_named(found: dict[str, Any]) -> None:
    assert foreign_writer(found, [WEB]) is None
