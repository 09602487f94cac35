"""A replica's service for the simulation: the numbers that the autoscaler begins with (`planning.replica`), as what really is."""

from __future__ import annotations

from llama_operator.planning.replica import Rates
from llama_operator.simulate.service import Service


def service_of_rates(rates: Rates) -> Service:
    """The service of a modelled replica."""
    return Service(prefill=rates.prefill, slots=rates.slots, itl=rates.itl, itl_per_sequence=rates.itl_per_sequence, kv=rates.kv)
