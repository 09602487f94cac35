"""A time to first token as the objective: what the policy needs for it comes out of a real Prometheus, and the status tells each signal."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.test_gangs import small_requests

from playground.client import Client
from playground.kube import Namespace
from playground.stage import Stage

pytestmark = pytest.mark.cluster
NAME = "timely"
MODEL = {"source": "hf://meta-llama/Llama-3.1-8B-Instruct", "licenseAccepted": True, "servedName": NAME}
"""The planner knows it from its catalogue, so that there is a plan to begin with; the simulated engine loads nothing."""
SCALING = {"minReplicas": 1, "maxReplicas": 2, "objective": {"timeToFirstTokenSeconds": 5}}
VOTES = {"slots", "prompts", "cache", "firstToken"}


def test_every_signal_of_a_time_to_first_token_is_seen_with_its_value_and_its_age(
    local: Stage, namespace: Namespace, client: Client, record_property: Any
) -> None:
    namespace.apply(
        local.simulated(
            NAME,
            model=MODEL,
            hardware={"accelerator": "nvidia-h100-80gb"},
            parallelism={"tensor": 1},
            autoscaling=SCALING,
            podTemplate=small_requests(local),
        )
    )
    namespace.wait_ready(NAME, 1, 180)
    crowd = client.load(f"http://{NAME}", NAME, streams=3, seconds=300, tokens=20)

    def votes() -> dict[str, dict[str, Any]]:
        told = namespace.status(NAME)["autoscaling"].get("votes") or []
        whole = {vote["signal"]: vote for vote in told if {"value", "replicas", "ageSeconds"} <= vote.keys()}
        # A scrape may find all three streams between two requests.
        return whole if whole.keys() >= VOTES and all(vote["replicas"] for vote in whole.values()) else {}

    found = namespace.wait("each signal votes, with what was measured", votes, 150, NAME)
    record_property("votes", found)
    # Three streams that a replica of the plan serves easily: one of them is at work or between two requests, and none waits long.
    assert 0 < found["firstToken"]["value"] < 5
    assert 0 < found["slots"]["value"] <= 3
    assert found["prompts"]["value"] > 0
    assert all(0 < vote["replicas"] < 1 for vote in found.values())
    assert all(0 <= vote["ageSeconds"] <= 15 for vote in found.values()), "the operator's default for what counts as fresh"
    told = namespace.status(NAME)["autoscaling"]
    assert (told["desiredReplicas"], told["reason"]) == (1, "Steady")
    signals = {signal["name"] for signal in told["signals"] if "value" in signal}
    assert signals >= {"requestsInFlight", "promptTokensPerSecond", "outputTokensPerSecond", "kvCacheUse"}
    crowd.stop()
    assert crowd.result()["errors"] == []
    namespace.delete_llama(NAME)
    namespace.wait_gone(NAME, 60)
