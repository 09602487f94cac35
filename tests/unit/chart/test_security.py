"""The operator runs as nobody in particular, and may do what its code does and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.chart.chart import Helm, Manifest, Rendered
from tests.unit.chart.values import CASES, TWO_NAMESPACES

from llama_operator.adapters.kinds import CHILD_KINDS, KINDS
from llama_operator.adapters.tokens import KEY_SECRET
from llama_operator.rendering import names
from llama_operator.rendering.context import RenderContext, RenderOptions
from llama_operator.rendering.guards import network_policy
from llama_serving.config import ServingConfig

READ = {"list", "watch"}
WRITE = {"create", "patch", "delete"}

Grant = tuple[str, str, str]
"""API group, resource, verb."""


def _rules(manifests: list[Manifest]) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        yield from manifest["rules"]


def _grants(rules: Iterator[dict[str, Any]], *, named: bool = False) -> set[Grant]:
    return {
        (group, resource, verb)
        for rule in rules
        if bool(rule.get("resourceNames")) is named
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _operators(rendered: Rendered) -> list[Manifest]:
    """The roles that are bound to the operator, not those for people."""
    return [role for role in rendered.of_kind("ClusterRole", "Role") if role["metadata"]["name"] not in {"llama-view", "llama-edit"}]


def _grant(kind: str, verbs: set[str]) -> set[Grant]:
    place = KINDS[kind]
    group = place.prefix.split("/")[2] if place.prefix.startswith("/apis/") else ""
    return {(group, place.plural, verb) for verb in verbs}


@pytest.mark.parametrize("case", CASES)
def test_no_rule_has_a_wildcard(helm: Helm, case: str) -> None:
    for rule in _rules(helm.render(CASES[case]).of_kind("ClusterRole", "Role")):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "nonResourceURLs" not in rule


def test_every_call_of_the_operators_code_is_allowed(helm: Helm) -> None:
    wanted = _grant(names.KIND, READ | {"patch"}) | _grant("Pod", READ | WRITE) | _grant("Event", {"create", "patch"})
    wanted |= _grant("Secret", {"create"}) | _grant("Node", {"list"}) | _grant("HorizontalPodAutoscaler", {"list"})
    wanted |= {(names.GROUP, f"{names.PLURAL}/status", "patch"), (names.GROUP, f"{names.PLURAL}/finalizers", "update")}
    for kind in CHILD_KINDS:
        wanted |= _grant(kind, READ | WRITE)
    assert wanted - _grants(_rules(_operators(helm.render()))) == set()


@pytest.mark.parametrize("case", CASES)
def test_the_operator_reads_no_secret_but_its_own_key(helm: Helm, case: str) -> None:
    roles = _operators(helm.render(CASES[case]))
    assert {verb for _, resource, verb in _grants(_rules(roles)) if resource == "secrets"} == {"create"}
    named = [
        (role["kind"], role["metadata"].get("namespace"), rule) for role in roles for rule in role["rules"] if rule.get("resourceNames")
    ]
    readers = [(kind, space, rule["resourceNames"], rule["verbs"]) for kind, space, rule in named if "secrets" in rule["resources"]]
    assert readers == [("Role", "llama-system", [KEY_SECRET], ["get"])]


@pytest.mark.parametrize("case", CASES)
def test_horizontal_pod_autoscalers_are_listed_and_nothing_else(helm: Helm, case: str) -> None:
    grants = _grants(_rules(_operators(helm.render(CASES[case]))))
    assert {verb for _, resource, verb in grants if resource == "horizontalpodautoscalers"} <= {"list"}


@pytest.mark.parametrize("case", CASES)
def test_the_operator_touches_neither_roles_nor_workloads_nor_exec(helm: Helm, case: str) -> None:
    resources = {resource for _, resource, _ in _grants(_rules(_operators(helm.render(CASES[case]))))}
    allowed = {KINDS[kind].plural for kind in KINDS} | {f"{names.PLURAL}/status", f"{names.PLURAL}/finalizers"}
    assert resources <= allowed


def test_leases_are_the_one_lease_in_the_own_namespace(helm: Helm) -> None:
    (own,) = [role for role in _operators(helm.render()) if role["kind"] == "Role"]
    leases = [rule for rule in own["rules"] if rule["resources"] == ["leases"]]
    assert own["metadata"]["namespace"] == "llama-system"
    assert [(rule.get("resourceNames"), rule["verbs"]) for rule in leases] == [(None, ["create"]), (["llama-operator"], ["get", "update"])]


def test_watched_namespaces_get_a_role_each_and_the_cluster_gets_none(helm: Helm) -> None:
    rendered = helm.render(TWO_NAMESPACES)
    assert rendered.of_kind("ClusterRole", "ClusterRoleBinding") == []
    spaces = [role["metadata"]["namespace"] for role in rendered.of_kind("Role")]
    assert spaces == ["llm-a", "llm-b", "llama-system"]
    cluster = _grants(_rules([role for role in helm.render().of_kind("ClusterRole") if role["metadata"]["name"] == "llama-llama-operator"]))
    for role in rendered.of_kind("Role")[:2]:
        assert _grants(iter(role["rules"])) == cluster


def test_every_binding_names_a_role_that_is_there_and_the_operators_account(helm: Helm) -> None:
    for values in CASES.values():
        rendered = helm.render(values)
        roles = {
            (role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"]) for role in rendered.of_kind("ClusterRole", "Role")
        }
        for binding in rendered.of_kind("ClusterRoleBinding", "RoleBinding"):
            ref = binding["roleRef"]
            assert (ref["kind"], binding["metadata"].get("namespace"), ref["name"]) in roles
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "llama-llama-operator", "namespace": "llama-system"}]


def test_people_with_the_built_in_roles_can_use_llamadeployments(helm: Helm) -> None:
    roles = {role["metadata"]["name"]: role for role in helm.render().of_kind("ClusterRole")}
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert roles["llama-view"]["metadata"]["labels"][f"{aggregate}view"] == "true"
    assert roles["llama-edit"]["metadata"]["labels"][f"{aggregate}edit"] == "true"
    view = _grants(iter(roles["llama-view"]["rules"]))
    edit = _grants(iter(roles["llama-edit"]["rules"]))
    assert {verb for _, _, verb in view} == {"get", "list", "watch"}
    assert (names.GROUP, names.PLURAL, "create") in edit
    assert (names.GROUP, f"{names.PLURAL}/scale", "patch") in edit
    assert (names.GROUP, f"{names.PLURAL}/status", "patch") not in edit


@pytest.mark.parametrize("case", CASES)
def test_every_pod_meets_the_restricted_pod_security_profile(helm: Helm, case: str) -> None:
    rendered = helm.render(CASES[case])
    for spec in [rendered.pod["spec"], *(pod["spec"] for pod in rendered.of_kind("Pod"))]:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all("hostPath" not in volume for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])


def test_only_the_operators_own_pod_gets_a_token(helm: Helm) -> None:
    rendered = helm.render()
    assert rendered.of_kind("ServiceAccount")[0]["automountServiceAccountToken"] is False
    assert rendered.pod["spec"]["automountServiceAccountToken"] is True
    assert rendered.of_kind("Pod")[0]["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("values", [{}, {"fullnameOverride": "other"}])
def test_the_network_policy_of_a_llamadeployment_admits_this_operator(helm: Helm, values: dict[str, Any]) -> None:
    """The chart's labels and the rendered NetworkPolicy must agree, or the operator is shut out from the agents it reads."""
    config = ServingConfig(deployment="demo", namespace="llm", revision="0123456789", source="file:///m", served_name="demo")
    context = RenderContext(
        name="demo",
        namespace="llm",
        uid="u",
        revision="0123456789",
        serving=config,
        options=RenderOptions(operator_image="op", operator_namespace="llama-system"),
        image="serving",
    )
    peers = [peer for rule in network_policy(context)["spec"]["ingress"] for peer in rule.get("from", []) if "namespaceSelector" in peer]
    deployment = helm.render(values).deployment
    worn = deployment["spec"]["template"]["metadata"]["labels"]
    space = {"kubernetes.io/metadata.name": deployment["metadata"]["namespace"]}
    assert any(
        peer["namespaceSelector"]["matchLabels"].items() <= space.items() and peer["podSelector"]["matchLabels"].items() <= worn.items()
        for peer in peers
    )
