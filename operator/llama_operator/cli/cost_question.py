"""What `kubectl llama cost` asks: the options read, a Prometheus found, its answers put together.

The Prometheus is, in this order:
    --prometheus http://…              that one
    --prometheus NAMESPACE/SERVICE:PORT  that Service, through the API server
    nothing                            the one that the operator was given (its Deployment says which), through the API server where it is a
                                       Service of the cluster
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from llama_operator.adapters.kubectl import Kubectl, KubectlError, service_of, together
from llama_operator.adapters.prometheus_instant import PrometheusError, PrometheusInstant, Sample
from llama_operator.api.group import NAME
from llama_operator.api.price import MOST
from llama_operator.api.problems import Problem
from llama_operator.cli.cluster import Cluster, check_namespace
from llama_operator.cli.doctor_reading import OPERATORS, Ambiguous, everything, of_operators, prometheus_url
from llama_operator.cli.numbers import LONGEST, read_window
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.telemetry import cost_queries as ask
from llama_operator.telemetry.cost import API_PRICES, ApiPrice, Bill, Measured, bill

SHORTEST = 60
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SERVICE = re.compile(rf"({_LABEL})/({_LABEL}):([0-9]{{1,5}})", re.ASCII)
_PRICE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
SET_UP = "See docs/cost.md."
ANSWER_SECONDS = 30
"""For one answer over a long window. Prometheus' own limit is two minutes, too long for somebody at a terminal."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whose cost, over how much time, and where to ask."""

    namespace: str
    name: str
    window: int
    prometheus: PrometheusInstant
    hour_price: float | None
    """Instead of what the installation says."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The bill, and what is to be known of it."""

    question: Question
    bill: Bill
    notes: Sequence[str]


def read_question(arguments: argparse.Namespace) -> Question:
    """The options, and a Prometheus. Raises BadInput with all that is wrong, or where no Prometheus can be found."""
    cluster = Cluster.of(arguments)
    check_namespace("--operator-namespace", arguments.operator_namespace)
    problems = []
    if len(arguments.name) > 63 or re.fullmatch(NAME, arguments.name) is None:
        remedy = "Name a LlamaDeployment: kubectl get lld -A lists them."
        problems.append(Problem(field="NAME", given=quoted(arguments.name), allowed="a name of Kubernetes", remedy=remedy))
    window = read_window(arguments.window)
    if window is None or not SHORTEST <= window <= LONGEST:
        allowed = "a time from 1m to 366d, as in 30m, 24h or 7d"
        problems.append(Problem(field="--window", given=quoted(arguments.window), allowed=allowed, remedy="Correct it."))
    given = arguments.gpu_hour_price
    price = float(given) if given is not None and _PRICE.fullmatch(given) else None
    if given is not None and (price is None or price > MOST):
        allowed = f"dollars for one accelerator and hour, at most {MOST:g}"
        problems.append(Problem(field="--gpu-hour-price", given=quoted(given), allowed=allowed, remedy="Correct it."))
    if arguments.prometheus is not None and not (_is_url(arguments.prometheus) or _SERVICE.fullmatch(arguments.prometheus)):
        allowed = "http://…, https://… or NAMESPACE/SERVICE:PORT"
        problems.append(Problem(field="--prometheus", given=quoted(arguments.prometheus), allowed=allowed, remedy="Correct it."))
    if problems:
        raise BadInput.of(*problems)
    namespace, prometheus = together(
        lambda: cluster.namespace,
        lambda: _prometheus(cluster.kubectl, arguments.prometheus, arguments.operator_namespace),
    )
    return Question(namespace=namespace, name=arguments.name, window=window or 0, prometheus=prometheus, hour_price=price)


def answer(question: Question) -> Answer:
    """Asks Prometheus. Raises BadInput where it cannot answer, or knows nothing of the deployment."""
    try:
        numbers, prices = _ask(question, time.time())
    except PrometheusError as error:
        remedy = f"Give --prometheus: a URL that is reached from here, or NAMESPACE/SERVICE:PORT. {SET_UP}"
        allowed = "a Prometheus that answers"
        raise BadInput.of(Problem(field="--prometheus", given=str(error), allowed=allowed, remedy=remedy)) from None
    seconds = ask.step_seconds(question.window)
    held = numbers["accelerator_steps"]
    if held is None and numbers["prompt_tokens"] is None and numbers["generated_tokens"] is None:
        given = f"{question.namespace}/{question.name}, of which Prometheus knows nothing within {question.window} s"
        remedy = f"Correct NAME and --namespace, or ask for a longer --window; is the operator scraped? {SET_UP}"
        raise BadInput.of(Problem(field="NAME", given=given, allowed="a LlamaDeployment that Prometheus has seen", remedy=remedy))
    scale = seconds / 3600 if question.hour_price is None else seconds / 3600 * question.hour_price
    which = ("cost", "idle_cost") if question.hour_price is None else ("accelerator", "idle_accelerator")
    cost, idle = (numbers[f"{kind}_steps"] for kind in which)
    known = numbers["known_steps"] if question.hour_price is None else numbers["held_steps"]
    measured = Measured(
        window_seconds=question.window,
        known_seconds=(known or 0.0) * seconds,
        cost=None if cost is None else cost * scale,
        idle_cost=None if idle is None else idle * scale,
        accelerator_hours=None if held is None else held * seconds / 3600,
        prompt_tokens=numbers["prompt_tokens"],
        generated_tokens=numbers["generated_tokens"],
        prefill_seconds=numbers["prefill_seconds"],
        decode_seconds=numbers["decode_seconds"],
    )
    found = bill(measured, prices or API_PRICES)
    return Answer(question=question, bill=found, notes=_notes(question, found, given=bool(prices)))


