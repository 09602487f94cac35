"""The operator's metrics of cost: what each LlamaDeployment holds, its price of an hour, and the table of APIs to compare with."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from llama_operator.telemetry import cost_metrics as known
from llama_operator.telemetry.cost import ApiPrice
from llama_operator.telemetry.metric import Metric


class CostMetrics:
    """Their gauges."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers them."""

        def gauge(metric: Metric) -> Gauge:
            return Gauge(metric.name, metric.meaning, metric.labels, registry=registry)

        self._held, self._hour_price, self._api_price = gauge(known.ACCELERATORS_HELD), gauge(known.HOUR_PRICE), gauge(known.API_PRICE)

    def tell_api_prices(self, prices: Iterable[ApiPrice]) -> None:
        """The table, once: it is the installation's."""
        for price in prices:
            for kind, (least, most) in (("prompt", price.prompt), ("generated", price.generated)):
                for bound, dollars in (("least", least), ("most", most)):
                    self._api_price.labels(price.name, price.as_of, kind, bound).set(dollars)

    def tell(self, namespace: str, name: str, held: int | None, hour_price: float | None) -> None:
        """Of one LlamaDeployment. What is not known any more has no series."""
        for gauge, value in ((self._held, held), (self._hour_price, hour_price)):
            if value is None:
                _drop(gauge, namespace, name)
            else:
                gauge.labels(namespace, name).set(value)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a LlamaDeployment that is gone."""
        for gauge in (self._held, self._hour_price):
            _drop(gauge, namespace, name)


def _drop(gauge: Gauge, namespace: str, name: str) -> None:
    # prometheus_client raises KeyError for series that never were.
    if (namespace, name) in gauge._metrics:  # noqa: SLF001 - there is no public way to ask
        gauge.remove(namespace, name)
