"""JSON Schemas of the kinds that the chart renders, strict: a field that a kind does not have is an error, as with fieldValidation=Strict.

    uv run python -m tests.harness.kubernetes_schemas SWAGGER.json CRD.yaml…

writes tests/golden/chart/schemas.json anew from a Kubernetes release's api/openapi-spec/swagger.json and the CRDs of those who own the
other kinds. Descriptions are left out. Where the file is from stands in docs/adr/0011-chart-validation.md.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "golden" / "chart" / "schemas.json"
KINDS = {
    "v1": ("ConfigMap", "Pod", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "policy/v1": ("PodDisruptionBudget",),
    "rbac.authorization.k8s.io/v1": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
}
"""Of Kubernetes itself."""
INT_OR_STRING = {"type": ["integer", "string"]}
QUANTITY, META = "io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def problems(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with an object, each with its place in it."""
    kind = f"{manifest['apiVersion']}/{manifest['kind']}"
    known = schemas()
    if kind not in known["kinds"]:
        return [f"no schema of {kind}"]
    return [f"{kind} {where}: {why}" for where, why in errors(manifest, known["kinds"][kind], "$")]


def errors(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """Each place where a value is not as a schema of `strict` has it, and why."""
    if "$ref" in schema:
        yield from errors(value, schemas()["definitions"][schema["$ref"].rsplit("/", 1)[1]], where)
        return
    types = schema.get("type", [])
    if types and not any(_is(value, kind) for kind in ([types] if isinstance(types, str) else types)):
        yield where, f"{json.dumps(value)[:80]} is no {types}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield where, f"{value!r} is none of {schema['enum']}"
    if isinstance(value, str) and "pattern" in schema and re.search(schema["pattern"], value) is None:
        yield where, f"{value!r} does not match {schema['pattern']}"
    size = len(value) if isinstance(value, str) else value
    if isinstance(size, int | float) and not schema.get("minimum", schema.get("minLength", size)) <= size <= schema.get(
        "maximum", schema.get("maxLength", size)
    ):
        yield where, f"{value!r} is too small or too large"
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from errors(item, schema["items"], f"{where}[{index}]")
    if isinstance(value, dict):
        yield from ((where, f"lacks {name}") for name in schema.get("required", []) if name not in value)
        more = schema.get("additionalProperties", True)
        for name, item in value.items():
            below = schema.get("properties", {}).get(name, more)
            if below is False:
                yield where, f"has no field {name}"
            elif isinstance(below, dict):
                yield from errors(item, below, f"{where}.{name}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, {"string": str, "integer": int, "number": (int, float), "object": dict, "array": list, "boolean": bool}[kind])


@cache
def schemas() -> dict[str, Any]:
    """The file."""
    read: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return read


def strict(schema: Any) -> Any:
    """A schema of Kubernetes as JSON Schema has it, without descriptions and without room for unknown fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return INT_OR_STRING
    kept = {
        key: schema[key]
        for key in ("$ref", "type", "required", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength")
        if key in schema
    }
    kept |= {key: strict(schema[key]) for key in ("items", "additionalProperties") if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept["additionalProperties"] = False
    return kept


def of_kubernetes(swagger: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The kinds, and every definition that they lead to."""
    given = swagger["definitions"]
    wanted = {(version, kind) for version, kinds in KINDS.items() for kind in kinds}
    kinds: dict[str, Any] = {}
    for name, definition in given.items():
        for gvk in definition.get("x-kubernetes-group-version-kind", []):
            version = f"{gvk['group']}/{gvk['version']}".lstrip("/")
            if (version, gvk["kind"]) in wanted:
                kinds[f"{version}/{gvk['kind']}"] = {"$ref": f"#/definitions/{name}"}
    definitions: dict[str, Any] = {}
    left = [META, *(kind["$ref"].rsplit("/", 1)[1] for kind in kinds.values())]
    while left:
        name = left.pop()
        if name not in definitions:
            definitions[name] = {"type": ["string", "number"]} if name == QUANTITY else strict(given[name])
            left += references(definitions[name])
    return kinds, definitions


def references(schema: Any) -> Iterator[str]:
    """Names of the definitions that a schema leads to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rsplit("/", 1)[1]
        for value in schema.values():
            yield from references(value)


def of_crd(crd: Mapping[str, Any]) -> dict[str, Any]:
    """The kind in each version that is served."""
    spec, found = crd["spec"], {}
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"$ref": f"#/definitions/{META}"}
        found[f"{spec['group']}/{version['name']}/{spec['names']['kind']}"] = schema
    return found


def main(paths: Iterable[str]) -> None:
    """Write the file."""
    first, *crds = (Path(path).read_text(encoding="utf-8") for path in paths)
    kinds, definitions = of_kubernetes(json.loads(first))
    for crd in crds:
        kinds |= of_crd(yaml.safe_load(crd))
    FILE.write_text(
        json.dumps({"kinds": kinds, "definitions": definitions}, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
