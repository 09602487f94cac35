"""Rules of the number of replicas: policies that contradict themselves, that can never do anything, or that would swing by construction."""

from __future__ import annotations

from llama_operator.api.duration import PATTERN, seconds_of
from llama_operator.api.problems import show
from llama_operator.api.rule import Look, Rule, quote
from llama_operator.api.v1alpha1 import SCALE_TO_ZERO_AFTER

LEAST_DOWN_SECONDS = 15
"""A usual scrape interval. A window that holds one sample alone follows every flicker of the load."""
LEAST_IDLE_SECONDS, MOST_IDLE_SECONDS = 60, 7 * 86_400
"""A request must be seen before it is missed: some scrapes and looks; and what stays idle for a week is not idle."""

_AT = "spec.autoscaling"
_MIN = "(has(self.minReplicas) ? self.minReplicas : 1)"
_AFTER = "self.scaleToZeroAfter"


def _objective(look: Look) -> str | None:
    objective = look.at(f"{_AT}.objective")
    if not isinstance(objective, dict):
        return None
    given = [name for name in ("inFlightPerReplica", "timeToFirstTokenSeconds") if objective.get(name) is not None]
    return None if len(given) == 1 else ("both" if given else "neither")


def _percentile(look: Look) -> str | None:
    objective = look.mapping(f"{_AT}.objective")
    given = objective.get("percentile")
    return show(given) if given is not None and objective.get("timeToFirstTokenSeconds") is None else None


def _min_above_max(look: Look) -> str | None:
    least, most = look.number(f"{_AT}.minReplicas", 1), look.number(f"{_AT}.maxReplicas")
    return f"{least} with maxReplicas {most}" if least is not None and most is not None and least > most else None


def _min_is_max(look: Look) -> str | None:
    least, most = look.number(f"{_AT}.minReplicas", 1), look.number(f"{_AT}.maxReplicas")
    windows = look.at(f"{_AT}.schedules")  # which may set them apart
    return f"{least} with maxReplicas {most}" if least is not None and least == most and not windows else None


def _replicas_beside(look: Look) -> str | None:
    replicas = look.number("spec.replicas", 1)
    return str(replicas) if isinstance(look.at(_AT), dict) and replicas not in {None, 1} else None


def _short_window(look: Look) -> str | None:
    seconds = look.number(f"{_AT}.scaleDownStabilizationSeconds")
    return str(seconds) if seconds is not None and 0 <= seconds < LEAST_DOWN_SECONDS else None


def _idle(look: Look) -> tuple[str, int | None] | None:
    given = look.text(f"{_AT}.scaleToZeroAfter")
    return None if given is None else (given, seconds_of(given))


def _no_duration(look: Look) -> str | None:
    idle = _idle(look)
    bad = idle is not None and (idle[1] is None or not LEAST_IDLE_SECONDS <= idle[1] <= MOST_IDLE_SECONDS)
    return show(idle[0]) if idle is not None and bad else None


def _idle_without_zero(look: Look) -> str | None:
    idle, least = _idle(look), look.number(f"{_AT}.minReplicas", 1)
    return f"{show(idle[0])} with minReplicas {least}" if idle is not None and least else None


def _idle_in_window(look: Look) -> str | None:
    if look.number(f"{_AT}.minReplicas", 1) != 0:
        return None
    given = look.at(f"{_AT}.scaleToZeroAfter")
    text = given if isinstance(given, str) else SCALE_TO_ZERO_AFTER if given is None else ""
    # Where no window is given the operator's own gives way: whatever it is by then, all replicas go after that time without a request.
    seconds, window = seconds_of(text), look.number(f"{_AT}.scaleDownStabilizationSeconds")
    if seconds is None or window is None or seconds >= window:
        return None
    return f"{show(text)} with scaleDownStabilizationSeconds {window}"


