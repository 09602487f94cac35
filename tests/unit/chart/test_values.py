"""Values that cannot be meant are refused before anything reaches the cluster, and the refusal says what to do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from tests.harness.depth import DEEP
from tests.unit.chart.chart import CHART, Helm

Values = dict[str, Any]

VALUES: Values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: Values = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

FREE_FORM = {"resources.requests", "resources.limits", "cost.gpuHourPrices"}
"""Objects whose keys are Kubernetes' own or the user's."""


def _objects(schema: Values, path: str = "") -> list[tuple[str, Values]]:
    found = [(path, schema)] if "properties" in schema else []
    for name, child in schema.get("properties", {}).items():
        found += _objects(child, f"{path}.{name}".lstrip("."))
    return found


def _keys(values: Values, schema: Values, path: str = "") -> list[str]:
    """Paths of all values that the schema does not describe one by one."""
    unknown = []
    for name, value in values.items():
        here = f"{path}.{name}".lstrip(".")
        described = schema.get("properties", {}).get(name)
        if described is None:
            unknown.append(here)
        elif isinstance(value, dict) and "properties" in described:
            unknown += _keys(value, described, here)
    return unknown


def test_the_schema_describes_every_value_and_no_other() -> None:
    assert _keys(VALUES, SCHEMA) == []
    described = {f"{path}.{name}".lstrip(".") for path, schema in _objects(SCHEMA) for name in schema["properties"]}
    # `global` is Helm's own.
    missing = {path for path in described - {"global"} - FREE_FORM if _at(VALUES, path) is None}
    assert missing == set()


def _at(values: Values, path: str) -> Any:
    found: Any = values
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _mistyped(path: str) -> Values:
    values: Values = {"mistyped": 1}
    for part in reversed([part for part in path.split(".") if part]):
        values = {part: values}
    return {"image": {"pullSecrets": [{"mistyped": 1}]}} if path == "image.pullSecrets" else values


def _together(one: Values, other: Values) -> Values | None:
    """Both in one file; None where they say different things of one value."""
    made = dict(one)
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(made.get(name), dict):
            both = _together(made[name], value)
            if both is None:
                return None
            made[name] = both
        elif name in made:
            return None
        else:
            made[name] = value
    return made


def _in_company(values: Values, of: list[Values]) -> Values:
    """Helm tells all that is wrong with a file at once, and starts once for it: those that fit together are tried together where somebody
    waits, each alone in the deep run.
    """
    groups: list[list[Values]] = []
    files: list[Values] = []
    for each in of:
        for at, group in enumerate(groups):
            both = _together(files[at], each)
            if both is not None:
                group.append(each)
                files[at] = both
                break
        else:
            groups.append([each])
            files.append(each)
    return values if DEEP else next(file for file, group in zip(files, groups, strict=True) if values in group)


LEVELS = sorted(path for path, _ in _objects(SCHEMA))


@pytest.mark.parametrize("path", LEVELS)
def test_an_unknown_key_is_refused_by_name_at_every_level(helm: Helm, path: str) -> None:
    said = helm.refuse(_in_company(_mistyped(path), [_mistyped(level) for level in LEVELS]))
    place = "".join(f"/{part}" for part in path.split(".") if part) + ("/0" if path == "image.pullSecrets" else "")
    assert f"at '{place}': additional properties 'mistyped' not allowed" in said


def test_every_value_has_a_comment_or_an_empty_default_that_says_it_all() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    plain = ("priorityClassName", "nodeSelector", "tolerations", "affinity", "podLabels", "podAnnotations", "resources")
    sections = [number for number, line in enumerate(text) if line[:1].isalpha() and not line.startswith(plain)]
    bare = [text[number] for number in sections if not text[number - 1].startswith("#")]
    # A section whose own line says enough has comments inside; extra* share one comment.
    explained = {
        "serving:",
        "autoscaling:",
        "reconcile:",
        "leaderElection:",
        "log:",
        "ports:",
        "hub:",
        "monitoring:",
        "rbac:",
        "serviceAccount:",
    }
    assert set(bare) <= explained | {"extraVolumes: []", "extraVolumeMounts: []"}


REFUSED: list[tuple[Values, str]] = [
    ({"replicas": -1}, "replicas"),
    ({"replicas": "two"}, "replicas"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"watchNamespaces": "llm"}, "watchNamespaces"),
    ({"watchNamespaces": ["Not_A_Namespace"]}, "watchNamespaces"),
    ({"prometheus": {"url": "prometheus:9090"}}, "url"),
    ({"prometheus": {"timeoutSeconds": 0}}, "timeoutSeconds"),
    ({"head": {"storage": {"type": "hostPath"}}}, "type"),
    ({"head": {"storage": {"size": "a lot"}}}, "size"),
    ({"leaderElection": {"leaseSeconds": 1}}, "leaseSeconds"),
    ({"log": {"level": "INFO"}}, "level"),
    ({"log": {"format": "xml"}}, "format"),
    ({"ports": {"health": 80}}, "health"),
    ({"reconcile": {"workers": 0}}, "workers"),
    ({"monitoring": {"podMonitors": {"enabled": "yes"}}}, "enabled"),
    ({"monitoring": {"podMonitors": {"servingLimits": {"samples": -1}}}}, "samples"),
    ({"monitoring": {"podMonitors": {"servingLimits": {"bodySize": "16 MB"}}}}, "bodySize"),
    ({"hub": {"endpoint": ""}}, "endpoint"),
    ({"cost": {"gpuHourPrices": {"H100": 2}}}, "H100"),
    ({"cost": {"gpuHourPrices": {"nvidia-h100-80gb": "2.5"}}}, "gpuHourPrices"),
    ({"cost": {"gpuHourPrices": {"nvidia-h100-80gb": -1}}}, "gpuHourPrices"),
    ({"cost": {"apiPrices": [{"name": "x"}]}}, "apiPrices"),
    ({"cost": {"apiPrices": [{"name": "x", "asOf": "July", "prompt": [1, 1], "generated": [1, 1]}]}}, "asOf"),
    ({"monitoring": {"dashboards": {"label": {"name": "not a label"}}}}, "label"),
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=lambda value: json.dumps(value) if isinstance(value, dict) else "")
def test_a_value_that_cannot_be_meant_is_refused_by_name(helm: Helm, values: Values, said: str) -> None:
    """By the last word of its path, or as the key that it is."""
    assert re.search(rf"[/']{said}\b", helm.refuse(_in_company(values, [each for each, _ in REFUSED])))


def test_a_scrape_interval_that_would_make_every_sample_stale_is_refused_with_the_bounds(helm: Helm) -> None:
    said = helm.refuse({"monitoring": {"podMonitors": {"enabled": True, "intervalSeconds": 30}}, "prometheus": {"staleSeconds": 15}})
    assert "intervalSeconds to at most 7" in said
    assert "staleSeconds to at least 60" in said


def test_without_podmonitors_the_scrape_interval_is_prometheus_own_and_not_judged(helm: Helm) -> None:
    helm.render({"monitoring": {"podMonitors": {"enabled": False, "intervalSeconds": 30}}})


def test_one_port_for_two_servers_is_refused(helm: Helm) -> None:
    assert "different numbers" in helm.refuse({"ports": {"health": 9000, "metrics": 9000}})


def test_a_first_wait_beyond_the_longest_is_refused(helm: Helm) -> None:
    assert "may not exceed the longest" in helm.refuse({"reconcile": {"retryBaseSeconds": 600}})
