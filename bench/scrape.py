"""How long a scrape of the operator takes, and how many series it has: python -m bench.scrape [DEPLOYMENTS] [REPLICAS]

Prints the figures of docs/figures.md: series, bytes, and the time to write the whole in Prometheus' text format, which is what the scrape
takes of the operator's event loop.
"""

from __future__ import annotations

import statistics
import sys
import time

from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.measures import Happened, gauges
from llama_operator.lifecycle.scaling_view import ScalingView, VoteView
from llama_operator.rendering.names import Key

ROUNDS = 50


def fill(deployments: int, replicas: int) -> OwnMetrics:
    """Deployments with autoscaling, both latency objectives, a plan and a restart."""
    metrics = OwnMetrics()
    spec = LlamaDeploymentSpec.model_validate(
        {
            "model": {"source": "file:///m"},
            "hardware": {"accelerator": "nvidia-h100-80gb"},
            "autoscaling": {"maxReplicas": 4, "objective": {"inFlightPerReplica": 8}},
            "objectives": {"timeToFirstTokenSeconds": 2, "interTokenSeconds": 0.1},
        }
    )
    wanted = {"requests": 1.2, "slots": 1.5, "prompts": 0.5, "cache": 0.25}
    votes = [VoteView(signal=signal, value=10 * vote, replicas=vote, age_seconds=3) for signal, vote in wanted.items()]
    view = ScalingView(enabled=True, desired=replicas, votes=votes, expected=1.5)
    for number in range(deployments):
        key = Key(f"team-{number % 20}", f"llama-{number}")
        status = {
            "phase": "Ready",
            "revision": "0123456789",
            "readyReplicas": replicas,
            "plan": {"observed": {"ratio": 0.99, "weightRatio": 1.0, "memoryRatio": 1.01}},
            "replicas": [
                {"gang": gang, "phase": "Ready", "since": "2026-01-01T00:00:00Z", "pods": [f"{key.name}-0123456789-g{gang}-0"]}
                for gang in range(replicas)
            ],
        }
        metrics.happened(key, Happened(restarts=["PodLost"]))
        metrics.show(key, gauges(key, spec, key.name, status, view))
    return metrics


def main(arguments: list[str]) -> None:
    """Print the figures."""
    deployments, replicas = int(arguments[0]) if arguments else 200, int(arguments[1]) if arguments[1:] else 2
    metrics = fill(deployments, replicas)
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        text = metrics.exposition()
        times.append((time.perf_counter() - begun) * 1000)
    series = sum(1 for line in text.splitlines() if not line.startswith(b"#"))
    print(f"{deployments} LlamaDeployments of {replicas} replicas: {series} series, {len(text) / 1e6:.2f} MB")
    print(f"scrape: median {statistics.median(times):.1f} ms, worst of {ROUNDS} {max(times):.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
