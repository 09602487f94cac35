"""Generates everything that is written down about the resource from its models and rules: the CRD, the editors' schema, the field table.

    python -m llama_operator.api.schema [--check] [--root DIRECTORY]

`render` is pure; the command writes its files under the repository, or with `--check` says which are not current.

pydantic writes JSON Schema; the API server wants a *structural* schema, a subset: no references, no `anyOf` with null, no
`additionalProperties` beside `properties`, no titles. Unknown fields are pruned or refused by the API server itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from llama_operator.api.field_paths import field_paths
from llama_operator.api.group import NAME
from llama_operator.api.reference import render_reference
from llama_operator.api.rules import RULES
from llama_operator.api.v1alpha1 import CATEGORIES, GROUP, KIND, NAME_MAX, PLURAL, SHORT_NAME, SINGULAR, VERSION, LlamaDeployment

COMMAND = "python -m llama_operator.api.schema"

CRD_FILE = "crds/llamadeployments.yaml"
CHART_CRD_FILE = "helm/llama-operator/crds/llamadeployments.yaml"
JSON_FILE = "crds/llamadeployment.schema.json"
REFERENCE_FILE = "docs/api.md"
FIELDS_FILE = "operator/llama_operator/api/field_paths_v1alpha1.py"

Schema = dict[str, Any]

_KEPT = ("type", "description", "enum", "minimum", "maximum", "minLength", "maxLength", "maxProperties", "maxItems", "format", "required")
"""Keywords that mean the same in JSON Schema and in a structural schema."""

COLUMNS = (
    ("Ready", ".status.ready", "string", "Ready replicas of those wanted"),
    ("Phase", ".status.phase", "string", "One word for the whole"),
    ("Reason", ".status.reason", "string", "Reason of the condition that matters most now"),
    ("Endpoint", ".status.endpoint", "string", "URL of the OpenAI-compatible API inside the cluster"),
    ("Age", ".metadata.creationTimestamp", "date", ""),
)
"""Columns of `kubectl get`: name, JSON path, type, description."""


def structural(schema: Schema, definitions: Schema) -> Schema:
    """A JSON Schema node of pydantic's as a structural one: references inlined, `T or null` made `T`, titles and defaults dropped."""
    node = dict(schema)
    if "$ref" in node:
        node = {**definitions[node.pop("$ref").rsplit("/", 1)[-1]], **node}
    if "anyOf" in node:
        (only,) = [option for option in node.pop("anyOf") if option != {"type": "null"}]
        return structural({**only, **node}, definitions)
    if "const" in node:
        node["enum"] = [node["const"]]
    out: Schema = {key: node[key] for key in _KEPT if key in node}
    if "description" in out:
        out["description"] = one_line(out["description"])
    if "items" in node:
        out["items"] = structural(node["items"], definitions)
    if "properties" in node:
        out["properties"] = {name: structural(child, definitions) for name, child in node["properties"].items()}
        if node.get("additionalProperties") is True:
            out["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = structural(node["additionalProperties"], definitions)
    elif node.get("type") == "object":
        out["x-kubernetes-preserve-unknown-fields"] = True
    return out


def one_line(text: str) -> str:
    """A description without the source's line breaks."""
    return " ".join(text.split())


def node_at(schema: Schema, path: str) -> Schema:
    """The node of a structural schema at a dotted path; "" is the root."""
    for part in filter(None, path.split(".")):
        schema = schema["properties"][part]
    return schema


def open_api_schema() -> Schema:
    """The structural schema of the resource, with its CEL rules."""
    raw = LlamaDeployment.model_json_schema(by_alias=True)
    schema = structural(raw, raw["$defs"])
    schema["required"] = ["spec"]
    schema["properties"]["apiVersion"] = {"type": "string", "description": f"{GROUP}/{VERSION}"}
    schema["properties"]["kind"] = {"type": "string", "description": KIND}
    schema["properties"]["metadata"] = {"type": "object"}  # the API server allows nothing more to be said about it here
    # The one default that is stored: the scale subresource reads spec.replicas. Others may come to mean "the planner chooses".
    node_at(schema, "spec.replicas")["default"] = 1
    conditions = node_at(schema, "status.conditions")
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    # Free-form and written as a whole: merged key by key, what an older decision left would stay.
    for path in ("status.autoscaling.memory", "status.plan"):
        node_at(schema, path)["x-kubernetes-map-type"] = "atomic"
    for rule in RULES:
        if rule.cel is not None:
            node_at(schema, rule.at).setdefault("x-kubernetes-validations", []).append(rule.schema())
    return schema


def custom_resource_definition() -> Schema:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": list(CATEGORIES),
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicaCount",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": open_api_schema()},
                }
            ],
        },
    }


def _column(name: str, path: str, kind: str, description: str) -> Schema:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {key: value for key, value in column.items() if value}


def editor_schema() -> Schema:
    """The JSON Schema for editors: unlike the CRD it marks unknown fields of the spec."""
    raw = LlamaDeployment.model_json_schema(by_alias=True)
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(raw)}
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["properties"]["metadata"] |= {
        "properties": {"name": {"type": "string", "pattern": f"^{NAME}$", "maxLength": NAME_MAX}},
        "required": ["name"],
    }
    return schema


def _tidy(node: Any) -> Any:
    """Without titles and null defaults, descriptions on one line."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    out: Schema = {}
    for key, value in node.items():
        if key == "properties":  # here the keys are field names, one of which may be "title"
            out[key] = {name: _tidy(child) for name, child in value.items()}
        elif key == "description":
            out[key] = one_line(value)
        elif not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None):
            out[key] = _tidy(value)
    return out


class _Plain(yaml.SafeDumper):
    """Writes what comes twice twice: not every tool that reads a CRD knows anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Nothing is an alias."""
        del data
        return True


def render() -> dict[str, str]:
    """Every generated file: path from the repository's root, and text."""
    crd = f"# Generated by `{COMMAND}`; do not edit.\n" + yaml.dump(
        custom_resource_definition(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=140
    )
    return {
        CRD_FILE: crd,
        CHART_CRD_FILE: crd,
        JSON_FILE: json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n",
        REFERENCE_FILE: render_reference(open_api_schema(), COMMAND),
        FIELDS_FILE: _field_module(field_paths(open_api_schema())),
    }


def _field_module(paths: frozenset[str]) -> str:
    rows = "".join(f'        "{path}",\n' for path in sorted(paths))
    return (
        f'"""Every field of the resource. Generated by `{COMMAND}`; do not edit.\n\n'
        "For those who compare names alone: the models take a third of a second to import.\n"
        '"""\n\n'
        f"FIELD_PATHS = frozenset(\n    {{\n{rows}    }}\n)\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with `--check` name those that are not current and return 1."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Generate the CRD, the editors' schema and the field table.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a file is not current")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[3], help="the repository")
    options = parser.parse_args(arguments)
    stale = {name: text for name, text in render().items() if not _is_current(options.root / name, text)}
    for name, text in stale.items():
        if options.check:
            print(f"{name} is not current: run {COMMAND} and commit it", file=sys.stderr)
            continue
        (options.root / name).parent.mkdir(parents=True, exist_ok=True)
        (options.root / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 1 if options.check and stale else 0


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
