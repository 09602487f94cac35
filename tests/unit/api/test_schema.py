"""What is generated from the models is committed as it is, and is what a Kubernetes API server takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_operator.api import schema
from llama_operator.api.conditions import ConditionType
from llama_operator.api.rules import RULES
from llama_operator.api.status import LlamaDeploymentStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

Node = dict[str, Any]


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every node of a structural schema with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


NODES = dict(nodes(schema.open_api_schema()))


def test_the_committed_files_are_current() -> None:
    assert schema.main(["--check"]) == 0


def test_check_names_what_is_not_current_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main(["--check", "--root", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []
    told = capsys.readouterr().err
    for name in (schema.CRD_FILE, schema.CHART_CRD_FILE, schema.JSON_FILE, schema.REFERENCE_FILE, schema.FIELDS_FILE):
        assert f"{name} is not current" in told


def test_what_is_written_is_current_then(tmp_path: Path) -> None:
    assert schema.main(["--root", str(tmp_path)]) == 0
    assert schema.main(["--check", "--root", str(tmp_path)]) == 0


def test_kubectl_get_finds_it_by_its_short_name_and_in_both_categories() -> None:
    names = schema.custom_resource_definition()["spec"]["names"]
    assert names["shortNames"] == ["lld"]
    assert names["categories"] == ["all", "llama"]


def test_every_field_is_described() -> None:
    bare = [path for path, node in NODES.items() if not path.endswith("[]") and path != ".metadata" and not node.get("description")]
    assert bare == []


def test_every_text_a_user_writes_is_bounded_so_that_rules_are_affordable() -> None:
    unbounded = [
        path
        for path, node in NODES.items()
        if path.startswith(".spec") and node.get("type") == "string" and not {"maxLength", "enum"} & node.keys()
    ]
    assert unbounded == []


def test_the_schema_is_structural() -> None:
    forbidden = {"$ref", "anyOf", "oneOf", "allOf", "title", "const", "default", "exclusiveMinimum", "nullable"}
    for path, node in NODES.items():
        assert "type" in node, path
        assert not forbidden & (node.keys() - ({"default"} if path == ".spec.replicas" else set())), path
        assert not ("properties" in node and "additionalProperties" in node), path


def test_a_plan_of_a_newer_planner_is_kept_whole_and_replaced_whole() -> None:
    plan = NODES[".status.plan"]
    assert plan["x-kubernetes-preserve-unknown-fields"] is True
    assert plan["x-kubernetes-map-type"] == "atomic"
    assert plan["properties"]["observed"]["properties"].keys() == {
        "kvCacheTokens",
        "ratio",
        "weightBytesPerGpu",
        "weightRatio",
        "memoryBytesPerGpu",
        "memoryRatio",
    }
    assert LlamaDeploymentStatus.model_validate({"plan": {"gpus": 8, "later": [1]}}).model_dump(by_alias=True, exclude_none=True)[
        "plan"
    ] == {
        "gpus": 8,
        "later": [1],
    }


def test_every_rule_for_the_api_server_is_in_the_schema_with_its_words() -> None:
    placed = [rule for node in NODES.values() for rule in node.get("x-kubernetes-validations", [])]
    assert len(placed) == sum(rule.cel is not None for rule in RULES)
    assert all(entry["message"] and entry["rule"] for entry in placed)


def test_conditions_are_merged_by_type() -> None:
    assert NODES[".status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert NODES[".status.conditions[].type"]["type"] == "string"


def test_every_condition_type_is_named_in_the_reference() -> None:
    described = NODES[".status.conditions"]["description"]
    assert [kind for kind in ConditionType if kind not in described] == []


def test_free_form_objects_keep_what_is_in_them() -> None:
    for path in (".spec.engine.args", ".spec.podTemplate.spec", ".status.autoscaling.memory"):
        assert NODES[path]["x-kubernetes-preserve-unknown-fields"] is True


def test_kubectl_shows_ready_phase_reason_endpoint_and_age() -> None:
    (version,) = schema.custom_resource_definition()["spec"]["versions"]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == ["Ready", "Phase", "Reason", "Endpoint", "Age"]
    assert version["subresources"]["scale"]["labelSelectorPath"] == ".status.selector"


def test_the_editors_schema_marks_unknown_fields_of_the_spec_and_lets_a_status_pass() -> None:
    made = schema.editor_schema()
    definitions = made["$defs"]
    assert definitions["LlamaDeploymentSpec"]["additionalProperties"] is False
    assert "additionalProperties" not in definitions["LlamaDeploymentStatus"]
    assert made["required"] == ["apiVersion", "kind", "metadata", "spec"]


def test_the_reference_has_a_row_for_every_field() -> None:
    page = schema.render()[schema.REFERENCE_FILE]
    for path, node in NODES.items():
        if path.startswith((".spec.", ".status.")) and not path.endswith("[]") and "properties" not in node:
            assert f"`{path.removeprefix('.')}`" in page
