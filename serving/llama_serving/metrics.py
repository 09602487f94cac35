"""The gauges and counters that a replica exports through Ray: on port 8080 of its pod, with `ray_` before the name.

`llama_requests_in_flight` is ours, for both engines: requests that entered the replica's HTTP surface and are not answered whole, the
engine's queue included; `llama_last_request_timestamp_seconds` is when the last of them came or left. The others are vLLM's families,
written here for the simulated engine, so that dashboards and the autoscaler read one set of names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llama_serving.config import FIRST_TOKEN_BUCKETS

if TYPE_CHECKING:
    from llama_serving.engines.simulated import SimulatedEngine
    from llama_serving.server import Gauge

IN_FLIGHT = "llama_requests_in_flight"
LAST_REQUEST = "llama_last_request_timestamp_seconds"

# The bounds of vLLM 0.29.0 (vllm/v1/metrics/loggers.py), as those of the first token are: a rule counts by them.
INTER_TOKEN_BUCKETS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0]
LATENCY_BUCKETS = [
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
]
HISTOGRAMS: dict[str, tuple[str, str, list[float]]] = {
    "first_token": ("vllm_time_to_first_token_seconds", "From a request's arrival to its first token.", list(FIRST_TOKEN_BUCKETS)),
    "inter_token": ("vllm_inter_token_latency_seconds", "Between two tokens of a stream.", INTER_TOKEN_BUCKETS),
    "queue": ("vllm_request_queue_time_seconds", "Wait for a slot.", LATENCY_BUCKETS),
    "prefill": ("vllm_request_prefill_time_seconds", "Time in prefill.", LATENCY_BUCKETS),
    "decode": ("vllm_request_decode_time_seconds", "Time in decode.", LATENCY_BUCKETS),
    "whole": ("vllm_e2e_request_latency_seconds", "From a request's arrival to its last token.", LATENCY_BUCKETS),
}
# vLLM logs its statistics with every step; twice a second is as fine as any scrape.
EXPORT_SECONDS = 0.5


def in_flight_gauge() -> Gauge:
    """The gauge of requests in flight, with Serve's labels `application`, `deployment`, `replica`."""
    from ray.serve import metrics  # lazy: pulls in Ray

    gauge: Gauge = metrics.Gauge(IN_FLIGHT, description="Requests in this replica: running and queued.")
    return gauge


def last_request_gauge() -> Gauge:
    """The gauge of the moment of the last request, with Serve's labels."""
    from ray.serve import metrics  # lazy: pulls in Ray

    gauge: Gauge = metrics.Gauge(LAST_REQUEST, description="When a request last came to this replica or left it, seconds since 1970.")
    return gauge


class SimulatedMetrics:
    """vLLM's families for the simulated engine; labels model_name, engine and ReplicaId, as vLLM's own Ray logger sets them."""

    def __init__(self, engine: SimulatedEngine, model: str) -> None:
        from ray import serve  # lazy: pulls in Ray
        from ray.util import metrics

        self._engine = engine
        self._tags = {"model_name": model, "engine": "0", "ReplicaId": serve.get_replica_context().replica_id.unique_id}
        keys = tuple(self._tags)

        def gauge(name: str, text: str) -> Any:
            return metrics.Gauge(name, description=text, tag_keys=keys)

        self._running = gauge("vllm_num_requests_running", "Requests in a slot of the engine.")
        self._waiting = gauge("vllm_num_requests_waiting", "Requests that wait for a slot.")
        self._kv = gauge("vllm_kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.")
        self._generated = metrics.Counter("vllm_generation_tokens", description="Tokens generated.", tag_keys=keys)
        self._prompted = metrics.Counter("vllm_prompt_tokens", description="Prompt tokens processed.", tag_keys=keys)
        self._finished = metrics.Counter("vllm_request_success", description="Requests finished.", tag_keys=(*keys, "finished_reason"))
        self._histograms = {
            kind: metrics.Histogram(name, description=text, boundaries=bounds, tag_keys=keys)
            for kind, (name, text, bounds) in HISTOGRAMS.items()
        }
        self._told = {"generation": 0, "prompt": 0}
        self._told_finished: dict[str, int] = {}

    async def run(self) -> None:
        """Export for ever; stops when the ordered fault is `no-metrics`."""
        while self._engine.fault_due() != "no-metrics":
            self.export()
            # The pace of the export, not a wait for something.
            await asyncio.sleep(EXPORT_SECONDS)

    def export(self) -> None:
        """Write the present values."""
        counters = self._engine.counters
        self._running.set(counters.running, self._tags)
        self._waiting.set(counters.waiting, self._tags)
        self._kv.set(min(1.0, counters.running / self._engine.args.slots), self._tags)
        self._advance(self._generated, "generation", counters.generation_tokens)
        self._advance(self._prompted, "prompt", counters.prompt_tokens)
        for reason, count in counters.finished.items():
            if step := count - self._told_finished.get(reason, 0):
                self._finished.inc(step, {**self._tags, "finished_reason": reason})
                self._told_finished[reason] = count
        for kind, seconds in self._engine.timings.drain():
            self._histograms[kind].observe(seconds, self._tags)

    def _advance(self, counter: Any, key: str, value: int) -> None:
        if step := value - self._told[key]:
            counter.inc(step, self._tags)
            self._told[key] = value
