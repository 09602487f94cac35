"""The operator's own Prometheus metrics; `telemetry/operator_metrics.py` says what each is.

Those of the process are prometheus_client's. Those of a LlamaDeployment stand on a Board, which drops them with their owner; the counters
among them are kept here, from the moment at which this process began to lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from llama_operator.lifecycle.measures import REPLICA_LOST, Happened, Seen
from llama_operator.rendering.names import Key
from llama_operator.telemetry import cost_metrics as cost
from llama_operator.telemetry import operator_metrics as names
from llama_operator.telemetry.cost import ApiPrice
from llama_operator.telemetry.exposition import Board, Sample
from llama_operator.telemetry.metric import Metric

DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class OwnMetrics:
    """All of them."""

    def __init__(self) -> None:
        """Registers everything, on a registry of its own."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._duration = Histogram(*self._told(names.RECONCILE_DURATION), buckets=DURATION_BUCKETS, registry=self.registry)
        self._passes = self._counter(names.PASSES)
        self._writes = self._counter(names.WRITES)
        self._errors = self._counter(names.API_ERRORS)
        self.decisions = self._counter(names.DECISIONS)
        self.holds = self._counter(names.HOLDS)
        self.queue_depth = self._gauge(names.QUEUE_DEPTH)
        self.queue_oldest = self._gauge(names.QUEUE_OLDEST)
        self.leading = self._gauge(names.LEADING)
        self._api_price = self._gauge(cost.API_PRICE)
        self.board = Board[Key]((*names.PER_DEPLOYMENT, *cost.PER_DEPLOYMENT))
        self._counts: dict[Key, dict[tuple[Metric, str], float]] = {}
        self._canary: dict[Key, float] = {}
        self._leaders: dict[Key, Mapping[str, Seen]] = {}

    def _told(self, metric: Metric) -> tuple[str, str, tuple[str, ...]]:
        return metric.name, metric.meaning, metric.labels

    def _counter(self, metric: Metric) -> Counter:
        return Counter(*self._told(metric), registry=self.registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(*self._told(metric), registry=self.registry)

    def tell_api_prices(self, prices: Iterable[ApiPrice]) -> None:
        """The table of APIs to compare with, once: it is the installation's."""
        for price in prices:
            for kind, (least, most) in (("prompt", price.prompt), ("generated", price.generated)):
                for bound, dollars in (("least", least), ("most", most)):
                    self._api_price.labels(price.name, price.as_of, kind, bound).set(dollars)

    def passed(self, outcome: str, seconds: float) -> None:
        """A pass has ended."""
        self._passes.labels(outcome).inc()
        self._duration.labels(outcome).observe(seconds)

    def wrote(self, verb: str, kind: str) -> None:
        """A write goes to the API server."""
        self._writes.labels(verb, kind).inc()

    def refused(self, method: str, status: int) -> None:
        """The API server refused a request, or (0) did not answer."""
        self._errors.labels(method, str(status)).inc()

    def leaders(self, key: Key) -> Mapping[str, Seen]:
        """What the last pass saw of the gangs' leaders."""
        return self._leaders.get(key, {})

    def happened(self, key: Key, what: Happened) -> None:
        """Count what happened to a LlamaDeployment since the last pass."""
        self._leaders[key] = what.leaders
        for cause in what.restarts:
            self._count(key, names.RESTARTS, cause, 1)
        for cause in {REPLICA_LOST, *what.cut}:
            # From the first pass on, at 0: the rise of a series that was not there is not seen.
            self._count(key, names.STREAMS_CUT, cause, what.cut.get(cause, 0))

    def canary(self, key: Key, outcome: str, seconds: float | None) -> None:
        """A canary request has ended; `seconds` to its first token where one came. It shows with the next pass."""
        if key in self._counts:
            self._count(key, names.CANARY_REQUESTS, outcome, 1)
            if seconds is not None:
                self._canary[key] = seconds

    def _count(self, key: Key, metric: Metric, label: str, by: float) -> None:
        counts = self._counts.setdefault(key, {})
        counts[metric, label] = counts.get((metric, label), 0.0) + by

    def show(self, key: Key, gauges: Iterable[Sample]) -> None:
        """The gauges of a LlamaDeployment, and its counters as they stand."""
        owner = (key.namespace, key.name)
        counted = [
            Sample(metric=metric, labels=(*owner, label), value=value) for (metric, label), value in self._counts.get(key, {}).items()
        ]
        asked = [Sample(metric=names.CANARY_TTFT, labels=owner, value=self._canary[key])] if key in self._canary else []
        self.board.put(key, (*gauges, *counted, *asked))

    def forget(self, key: Key) -> None:
        """Drop every series of a LlamaDeployment that is gone."""
        self.board.forget(key)
        for kept in (self._counts, self._canary, self._leaders):
            kept.pop(key, None)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry) + self.board.text().encode()
