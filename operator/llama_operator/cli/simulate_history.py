"""`--from-prometheus`: the history of a deployment of the user's, asked for at a Prometheus, and what of it is not there."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import httpx

from llama_operator.adapters.prometheus_history import PrometheusHistory
from llama_operator.api.group import NAME
from llama_operator.api.problems import Problem
from llama_operator.cli.numbers import LAST_PORT, UNITS
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.scaling.signals import Missing
from llama_operator.simulate.history import History, begun_at, read_history, synthesise
from llama_operator.simulate.traffic import MOST_REQUESTS, Traffic, gather
from llama_operator.telemetry import names as metric

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 120.0
"""To reach a Prometheus, and for its answer: its own limit for a query is two minutes (--query.timeout,
https://prometheus.io/docs/prometheus/latest/command-line/prometheus/)."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whose history, and how much of it. Seconds."""

    url: str
    namespace: str
    deployment: str
    window: int
    step: int


def check(asked: Asked) -> list[Problem]:
    """What cannot be asked for."""
    problems = []
    try:
        url = httpx.URL(asked.url)
        sound = url.scheme in {"http", "https"} and bool(url.host) and (url.port or 0) <= LAST_PORT
    except (httpx.InvalidURL, ValueError):  # the latter of characters that no address holds
        sound = False
    if not sound:
        remedy = "Give one, as in http://localhost:9090 after kubectl port-forward."
        given = quoted(asked.url)
        problems.append(
            Problem(field="--from-prometheus", given=given, allowed="the http:// or https:// URL of a Prometheus", remedy=remedy)
        )
    for field, name in (("--deployment", asked.deployment), ("--namespace", asked.namespace)):
        if re.fullmatch(NAME if field == "--deployment" else r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) is None:
            given = quoted(name) if name else "nothing"
            problems.append(Problem(field=field, given=given, allowed="a name of Kubernetes", remedy="Name whose history it is."))
    return problems


def read(asked: Asked, seed: int, copies: int) -> tuple[Traffic, list[str]]:
    """The traffic, and what is to be known of it. Raises BadInput."""
    found = asyncio.run(_rises(asked))
    if isinstance(found, Missing):
        remedy = "See that it is reached from here, as by kubectl port-forward, and that the URL is its root."
        problem = Problem(
            field="--from-prometheus", given=f"no answer ({found.message})", allowed="a Prometheus that answers", remedy=remedy
        )
        raise BadInput.of(problem)
    requests, prompts, outputs = found.values()
    history = read_history(requests, prompts, outputs, asked.step)
    if problem_found := _problem(asked, found, history):
        raise BadInput.of(problem_found)
    return replace(gather(synthesise(history, seed), copies), begun=begun_at(history, seed)), _notes(asked, history)


async def _rises(asked: Asked) -> Mapping[str, Mapping[float, float]] | Missing:
    # On the grid of the step, so that the same window asks for the same numbers.
    end = time.time() // asked.step * asked.step
    found: dict[str, Mapping[float, float]] = {}
    async with httpx.AsyncClient(timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)) as client:
        prometheus = PrometheusHistory(client, asked.url)
        for family in metric.TRAFFIC_FAMILIES:
            query = metric.rise_query(family, asked.namespace, asked.deployment, asked.step)
            values = await prometheus.values(query, end - asked.window + asked.step, end, asked.step)
            if isinstance(values, Missing):
                return values
            found[family] = values
    return found


def _problem(asked: Asked, found: Mapping[str, Mapping[float, float]], history: History) -> Problem | None:
    whose = f"{asked.namespace}/{asked.deployment}"
    if absent := [family for family, values in found.items() if not values]:
        remedy = "Correct --namespace and --deployment, ask for a longer --window, or for a --step of at least twice the scrape interval."
        given = f"no value of {', '.join(absent)} of {whose} within {_length(asked.window)}"
        return Problem(field="--from-prometheus", given=given, allowed="a history of all three counters", remedy=remedy)
    if history.requests == 0:
        given = f"a history of {whose} in which no request was answered"
        return Problem(field="--from-prometheus", given=given, allowed="one with requests", remedy="Ask for a longer --window.")
    if history.requests > MOST_REQUESTS:
        given = f"a history of {history.requests:,} requests"
        return Problem(field="--window", given=given, allowed=f"at most {MOST_REQUESTS:,}", remedy="Ask for a shorter one.")
    return None


def _notes(asked: Asked, history: History) -> list[str]:
    notes = ["requests are rebuilt from counters: moments and lengths within a step are drawn, and a request is counted when it ends"]
    if history.seconds < asked.window - 2 * asked.step:
        notes.append(f"Prometheus has {_length(history.seconds)} of the {_length(asked.window)} that were asked for")
    if history.gaps:
        share = history.gaps * asked.step / history.seconds
        notes.append(f"nothing is known of {_length(history.gaps * asked.step)} in between ({share:.1%}): nothing arrives in it here")
    return notes


def _length(seconds: float) -> str:
    unit = "d" if seconds >= 2 * 86_400 else "h" if seconds >= 7200 else "m"
    return f"{seconds / UNITS[unit]:.3g} {'min' if unit == 'm' else unit}"
