"""Traffic from a seed: arrivals and lengths, for tests and for those who have no trace.

Lengths are log-normal, fitted to the mean and the 99th percentile of published traces; the fit takes the smaller root of
p99 = mean * exp(z s - s^2 / 2), z = 2.3263, the standard deviation s of the logarithm. The figures were counted from
https://github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv and _code.csv (2023), and
https://github.com/kvcache-ai/Mooncake, FAST25-release/traces/conversation_trace.jsonl.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from llama_operator.simulate.service import Request

Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Tokens of a prompt or an output: log-normal with this mean and 99th percentile, in whole tokens from 1 on."""

    mean: float
    p99: float

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm. Where no log-normal is so skew, the skewest: the root is Z99."""
        return Z99 - math.sqrt(max(Z99**2 - 2 * math.log(self.p99 / self.mean), 0.0))

    def draw(self, source: random.Random) -> float:
        """One length."""
        return float(max(1, round(source.lognormvariate(math.log(self.mean) - self.sigma**2 / 2, self.sigma))))


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What a service is asked: mean requests per second, coefficient of variation of the pauses, lengths."""

    rate: float
    cv: float
    prompt: Lengths
    output: Lengths


CONVERSATION = Mix(rate=5.5, cv=1.09, prompt=Lengths(mean=1155, p99=4142), output=Lengths(mean=211, p99=601))
"""Azure 2023, conversation: 19,366 requests in 58 minutes."""
CODE = Mix(rate=2.6, cv=13.2, prompt=Lengths(mean=2048, p99=7436), output=Lengths(mean=28, p99=252))
"""Azure 2023, code: 8,819 requests in 57 minutes, in bursts."""
MOONCAKE = Mix(rate=3.4, cv=3.0, prompt=Lengths(mean=12_035, p99=85_401), output=Lengths(mean=343, p99=1120))
"""Mooncake 2025, conversation: 12,031 requests in 59 minutes. Its timestamps come in groups some 3 s apart; here the pauses just vary as
much. What of its prompts a prefix cache would have held is counted as prompt: no cache is modelled."""


def poisson(mix: Mix, seconds: float, seed: int) -> Iterator[Request]:
    """No memory: as many independent users make it."""
    return _changing(mix, seconds, seed, lambda _: 1.0, 1.0)


def bursty(mix: Mix, seconds: float, seed: int) -> Iterator[Request]:
    """Pauses gamma-distributed with the mix's rate and coefficient of variation: bursts, and long pauses between them."""
    source = random.Random(seed)
    shape = 1 / mix.cv**2
    pauses = (source.gammavariate(shape, 1 / (shape * mix.rate)) for _ in itertools.count())
    times = itertools.takewhile(lambda time: time < seconds, itertools.accumulate(pauses))
    return (Request(time, mix.prompt.draw(source), mix.output.draw(source)) for time in times)


def diurnal_week(
    mix: Mix, seed: int, swing: float = 0.6, weekend: float = 0.5, seconds: float = 7 * DAY_SECONDS, day_seconds: float = DAY_SECONDS
) -> Iterator[Request]:
    """A week from Monday 00:00: a sine with its peak at 14:00, `swing` of the mean up and down, and `weekend` of it on days 6 and 7.

    The shape is an assumption; `rate` is the mean of a working day. A day of fewer `day_seconds` changes as much in less time.
    """

    def relative(time: float) -> float:
        day, part = divmod(time, day_seconds)
        wave = 1 + swing * math.cos(2 * math.pi * (part / day_seconds - 14 / 24))
        return wave * (weekend if day % 7 >= 5 else 1.0)

    return _changing(mix, seconds, seed, relative, 1 + swing)


def flash_crowd(mix: Mix, seconds: float, seed: int, at: float, times: float = 5.0, lasts: float = 300.0) -> Iterator[Request]:
    """Poisson, and from `at` on for `lasts` seconds `times` as many."""
    return _changing(mix, seconds, seed, lambda time: times if at <= time < at + lasts else 1.0, max(times, 1.0))


def _changing(mix: Mix, seconds: float, seed: int, relative: Callable[[float], float], most: float) -> Iterator[Request]:
    """Poisson of a changing rate by thinning (Lewis and Shedler 1979): draws at the highest rate, and keeps a share of them."""
    source = random.Random(seed)
    time = source.expovariate(mix.rate * most)
    while time < seconds:
        if source.random() * most < relative(time):
            yield Request(time, mix.prompt.draw(source), mix.output.draw(source))
        time += source.expovariate(mix.rate * most)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Traffic that can be asked for by name. `make` takes seconds and seed; `hours` where nothing is said."""

    about: str
    make: Callable[[float, int], Iterator[Request]]
    hours: float = 1.0


KINDS: Mapping[str, Kind] = {
    "conversation": Kind(about="conversations as of Azure 2023", make=lambda seconds, seed: bursty(CONVERSATION, seconds, seed)),
    "code": Kind(about="code completions as of Azure 2023, in bursts", make=lambda seconds, seed: bursty(CODE, seconds, seed)),
    "mooncake": Kind(
        about="conversations as of Mooncake 2025, with long prompts", make=lambda seconds, seed: bursty(MOONCAKE, seconds, seed)
    ),
    "week": Kind(
        about="a week of conversations as of Azure 2023",
        make=lambda seconds, seed: diurnal_week(CONVERSATION, seed, seconds=seconds),
        hours=168.0,
    ),
    "flash": Kind(
        about="conversations as of Azure 2023, five times as many for five minutes",
        make=lambda seconds, seed: flash_crowd(CONVERSATION, seconds, seed, at=seconds / 2),
    ),
}