def _ask(question: Question, now: float) -> tuple[Mapping[str, float | None], list[ApiPrice]]:
    """Each number, None where Prometheus has none, and the table of API prices. Raises PrometheusError."""
    queries = ask.bill_queries(question.namespace, question.name, question.window)
    *found, rows = question.prometheus.vectors([*queries.values(), ask.API_PRICES_QUERY], now)
    return dict(zip(queries, map(_only, found), strict=True)), read_table([(row.labels, row.value) for row in rows])


def _only(samples: Sequence[Sample]) -> float | None:
    if len(samples) > 1:
        raise PrometheusError(f"the answer has {len(samples)} series where one was asked for")
    return samples[0].value if samples else None


def read_table(rows: Sequence[tuple[Mapping[str, str], float]]) -> list[ApiPrice]:
    """The API prices that the operator tells; an entry that lacks a number is left out."""
    found: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for labels, value in rows:
        entry = found.setdefault((labels.get("api", ""), labels.get("as_of", "")), {})
        entry[labels.get("kind", ""), labels.get("bound", "")] = value
    wanted = [(kind, bound) for kind in ("prompt", "generated") for bound in ("least", "most")]
    return [
        ApiPrice(
            name=name,
            as_of=as_of,
            prompt=(entry["prompt", "least"], entry["prompt", "most"]),
            generated=(entry["generated", "least"], entry["generated", "most"]),
        )
        for (name, as_of), entry in sorted(found.items())
        if all(key in entry for key in wanted)
    ]


def _prometheus(kubectl: Kubectl, given: str | None, operator_namespace: str | None) -> PrometheusInstant:
    """The one that is meant. Raises BadInput where none can be found."""
    named = _SERVICE.fullmatch(given) if given is not None else None
    url = f"http://{named[3]}.{named[1]}:{named[5]}" if named else given if given is not None else _operators(kubectl, operator_namespace)
    direct = not named if given is not None else service_of(url) is None
    return PrometheusInstant(kubectl, url, direct=direct, seconds=ANSWER_SECONDS)


def _operators(kubectl: Kubectl, namespace: str | None) -> str:
    """The address that the operator was given. Raises BadInput."""
    path = of_operators(namespace, "/apis/apps/v1", "deployments")
    try:
        url = prometheus_url(everything(kubectl, path, OPERATORS))
    except KubectlError as error:
        why = error.message
    except Ambiguous as error:
        why = str(error)
    else:
        if url is not None:
            return url
        why = "no operator of this cluster names one"
    remedy = f"Give --prometheus (a URL, or NAMESPACE/SERVICE:PORT), or --operator-namespace. {SET_UP}"
    raise BadInput.of(Problem(field="--prometheus", given=f"nothing, and {why}", allowed="one that can be found", remedy=remedy))


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and (url.port or 0) >= 0  # `port` raises beyond 65535
    except ValueError:
        return False


def _notes(question: Question, found: Bill, *, given: bool) -> list[str]:
    measured, notes = found.measured, []
    if measured.accelerator_hours is not None and measured.cost is None:
        notes.append(
            "no price of an accelerator is known: set the chart's cost.gpuHourPrices, or the annotation llama-operator.dev/gpu-hour-price, "
            "or give --gpu-hour-price"
        )
    elif measured.accelerator_hours is None:
        notes.append("Prometheus does not know what the deployment held: it must scrape the operator")
    if 0 < measured.known_seconds < measured.window_seconds - 2 * ask.step_seconds(question.window):
        share = measured.known_seconds / measured.window_seconds
        notes.append(f"accelerators and price are known for {share:.0%} of the window; nothing is added for the rest")
    if measured.cost is not None and measured.idle_cost is None:
        notes.append("idle cost is not known: Prometheus has no series of requests in flight")
    if measured.cost is not None and found.prefill_share is None:
        notes.append("the cost is not split: no request told its time in prefill and decode")
    if not given and found.apis:
        notes.append("API prices are the defaults of this command: Prometheus has no table of the operator's")
    return notes
