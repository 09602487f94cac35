"""The measured time to first token as a check on the model: where it is late though the model says enough, the model is corrected.

late        of the requests of the last minute more than the percentile allows, by two standard deviations of chance (a binomial's)
settled     every wanted replica serves, and what is measured is all of the time since the youngest of them took its share
lasting     both without a break for LASTING_SECONDS: a burst is late for a while under a model that is right
corrected   the model's demand is taken times a factor: just so much that one replica more is asked for; at most MOST_FACTOR
believed    the factor fades with a time constant of FADE_SECONDS: what made the model wrong may end, and then the replica may go

Late first tokens at less than 1 / MOST_FACTOR of what the model allows are no matter of replicas (a prompt that alone takes longer than
the objective, a slow client): more of them would change nothing.

Nothing measured is neither late nor in time: then there is no such vote, and what was learned before fades as it would anyway. The vote's
age is that of what was measured; the model's votes, of which it is the highest, stand beside it with their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from llama_operator.scaling.sane import number, past
from llama_operator.scaling.signals import Load
from llama_operator.scaling.votes import Demand, Vote
from llama_operator.telemetry import names as metric

LEAST_REQUESTS = 20
"""Fewer say nothing of a percentile."""
DEVIATIONS = 2.0
SETTLED_SECONDS = 90.0
"""A replica is young for so long: it has free slots, and what waits does so where it came to, at the others."""
SHARE_SECONDS = 30.0
"""From a replica's being ready until what came before it, to the others, has its first tokens."""
LASTING_SECONDS = 300.0
"""Without it bursts taught the model to be wrong: half more replicas for an objective that was kept over the hour (ADR 0008)."""
MOST_FACTOR = 2.0
MARGIN = 0.01
"""Of a replica, above the whole number: enough to ask for the next."""
FADE_SECONDS = 3600.0
LEAST_FACTOR = 1.01


@dataclass(frozen=True, kw_only=True)
class Correction:
    """The factor on the model's demand, and when it was set, seconds since 1970."""

    factor: float = 1.0
    since: float = 0.0
    late_since: float | None = None
    """Since when first tokens are late without a break though the model says enough, seconds since 1970; None: they are not."""

    @classmethod
    def of(cls, memory: object) -> Correction:
        """Read what `memory()` wrote; anything else counts as none."""
        if not isinstance(memory, Mapping):
            return cls()
        factor, since = number(memory.get("factor")), number(memory.get("since"))
        good = factor is not None and since is not None and 1 <= factor <= MOST_FACTOR
        return cls(factor=factor or 1.0, since=since or 0.0, late_since=number(memory.get("lateSince"))) if good else cls()

    def as_of(self, now: float) -> Correction:
        """The same with no moment to come."""
        late = None if self.late_since is None else past(self.late_since, now)
        return replace(self, since=past(self.since, now), late_since=late)

    def memory(self, now: float) -> dict[str, Any]:
        """For the status; nothing where nothing is late and nothing corrected any more."""
        late = {} if self.late_since is None else {"lateSince": self.late_since}
        if self.at(now) > 1:
            return {"correction": {"factor": self.factor, "since": self.since, **late}}
        return {"correction": {"factor": 1.0, "since": 0.0, **late}} if late else {}

    def unseen(self) -> Correction:
        """After a time in which nobody looked, or nothing could be seen: whether first tokens were late all the while is not known."""
        return replace(self, late_since=None)

    def at(self, now: float) -> float:
        """The factor that is left."""
        left = 1 + (self.factor - 1) * math.exp(-max(now - self.since, 0.0) / FADE_SECONDS)
        return left if left >= LEAST_FACTOR else 1.0


def late(first_tokens: Mapping[float, float], seconds: float) -> tuple[float, float]:
    """Of how many requests how many had their first token later than `seconds`; between two bounds it is taken to grow evenly, as
    Prometheus' `histogram_quantile` does.
    """
    total = first_tokens.get(math.inf, 0.0)
    below, within = 0.0, 0.0
    for bound, count in sorted(first_tokens.items()):
        if bound >= seconds:
            share = 0.0 if math.isinf(bound) else (seconds - below) / (bound - below)
            within += (count - within) * share
            break
        below, within = bound, count
    return total, max(total - within, 0.0)


def too_late(first_tokens: Mapping[float, float], seconds: float, percentile: float) -> bool:
    """More are late than the percentile allows and chance explains."""
    total, behind = late(first_tokens, seconds)
    allowed = 1 - percentile
    chance = DEVIATIONS * math.sqrt(allowed * percentile * total)
    return total >= LEAST_REQUESTS and behind > allowed * total + chance


def quantile(first_tokens: Mapping[float, float], percentile: float) -> float | None:
    """Seconds within which that share of the requests had their first token, as Prometheus' `histogram_quantile` has it: a bucket fills
    evenly, and of what lies beyond the last bound that bound is told. None: too few requests to say.
    """
    total, bounds = first_tokens.get(math.inf, 0.0), sorted(bound for bound in first_tokens if 0 < bound < math.inf)
    if total < LEAST_REQUESTS or not bounds:
        return None
    lower, below = 0.0, 0.0
    for bound in bounds:
        count = first_tokens[bound]
        if count >= percentile * total:
            return lower + (bound - lower) * (percentile * total - below) / (count - below)
        lower, below = bound, count
    return lower


def check(
    seen: Demand, load: Load, correction: Correction, *, ttft: float, percentile: float, ready: int, settled: bool, now: float
) -> tuple[Demand, Correction]:
    """The demand with the measured vote beside the model's, and the correction to remember."""
    if load.first_tokens is None:
        return seen, correction.unseen()
    factor, modelled = correction.at(now), seen.replicas
    late = bool(settled and modelled and modelled * factor <= ready and too_late(load.first_tokens, ttft, percentile))
    since = (round(now) if correction.late_since is None else correction.late_since) if late else None
    correction = replace(correction, late_since=since)
    if since is not None and now - since >= LASTING_SECONDS:
        needed = float(f"{(ready + MARGIN) / modelled:.4g}")
        if factor < needed <= MOST_FACTOR:
            factor, correction = needed, Correction(factor=needed, since=round(now))
    vote = Vote(signal="firstToken", replicas=modelled * factor, age_seconds=load.age_of(metric.VLLM_FIRST_TOKEN))
    return replace(seen, votes=(*seen.votes, vote)), correction
