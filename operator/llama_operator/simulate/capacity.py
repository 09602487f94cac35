"""What one replica can sustain of a traffic whose requests are all like the mean one: for defaults, not for decisions.

sequences at once   n = min(slots, kv / (prompt + output))
a token's time      t = step with n sequences and a prefill beside them
requests a second   min(prefill / prompt, n / (output t))                        the scarcer of prompts' and sequences' room
in flight           requests a second * (prompt / prefill + output t)            Little's law, without a queue
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llama_operator.simulate.service import Service
from llama_operator.simulate.traffic import Traffic

USE = 0.7
"""Share of what a replica sustains that it is planned with. As Knative's target utilisation
(https://github.com/knative/serving/blob/main/config/core/configmaps/autoscaler.yaml, container-concurrency-target-percentage)."""
BEGIN_SECONDS = 300.0
"""Of the traffic, to tell how many replicas would be there already when it begins."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Of one replica that is wholly used."""

    requests_per_second: float
    in_flight: float


def capacity(service: Service, prompt: float, output: float) -> Capacity:
    """For requests of that many tokens, both above 0."""
    sequences = max(1, min(service.slots, int(min(service.kv / (prompt + output), service.slots))))
    pace = 1 / service.rates(sequences, prefilling=True)[1]
    rate = min(service.prefill / prompt, sequences / (output * pace))
    return Capacity(requests_per_second=rate, in_flight=rate * (prompt / service.prefill + output * pace))


def in_flight_target(service: Service, traffic: Traffic) -> int:
    """Requests in flight for each replica at USE of its capacity: what a careful user would tell a scaler that counts requests."""
    if not len(traffic):
        return 1
    return max(1, round(USE * capacity(service, max(traffic.mean_prompt, 1.0), max(traffic.mean_output, 1.0)).in_flight))


def replicas_at_begin(service: Service, traffic: Traffic) -> int:
    """Replicas that the first BEGIN_SECONDS need at USE of their capacity, as if the traffic had been the same before."""
    requests, prompts, outputs = traffic.begin(BEGIN_SECONDS)
    if not requests:
        return 0
    each = capacity(service, max(prompts / requests, 1.0), max(outputs / requests, 1.0))
    return math.ceil(requests / (USE * each.requests_per_second))
