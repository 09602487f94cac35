"""The operator's own Prometheus metrics. Labels are bounded: outcomes, verbs, kinds; LlamaDeployments by namespace and name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from llama_operator.rendering.names import Key


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
        self.holds = Counter(
            f"{prefix}_autoscaler_holds", "Decisions to change nothing because nothing could be known.", ["reason"], registry=self.registry
        )
        owner = ["namespace", "name"]
        self.desired = Gauge(f"{prefix}_desired_replicas", "Replicas wanted.", owner, registry=self.registry)
        self.ready = Gauge(f"{prefix}_ready_replicas", "Replicas that serve.", owner, registry=self.registry)
        self.loading = Gauge(f"{prefix}_loading_replicas", "Replicas that exist and do not serve yet.", owner, registry=self.registry)
        self.holding = Gauge(f"{prefix}_autoscaler_holding", "1 while the autoscaler cannot see.", owner, registry=self.registry)
        self.votes = Gauge(
            f"{prefix}_autoscaler_vote_replicas", "Replicas that a signal asks for.", [*owner, "signal"], registry=self.registry
        )

    def tell(self, key: Key, desired: int, ready: int, current: int, votes: Mapping[str, float] | None, *, holding: bool) -> None:
        """What a pass found. `votes` in replicas by signal; None where nothing scales it by itself."""
        owner = (key.namespace, key.name)
        self.desired.labels(*owner).set(desired)
        self.ready.labels(*owner).set(ready)
        self.loading.labels(*owner).set(max(current - ready, 0))
        _drop(self.votes, owner, keep=votes or ())
        for signal, replicas in (votes or {}).items():
            self.votes.labels(*owner, signal).set(replicas)
        if votes is None:
            _drop(self.holding, owner)
        else:
            self.holding.labels(*owner).set(holding)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a LlamaDeployment that is gone."""
        for gauge in (self.desired, self.ready, self.loading, self.holding, self.votes):
            _drop(gauge, (namespace, name))


def _drop(gauge: Gauge, owner: tuple[str, str], keep: Collection[str] = ()) -> None:
    """The series of that owner, but for those whose further label is to be kept."""
    # prometheus_client raises KeyError for series that never were; a LlamaDeployment that was refused has none.
    for labels in [labels for labels in gauge._metrics if labels[:2] == owner and not set(labels[2:]) & set(keep)]:  # noqa: SLF001 - there is no public way to ask
        gauge.remove(*labels)
