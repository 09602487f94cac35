"""The operator's own Prometheus metrics. Labels are bounded: outcomes, verbs, kinds; LlamaDeployments by namespace and name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from llama_operator.adapters.cost_metrics import CostMetrics


class OwnMetrics:
    """All of them, on a registry of their own."""

    def __init__(self) -> None:
        """Registers everything."""
        self.registry = CollectorRegistry()
        self.cost = CostMetrics(self.registry)
        prefix = "llama_operator"
        self.passes = Counter(f"{prefix}_reconcile_passes", "Passes over a LlamaDeployment.", ["outcome"], registry=self.registry)
        self.duration = Histogram(
            f"{prefix}_reconcile_duration_seconds",
            "Time of a pass.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.writes = Counter(f"{prefix}_api_writes", "Writes to the API server.", ["verb", "kind"], registry=self.registry)
        self.queue_depth = Gauge(f"{prefix}_queue_depth", "LlamaDeployments that wait for a pass.", registry=self.registry)
        self.leading = Gauge(f"{prefix}_leading", "1 while this process holds the Lease.", registry=self.registry)
        self.decisions = Counter(f"{prefix}_autoscaler_decisions", "Decisions of the autoscaler.", ["reason"], registry=self.registry)
        owner = ["namespace", "name"]
        self.desired = Gauge(f"{prefix}_desired_replicas", "Replicas wanted.", owner, registry=self.registry)
        self.ready = Gauge(f"{prefix}_ready_replicas", "Replicas that serve.", owner, registry=self.registry)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a LlamaDeployment that is gone."""
        self.cost.forget(namespace, name)
        for gauge in (self.desired, self.ready):
            # prometheus_client raises KeyError for series that never were; a LlamaDeployment that was refused has none.
            if (namespace, name) in gauge._metrics:  # noqa: SLF001 - there is no public way to ask
                gauge.remove(namespace, name)
