"""The document that programs read: its schema in the repository is that of the models, and its keys are the agreed ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llama_operator.simulate.document import SCHEMA_FILE, SimulationDocument, json_schema, to_json
from llama_operator.simulate.figures import Figures

ROOT = Path(__file__).parents[3]
RUN = Figures(
    policy="ours",
    requests=4,
    attainment=0.5,
    replica_seconds=30.0,
    mean_replicas=1.5,
    ttft=(0.1, 7.0, None),
    scale_events=2,
    unserved=1,
)
KNOWN = Figures(
    policy="clairvoyant",
    requests=4,
    attainment=1.0,
    replica_seconds=20.0,
    mean_replicas=1.0,
    ttft=(0.1, 0.2, 0.3),
    scale_events=1,
    unserved=0,
)


def test_the_schema_in_the_repository_is_the_models() -> None:
    path = ROOT / SCHEMA_FILE
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("LLAMA_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{SCHEMA_FILE} is not current: run again with LLAMA_UPDATE_GOLDEN=1"


def test_the_document_has_exactly_the_agreed_keys() -> None:
    document = to_json([RUN, KNOWN])
    assert document == {
        "schemaVersion": 1,
        "runs": [
            {
                "policy": "ours",
                "requests": 4,
                "attainment": 0.5,
                "replicaSeconds": 30.0,
                "meanReplicas": 1.5,
                "ttft": {"p50": 0.1, "p95": 7.0, "p99": None},
                "scaleEvents": 2,
                "unserved": 1,
                "attainmentVsClairvoyant": 0.5,
                "replicaSecondsVsClairvoyant": 1.5,
            },
            {
                "policy": "clairvoyant",
                "requests": 4,
                "attainment": 1.0,
                "replicaSeconds": 20.0,
                "meanReplicas": 1.0,
                "ttft": {"p50": 0.1, "p95": 0.2, "p99": 0.3},
                "scaleEvents": 1,
                "unserved": 0,
                "attainmentVsClairvoyant": 1.0,
                "replicaSecondsVsClairvoyant": 1.0,
            },
        ],
    }
    assert SimulationDocument.model_validate(document, by_alias=True, by_name=False).schema_version == 1


@pytest.mark.parametrize("key", ["attainmentVsClairvoyant", "replicaSecondsVsClairvoyant"])
def test_without_a_reference_nothing_is_set_against_one(key: str) -> None:
    assert to_json([RUN])["runs"][0][key] is None
