"""Who is compared: ours, each peer at its documented defaults and over a grid of its settings, fixed numbers, and the clairvoyant scaler.

    ours                 a time to first token; it knows the replica's numbers, not its load time, which it has to learn
    ours:in-flight:N     nothing but N requests in flight for each replica, as the peers have
    PEER:N               a peer at its documented defaults, with N requests in flight for each replica
    PEER:N SETTING=S     the same with one setting changed, in seconds
    static:N             a fixed number; only hindsight knows which
    clairvoyant use=U    all arrivals known, and this share of a replica's capacity used

A policy's label says all that makes it, so that a run that is kept is known again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from llama_operator.scaling.policy import Policy
from llama_operator.scaling.service import Service as Belief
from llama_operator.simulate.policies.aibrix import Aibrix
from llama_operator.simulate.policies.aibrix_kpa import AibrixKpa
from llama_operator.simulate.policies.hpa import Hpa
from llama_operator.simulate.policies.keda import Keda
from llama_operator.simulate.policies.knative import UTILISATION, Knative
from llama_operator.simulate.policies.ours import Ours
from llama_operator.simulate.policies.ray_serve import RayServe
from llama_operator.simulate.policies.static import Static
from llama_operator.simulate.service import Service
from llama_operator.simulate.view import Scaler

TTFT_SECONDS = 6.0
MOST_REPLICAS = 24
DEFAULT_SHARES = (0.75, 1.0)
"""Targets of ours and of peers at their defaults, of what a replica that is wholly used has in flight (simulate/capacity.py): nobody
publishes a default number for language models. 0.75 and 1 are 48 and 64 of a conversation's requests, 6 and 8 of a code completion's."""
GRID_SHARES = (0.5, 0.85)
"""More of them, at the peers' defaults otherwise."""
SETTING_SHARES = (0.85, 1.0)
"""Targets at which settings are changed."""
HPA_DOWN_SECONDS = (0.0, 60.0, 600.0)
KEDA_CACHED_SECONDS = (30.0, 60.0)
KEDA_DOWN_SECONDS = 60.0
KNATIVE_WINDOWS = (30.0, 180.0, 600.0)
RAY_DELAYS = ((0.0, 600.0), (10.0, 300.0), (30.0, 60.0))
AIBRIX_WINDOW = 60.0
STATIC_SHARES = (0.8, 1.6)
"""Of the clairvoyant's mean: fewer attain nothing, and more cost more than anybody."""
USES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def ours(service: Service, full: float) -> Iterator[tuple[str, Scaler]]:
    """The operator's policy with each objective. `full`: requests in flight in a replica that is wholly used."""
    belief = Belief(prefill=service.prefill, slots=service.slots, itl=service.itl, kv=service.kv)
    timely = Policy(min_replicas=1, max_replicas=1, ttft_seconds=TTFT_SECONDS, service=belief, scale_down_seconds=None)
    yield "ours", Ours(policy=timely, kv=service.kv)
    for share in DEFAULT_SHARES:
        target = number(share, full)
        counting = Policy(min_replicas=1, max_replicas=1, in_flight_per_replica=target)
        yield f"ours:in-flight:{target:g}", Ours(policy=counting, kv=service.kv)


def peers(full: float) -> Iterator[tuple[str, Scaler]]:
    """At their defaults."""
    yield from _defaults(DEFAULT_SHARES, full)


def grid(full: float) -> Iterator[tuple[str, Scaler]]:
    """Over their settings, the defaults left out."""
    yield from _defaults(GRID_SHARES, full)
    for share in SETTING_SHARES:
        target = number(share, full)
        for seconds in HPA_DOWN_SECONDS:
            yield f"hpa:{target:g} down={seconds:g}", Hpa(target=target, down_seconds=seconds)
        for seconds in KEDA_CACHED_SECONDS:
            yield f"keda:{target:g} cached={seconds:g}", Keda(target=target, cached_seconds=seconds)
        yield f"keda:{target:g} down={KEDA_DOWN_SECONDS:g}", Keda(target=target, down_seconds=KEDA_DOWN_SECONDS)
        for up, down in RAY_DELAYS:
            yield f"ray:{target:g} up={up:g} down={down:g}", RayServe(target=target, up_seconds=up, down_seconds=down)
        yield f"aibrix:{target:g} window={AIBRIX_WINDOW:g}", Aibrix(target=target, observe_seconds=AIBRIX_WINDOW)
        yield f"aibrix-kpa:{target:g} window={AIBRIX_WINDOW:g}", AibrixKpa(target=target, observe_seconds=AIBRIX_WINDOW)
        told = number(share / UTILISATION, full)
        for seconds in KNATIVE_WINDOWS:
            yield f"kpa:{told:g} window={seconds:g}", Knative(target=told, stable_seconds=seconds)


def number(share: float, full: float) -> float:
    """Whole requests."""
    return float(max(round(share * full), 1))


def _defaults(shares: Sequence[float], full: float) -> Iterator[tuple[str, Scaler]]:
    for share in shares:
        for make in (Hpa, Keda, Knative, RayServe, Aibrix, AibrixKpa):
            scaler: Scaler = make(target=number(share, full))
            yield f"{scaler.name}:{number(share, full):g}", scaler


def fixed(known: float) -> Iterator[tuple[str, Scaler]]:
    """The numbers that cost about as much as the `known` mean of replicas."""
    least, most = (share * known for share in STATIC_SHARES)
    for replicas in range(max(math.floor(least), 1), min(math.ceil(most), MOST_REPLICAS) + 1):
        yield f"static:{replicas}", Static(replicas=replicas)
