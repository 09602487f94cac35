"""The operator's own Prometheus metrics. Labels are bounded: outcomes, verbs, kinds; LlamaDeployments by namespace and name."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from llama_operator.telemetry.cost import ApiPrice


class OwnMetrics:
    """All of them, on a registry of their own."""

    def __init__(self) -> None:
        """Registers everything."""
        self.registry = CollectorRegistry()
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
        self.accelerators = Gauge(
            f"{prefix}_accelerators_held", "Accelerators that its replicas hold, ready or not; 1 for each pod on a CPU.", owner, registry=self.registry
        )
        self.hour_price = Gauge(
            f"{prefix}_accelerator_hour_price_dollars", "Price of one accelerator for an hour; absent where none is known.", owner, registry=self.registry
        )
        self.api_price = Gauge(
            f"{prefix}_api_million_tokens_price_dollars",
            "What a hosted API takes for a million tokens: kind prompt or generated, bound least or most.",
            ["api", "as_of", "kind", "bound"],
            registry=self.registry,
        )

    def tell_api_prices(self, prices: Iterable[ApiPrice]) -> None:
        """The table to compare with, once: it is the installation's."""
        for price in prices:
            for kind, (least, most) in (("prompt", price.prompt), ("generated", price.generated)):
                for bound, dollars in (("least", least), ("most", most)):
                    self.api_price.labels(price.name, price.as_of, kind, bound).set(dollars)

    def tell_cost(self, namespace: str, name: str, held: int | None, hour_price: float | None) -> None:
        """What a LlamaDeployment holds, and what that costs; what is not known any more has no series."""
        for gauge, value in ((self.accelerators, held), (self.hour_price, hour_price)):
            if value is None:
                _drop(gauge, namespace, name)
            else:
                gauge.labels(namespace, name).set(value)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a LlamaDeployment that is gone."""
        for gauge in (self.desired, self.ready, self.accelerators, self.hour_price):
            _drop(gauge, namespace, name)


def _drop(gauge: Gauge, namespace: str, name: str) -> None:
    # prometheus_client raises KeyError for series that never were; a LlamaDeployment that was refused has none.
    if (namespace, name) in gauge._metrics:  # noqa: SLF001 - there is no public way to ask
        gauge.remove(namespace, name)