RULES: tuple[Rule, ...] = (
    Rule(
        field=f"{_AT}.minReplicas",
        allowed=f"at most {_AT}.maxReplicas",
        remedy="Lower minReplicas or raise maxReplicas.",
        broken=_min_above_max,
        at=_AT,
        cel=f"{_MIN} <= self.maxReplicas",
        given="more than spec.autoscaling.maxReplicas",
    ),
    Rule(
        field=f"{_AT}.maxReplicas",
        allowed="more than minReplicas where no schedule sets them apart: between two equal bounds nothing can follow the load",
        remedy="Raise it or lower minReplicas, or write the number as spec.replicas and remove spec.autoscaling.",
        broken=_min_is_max,
        at=_AT,
        cel=f"{_MIN} != self.maxReplicas || (has(self.schedules) && size(self.schedules) > 0)",
        given="the same as minReplicas",
    ),
    Rule(
        field=f"{_AT}.objective",
        allowed="exactly one of inFlightPerReplica and timeToFirstTokenSeconds",
        remedy="Keep the one that you mean; timeToFirstTokenSeconds needs a model that can be planned.",
        broken=_objective,
        at=_AT,
        cel="has(self.objective.inFlightPerReplica) != has(self.objective.timeToFirstTokenSeconds)",
        given="neither or both",
    ),
    Rule(
        field=f"{_AT}.objective.percentile",
        allowed="a percentile beside timeToFirstTokenSeconds alone",
        remedy="Remove it, or set timeToFirstTokenSeconds.",
        broken=_percentile,
        at=f"{_AT}.objective",
        cel="!has(self.percentile) || has(self.timeToFirstTokenSeconds)",
        given="a number",
    ),
    Rule(
        field=f"{_AT}.scaleToZeroAfter",
        allowed="a time from 60s to 7 days in hours, minutes and seconds, as in 90s, 30m or 1h30m",
        remedy="Write it in that form.",
        broken=_no_duration,
        at=_AT,
        cel=f"!has({_AFTER}) || ({_AFTER}.matches({quote(f'^{PATTERN}$')}) && duration({_AFTER}) >= duration('{LEAST_IDLE_SECONDS}s')"
        f" && duration({_AFTER}) <= duration('{MOST_IDLE_SECONDS}s'))",
        given_cel=_AFTER,
    ),
    Rule(
        field=f"{_AT}.scaleToZeroAfter",
        allowed="a time beside minReplicas 0 alone: with another minimum the last replica never goes",
        remedy="Set minReplicas to 0, or remove it.",
        broken=_idle_without_zero,
        at=_AT,
        cel=f"!has({_AFTER}) || {_MIN} == 0",
        given_cel=_AFTER,
    ),
    Rule(
        field=f"{_AT}.scaleToZeroAfter",
        allowed="at least scaleDownStabilizationSeconds: the last replica must not go sooner than the others",
        remedy="Raise it, or lower scaleDownStabilizationSeconds.",
        broken=_idle_in_window,
        at=_AT,
        cel=f"{_MIN} != 0 || !has(self.scaleDownStabilizationSeconds) || (has({_AFTER}) && !{_AFTER}.matches({quote(f'^{PATTERN}$')}))"
        f" || duration(has({_AFTER}) ? {_AFTER} : '{SCALE_TO_ZERO_AFTER}').getSeconds() >= self.scaleDownStabilizationSeconds",
        given="a shorter time",
    ),
    Rule(
        field=f"{_AT}.scaleDownStabilizationSeconds",
        allowed=f"{LEAST_DOWN_SECONDS} or more: a window shorter than a scrape interval follows every flicker of the load",
        remedy=f"Set it to {LEAST_DOWN_SECONDS} or more, or remove it: then it follows from the load time.",
        broken=_short_window,
        at=_AT,
        cel=f"!has(self.scaleDownStabilizationSeconds) || self.scaleDownStabilizationSeconds >= {LEAST_DOWN_SECONDS}",
        given="fewer",
    ),
)
"""In the order of the spec."""

REPLICAS_BESIDE = Rule(
    # No error: kubectl scale and a HorizontalPodAutoscaler write it too, and are named for it (lifecycle/ownership.py).
    field="spec.replicas",
    allowed="nothing (or 1) while spec.autoscaling is set: the number does not count",
    remedy="Remove spec.replicas, or remove spec.autoscaling to choose the number yourself.",
    broken=_replicas_beside,
    severity="warning",
)
