"""From samples to a load: what only one family knows is still load, and what cannot be trusted is Missing, never a smaller sum."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from llama_operator.scaling.signals import Load, Missing, Series, read_load, see_held
from llama_operator.telemetry import names as metric

NOW = 1_790_000_000.0
AGE = 15.0
OURS, SERVE, RUNNING, WAITING, QUEUED = (
    metric.REQUESTS_IN_FLIGHT,
    metric.SERVE_PROCESSING,
    metric.VLLM_RUNNING,
    metric.VLLM_WAITING,
    metric.SERVE_QUEUED,
)


def series(name: str, pod: str, value: float, age: float = 2.0, before: float | None = None) -> Series:
    """`before` is the value 10 s earlier."""
    earlier = None if before is None else (NOW - age - 10, before)
    return Series(name=name, pod=pod, revision="r", time=NOW - age, value=value, before=earlier)


def load(*samples: Series, expected: str = "a", live: str = "ab") -> Load | Missing:
    return read_load(samples, set(expected), set(live), NOW, AGE)


SUMS: dict[str, tuple[tuple[Series, ...], float, float]] = {
    # sentence: samples, in flight, held
    "Serve's count is the load of a replica whose engine says nothing yet": ((series(SERVE, "a", 3),), 3, 0),
    "our own count is enough": ((series(OURS, "a", 4),), 4, 0),
    "running and waiting add up": ((series(RUNNING, "a", 3), series(WAITING, "a", 5)), 8, 0),
    "of Serve and the engine the larger counts": ((series(SERVE, "a", 6), series(RUNNING, "a", 3), series(WAITING, "a", 1)), 6, 0),
    "ours and Serve's are two views of one thing": ((series(OURS, "a", 6), series(SERVE, "a", 5)), 6, 0),
    "replicas add up": ((series(SERVE, "a", 3), series(RUNNING, "b", 4)), 7, 0),
    "several engines in a pod add up": ((series(RUNNING, "a", 3), series(RUNNING, "a", 2)), 5, 0),
    "what proxies hold comes on top, of whichever pod": ((series(SERVE, "a", 1), series(QUEUED, "a", 2), series(QUEUED, "b", 3)), 1, 5),
    "series of a pod that is gone do not count": ((series(SERVE, "a", 1), series(SERVE, "gone", 50)), 1, 0),
    "a stale series of a replica that is not expected does not count": ((series(SERVE, "a", 1), series(SERVE, "b", 9, age=100)), 1, 0),
    "a young replica counts as soon as it is seen": ((series(SERVE, "a", 1), series(SERVE, "b", 9)), 10, 0),
    "nothing to do is zero, when it is said": ((series(SERVE, "a", 0),), 0, 0),
    "a sample as old as is allowed counts": ((series(SERVE, "a", 2, age=AGE),), 2, 0),
    "a clock that is a little ahead does not matter": ((series(SERVE, "a", 2, age=-AGE),), 2, 0),
}


@pytest.mark.parametrize("sentence", SUMS)
def test_sum(sentence: str) -> None:
    samples, in_flight, held = SUMS[sentence]
    seen = load(*samples)
    assert isinstance(seen, Load)
    assert (seen.in_flight, seen.held, seen.total) == (in_flight, held, in_flight + held)


def test_of_replicas_whose_engines_have_a_queue_batch_and_cache_are_told() -> None:
    use = metric.VLLM_KV_USE
    of_a, of_b = ((series(RUNNING, pod, 64), series(use, pod, 0.5), series(WAITING, pod, queue)) for pod, queue in (("a", 3), ("b", 0)))
    told = load(*of_a, *of_b)
    assert isinstance(told, Load)
    assert told.queues == ((64, 0.5),)
    # One that does not tell its cache is left out: missing is not zero.
    told = load(*of_a[::2], *of_b)
    assert isinstance(told, Load)
    assert told.queues == ()


MISSING: dict[str, tuple[tuple[Series, ...], str, str]] = {
    "a replica that serves and has no series": (
        (series(SERVE, "b", 1),),
        "MetricsMissing",
        "Prometheus has no request metric of pod a, which serves",
    ),
    "a replica of which only the proxy is seen": (
        (series(QUEUED, "a", 1),),
        "MetricsMissing",
        "Prometheus has no request metric of pod a, which serves",
    ),
    "a replica whose samples grew old": (
        (series(SERVE, "a", 1, age=40), series(RUNNING, "a", 1, age=90)),
        "MetricsStale",
        "the newest sample of pod a is 40 s old, allowed are 15 s",
    ),
    "a clock that is ahead": (
        (series(SERVE, "a", 1, age=-16),),
        "MetricsContradictory",
        "the newest sample is of 16 s from now; Prometheus' clock and the operator's contradict each other: mend the time on their nodes",
    ),
    "not a number": ((series(SERVE, "a", float("nan")),), "MetricsInvalid", f"{SERVE} of pod a is nan, which is no number of requests"),
    "infinite": ((series(SERVE, "a", float("inf")),), "MetricsInvalid", f"{SERVE} of pod a is inf, which is no number of requests"),
    "more requests than there ever were": (
        (series(SERVE, "a", 1.7e308), series(SERVE, "b", 1.7e308)),
        "MetricsInvalid",
        f"{SERVE} of pod a is 1.7e+308, which is no number of requests",
    ),
    "more tokens than there ever were": (
        (series(SERVE, "a", 1), series(metric.VLLM_OUTPUT_TOKENS, "a", 2e15)),
        "MetricsInvalid",
        f"{metric.VLLM_OUTPUT_TOKENS} of pod a is 2000000000000000.0, which is no number of tokens",
    ),
    "a cache fuller than full": (
        (series(SERVE, "a", 1), series(metric.VLLM_KV_USE, "a", 1.5)),
        "MetricsInvalid",
        f"{metric.VLLM_KV_USE} of pod a is 1.5, which is no share of a cache",
    ),
    "tokens that are no number": (
        (series(SERVE, "a", 1), series(metric.VLLM_PROMPT_TOKENS, "a", float("nan"))),
        "MetricsInvalid",
        f"{metric.VLLM_PROMPT_TOKENS} of pod a is nan, which is no number of tokens",
    ),
    "negative": ((series(QUEUED, "b", -1),), "MetricsInvalid", f"{QUEUED} of pod b is -1, which is no number of requests"),
    "no series at all": ((), "MetricsMissing", "Prometheus has no request metric of pod a, which serves"),
}


@pytest.mark.parametrize("sentence", MISSING)
def test_missing(sentence: str) -> None:
    samples, reason, message = MISSING[sentence]
    seen = load(*samples)
    assert isinstance(seen, Missing)
    assert (seen.reason, seen.message.replace("-1.0", "-1")) == (reason, message)


def test_while_nobody_serves_no_series_is_missing_and_a_held_request_is_load() -> None:
    assert load(expected="") == Missing(reason="MetricsMissing", message="Prometheus has no request metric of any pod yet")
    held = load(series(QUEUED, "b", 3), expected="")
    assert isinstance(held, Load)
    assert (held.total, held.replicas_seen) == (3, 0)


def test_a_nan_of_a_pod_that_is_gone_blinds_nobody() -> None:
    assert isinstance(load(series(SERVE, "a", 1), series(SERVE, "gone", float("nan"))), Load)


def test_what_could_not_be_read_stays_missing_with_its_reason() -> None:
    unread = Missing(reason="PrometheusUnreachable", message="503")
    assert read_load(unread, {"a"}, {"a"}, NOW, AGE) is unread


def test_the_age_is_that_of_the_oldest_sample_that_counted() -> None:
    seen = load(series(SERVE, "a", 1, age=3), series(SERVE, "b", 1, age=9), series(RUNNING, "b", 1, age=60))
    assert isinstance(seen, Load)
    assert (max(seen.ages.values()), seen.replicas_seen) == (9, 2)


def test_each_family_has_the_age_of_its_own_oldest_sample_and_one_that_was_not_seen_has_none() -> None:
    seen = load(series(SERVE, "a", 1, age=3), series(SERVE, "b", 1, age=9), series(QUEUED, "a", 0, age=1), series(RUNNING, "b", 1, age=60))
    assert isinstance(seen, Load)
    assert seen.ages == {SERVE: 9, QUEUED: 1}
    assert (seen.age_of(QUEUED), seen.age_of(SERVE, QUEUED, RUNNING), seen.age_of(RUNNING, WAITING)) == (1, 9, None)


TOKENS = metric.VLLM_PROMPT_TOKENS
RATES: dict[str, tuple[tuple[Series, ...], float | None]] = {
    # sentence: samples, prompt tokens per second
    "a rate is of the newest two samples": ((series(RUNNING, "a", 1), series(TOKENS, "a", 500, before=300)), 20),
    "the rates of replicas add up": (
        (series(RUNNING, "a", 1), series(TOKENS, "a", 500, before=300), series(RUNNING, "b", 1), series(TOKENS, "b", 90, before=0)),
        29,
    ),
    "a busy replica of which nothing is known does what the others do": (
        (series(RUNNING, "a", 1), series(TOKENS, "a", 500, before=300), series(RUNNING, "b", 1), series(TOKENS, "b", 90)),
        40,
    ),
    "an idle replica need say nothing": ((series(RUNNING, "a", 1), series(TOKENS, "a", 500, before=300), series(RUNNING, "b", 0)), 20),
    "where no busy replica has a rate it is not known": ((series(RUNNING, "a", 1), series(TOKENS, "a", 500)), None),
    "a counter that began anew has no rate": ((series(RUNNING, "a", 1), series(TOKENS, "a", 5, before=300)), None),
    "with nothing to do the rate is zero": ((series(RUNNING, "a", 0),), 0),
}


@pytest.mark.parametrize("sentence", RATES)
def test_rate(sentence: str) -> None:
    samples, want = RATES[sentence]
    seen = load(*samples)
    assert isinstance(seen, Load)
    assert seen.prompt_rate == want


GROWTH: dict[str, tuple[tuple[Series, ...], float | None]] = {
    # sentence: samples, requests per second
    "more in hand than before": ((series(SERVE, "a", 30, before=10),), 2),
    "fewer": ((series(RUNNING, "a", 5, before=10), series(WAITING, "a", 0, before=5)), -1),
    "what is held counts": ((series(SERVE, "a", 10, before=10), series(QUEUED, "b", 20, before=0)), 2),
    "a replica that is new had nothing": ((series(SERVE, "a", 10, before=10), series(SERVE, "b", 10)), 1),
    "with one sample nothing is known": ((series(SERVE, "a", 10),), None),
}


@pytest.mark.parametrize("sentence", GROWTH)
def test_growth(sentence: str) -> None:
    samples, want = GROWTH[sentence]
    seen = load(*samples)
    assert isinstance(seen, Load)
    assert seen.growth == want


def test_the_cache_in_use_is_in_replicas_worth() -> None:
    shares = (series(RUNNING, "a", 3), series(metric.VLLM_KV_USE, "a", 0.5), series(RUNNING, "b", 4), series(metric.VLLM_KV_USE, "b", 0.25))
    seen = load(*shares)
    assert isinstance(seen, Load)
    assert (seen.kv_use, seen.running, seen.waiting) == (0.75, 7, None)


def bucket(pod: str, bound: float, value: float, oldest: float | None) -> Series:
    made = series(metric.VLLM_FIRST_TOKEN, pod, value)
    return replace(made, bound=bound, oldest=None if oldest is None else (NOW - 60, oldest))


@pytest.mark.parametrize(
    ("sentence", "buckets", "want"),
    [
        ("no histogram is not in time", (), None),
        (
            "the rise counts, of all replicas",
            (bucket("a", 1, 5, 2), bucket("b", 1, 9, 9), bucket("a", math.inf, 8, 3)),
            {1: 3, math.inf: 5},
        ),
        ("one that began anew is left out whole", (bucket("a", 1, 5, 2), bucket("b", 1, 1, 9), bucket("b", math.inf, 9, 3)), {1: 3}),
        ("one without an older sample is, too", (bucket("a", 1, 5, None), bucket("a", math.inf, 9, 3)), None),
        ("nobody asked is a histogram that did not rise", (bucket("a", 1, 5, 5),), {1: 0}),
    ],
)
def test_first_tokens_are_counted_over_the_range(sentence: str, buckets: tuple[Series, ...], want: dict[float, float] | None) -> None:
    seen = load(series(SERVE, "a", 1), *buckets)
    assert isinstance(seen, Load)
    assert seen.first_tokens == want, sentence


@pytest.mark.parametrize(
    ("sentence", "samples", "want"),
    [
        ("the latest of all counts", (series(metric.LAST_REQUEST, "a", 5), series(metric.LAST_REQUEST, "b", 9)), 9),
        ("a replica that does not say it is not known to be idle", (series(metric.LAST_REQUEST, "a", 5),), None),
        ("nor is one whose word is stale", (series(metric.LAST_REQUEST, "a", 5), series(metric.LAST_REQUEST, "b", 9, age=100)), None),
    ],
)
def test_when_a_request_last_came(sentence: str, samples: tuple[Series, ...], want: float | None) -> None:
    seen = load(series(SERVE, "a", 0), series(SERVE, "b", 0), *samples)
    assert isinstance(seen, Load)
    assert seen.last_request == want, sentence


def test_whether_anything_is_held_must_be_said_where_there_is_nothing_else_to_see() -> None:
    without, with_ = load(series(SERVE, "a", 0)), load(series(SERVE, "a", 0), series(QUEUED, "b", 0))
    assert isinstance(see_held(without), Missing)
    assert see_held(with_) == with_
    gone = Missing(reason="MetricsStale", message="x")
    assert see_held(gone) == gone
