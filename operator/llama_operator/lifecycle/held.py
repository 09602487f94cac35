"""How many accelerators a LlamaDeployment holds, whether they serve or not: what it is charged for. Pure."""

from __future__ import annotations

from llama_operator.lifecycle.observed import World
from llama_operator.rendering import names
from llama_operator.telemetry import cost_metrics as cost
from llama_operator.telemetry.exposition import Sample


def accelerators_held(world: World) -> int | None:
    """GPUs of its pods that a node has taken and that have not ended; a pod whose engine runs on the CPU counts as one.

    None where the size of such a pod is not known: its revision is not pinned any more.
    """
    held = 0
    for pod in world.pods:
        if pod.component != names.REPLICA or pod.node is None or pod.ended is not None:
            continue
        pinned = world.pinned.get(pod.revision)
        if pinned is None:
            return None
        held += max(pinned.gpus_per_pod, 1)
    return held


def cost_gauges(world: World, hour_price: float | None) -> list[Sample]:
    """What Prometheus is told of its cost; what is not known has no series."""
    owner = (world.key.namespace, world.key.name)
    known = ((cost.ACCELERATORS_HELD, accelerators_held(world)), (cost.HOUR_PRICE, hour_price))
    return [Sample(metric=metric, labels=owner, value=float(value)) for metric, value in known if value is not None]
