"""What a deployment costs, from what Prometheus measured. Pure.

    cost           accelerators held x price of an hour, added up over the window. Held is from the moment that a node takes a pod until
                   the pod ends: a replica that loads or drains is paid for.
    idle           the part of it in which the accelerators' replica had no request in hand, loading included
    a split        of the cost by the time that requests spent in prefill and in decode, as the engine measured both
    per million    prompt tokens: cost x prefill's share / prompt tokens;  generated tokens: cost x decode's share / generated tokens
    an API         the same tokens at its prices

The times are of requests, which the engine batches: a second of prefill and a second of decode count alike, however many run beside. The
split is thus by the engine's own book-keeping, not by what each phase takes of a GPU. Money is in dollars throughout, as the prices given.

What was not measured is None, and so is all that would need it: no cost is ever 0 because a number is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MILLION = 1_000_000
HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class ApiPrice:
    """What a hosted API takes for a million tokens, in dollars: the least and the most of what is offered."""

    name: str
    as_of: str
    """Month of the prices, as in 2024-07."""
    prompt: tuple[float, float]
    generated: tuple[float, float]


API_PRICES = (
    ApiPrice(name="Llama 3.1 405B, hosted", as_of="2024-07", prompt=(3.0, 9.0), generated=(3.0, 15.0)),
    ApiPrice(name="GPT-4o", as_of="2024-07", prompt=(5.0, 5.0), generated=(15.0, 15.0)),
)
"""Where an installation gives none: what hosted models of that size cost when Llama 3.1 405B was released. GPT-4o's of July 2024:
https://jeffwang.substack.com/p/llama-31-405b. The range of the hosted 405B was put together then from the offers of several hosts; no one
page shows it. Prices move: the chart's `cost.apiPrices` takes your own."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What Prometheus knows of one deployment and window. None: nothing is known."""

    window_seconds: float
    known_seconds: float
    """Of the window, in which accelerators and price were both known."""
    cost: float | None
    idle_cost: float | None
    accelerator_hours: float | None
    prompt_tokens: float | None
    generated_tokens: float | None
    prefill_seconds: float | None
    decode_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class AtApi:
    """The same tokens at an API."""

    price: ApiPrice
    least: float
    most: float
    """Dollars for the window's tokens."""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a window cost. Dollars; None where it cannot be known."""

    measured: Measured
    per_hour: float | None
    """While something was held and its price known."""
    idle_share: float | None
    prefill_share: float | None
    per_million_prompt: float | None
    per_million_generated: float | None
    apis: Sequence[AtApi]


def bill(measured: Measured, prices: Sequence[ApiPrice]) -> Bill:
    """The bill of a window. Every division by nothing is None: no token, no price of a token."""
    share = prefill_share(measured.prefill_seconds, measured.decode_seconds)
    cost = measured.cost
    prompt = None if cost is None or share is None else cost * share
    generated = None if cost is None or share is None else cost * (1 - share)
    return Bill(
        measured=measured,
        per_hour=_ratio(cost, measured.known_seconds / HOUR),
        idle_share=_ratio(measured.idle_cost, cost),
        prefill_share=share,
        per_million_prompt=_per_million(prompt, measured.prompt_tokens),
        per_million_generated=_per_million(generated, measured.generated_tokens),
        apis=at_apis(measured, prices),
    )


def prefill_share(prefill_seconds: float | None, decode_seconds: float | None) -> float | None:
    """Of the requests' time in the engine, from 0 to 1."""
    if prefill_seconds is None or decode_seconds is None:
        return None
    return _ratio(prefill_seconds, prefill_seconds + decode_seconds)


def at_apis(measured: Measured, prices: Sequence[ApiPrice]) -> list[AtApi]:
    """The window's tokens at each API; nothing where the tokens are not known."""
    prompt, generated = measured.prompt_tokens, measured.generated_tokens
    if prompt is None or generated is None:
        return []
    least, most = ([(prompt * price.prompt[bound] + generated * price.generated[bound]) / MILLION for price in prices] for bound in (0, 1))
    return [AtApi(price=price, least=low, most=high) for price, low, high in zip(prices, least, most, strict=True)]


def to_document(found: Bill) -> Mapping[str, object]:
    """The bill as JSON: names in camel case, units in the names, null where nothing is known."""
    measured = found.measured
    return {
        "windowSeconds": measured.window_seconds,
        "knownSeconds": measured.known_seconds,
        "costDollars": measured.cost,
        "costPerHourDollars": found.per_hour,
        "idleCostDollars": measured.idle_cost,
        "idleShare": found.idle_share,
        "acceleratorHours": measured.accelerator_hours,
        "promptTokens": measured.prompt_tokens,
        "generatedTokens": measured.generated_tokens,
        "prefillSeconds": measured.prefill_seconds,
        "decodeSeconds": measured.decode_seconds,
        "prefillShare": found.prefill_share,
        "perMillionPromptTokensDollars": found.per_million_prompt,
        "perMillionGeneratedTokensDollars": found.per_million_generated,
        "apis": [
            {
                "name": api.price.name,
                "asOf": api.price.as_of,
                "perMillionPromptTokensDollars": list(api.price.prompt),
                "perMillionGeneratedTokensDollars": list(api.price.generated),
                "costDollars": [api.least, api.most],
            }
            for api in found.apis
        ],
    }


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _per_million(cost: float | None, tokens: float | None) -> float | None:
    return _ratio(None if cost is None else cost * MILLION, tokens)
