"""What the autoscaler's part of the status says: the decision, what each signal asked for, what capped it, and the last changes.

    decision, votes, bounds ─▶ ScalingView ─▶ status.autoscaling, from which `kubectl llama why` makes sentences

Numbers that move with every look (ages, values, the message that repeats them) are no reason to write: they are written with the next thing
that is, and at the latest REFRESH_SECONDS after they moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.api.conditions import ConditionType
from llama_operator.lifecycle.observed import rfc3339, timestamp
from llama_operator.scaling.costs import DownWindow

CHANGES = 10
"""That are kept, newest first."""
CHANGE_MESSAGE_LIMIT, CAP_MESSAGE_LIMIT = 320, 200
"""Characters of a change's message, and of each cap that is kept with it: ten changes stay under 16 KiB."""
KEPT = ("askedReplicas", "currentReplicas", "loadingReplicas", "minReplicas", "maxReplicas", "votes")
"""Fields of `status.autoscaling` that a change keeps as they were then; beside them cappedBy, shortened."""
REFRESH_SECONDS = 60.0
"""After which numbers that moved are written, though nothing was decided: an explanation is never older than that while they move."""

UP, DOWN = "ScaledUp", "ScaledDown"


@dataclass(frozen=True, kw_only=True)
class VoteView:
    """What one signal asked for. `value` is what was measured; None where it was not seen. `replicas` likewise."""

    signal: str
    value: float | None
    replicas: float | None
    age_seconds: float | None
    """None where no sample was seen."""


@dataclass(frozen=True, kw_only=True)
class BoundsView:
    """The bounds that counted, the fields that set them, and the windows that were open."""

    least: int
    most: int
    least_by: str = "minReplicas"
    most_by: str = "maxReplicas"
    windows: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ScalingView:
    """The autoscaler's part of the status, or that there is none."""

    enabled: bool
    desired: int
    reason: str = ""
    message: str = ""
    metrics_reason: str = ""
    """A Reason of MetricsAvailable."""
    metrics_message: str = ""
    signals: Sequence[Mapping[str, Any]] = ()
    memory: Mapping[str, Any] | None = None
    votes: Sequence[VoteView] = ()
    asked: int | None = None
    """Replicas that the demand asked for before bounds and windows; None while blind."""
    expected: float | None = None
    """Replicas that the forecast expects to be needed within one load time, before rounding and bounds."""
    bounds: BoundsView | None = None
    down: DownWindow | None = None
    """How long the need for fewer must have lasted; None: not told."""
    foreign: str | None = None
    """Who else writes the number of replicas, and what to do, in words; None where nobody does."""

    @property
    def blind(self) -> bool:
        """Nothing could be seen, so nothing was decided."""
        return self.enabled and self.asked is None


def block(scaling: ScalingView, current: int, loading: int, waiting: str, previous: Mapping[str, Any], now: float) -> dict[str, Any]:
    """`status.autoscaling`. `current` replicas exist, of which `loading` do not serve yet; `waiting` says which of them find no place."""
    before = previous.get("autoscaling") or {}
    made: dict[str, Any] = {
        "desiredReplicas": scaling.desired,
        "currentReplicas": current,
        "loadingReplicas": loading,
        "reason": scaling.reason,
        "message": scaling.message,
        "observedTime": rfc3339(now),
        "signals": [dict(signal) for signal in scaling.signals],
        "votes": [_vote(vote) for vote in scaling.votes],
        "cappedBy": caps(scaling, waiting),
    }
    if scaling.asked is not None:
        made["askedReplicas"] = scaling.asked
    if scaling.bounds is not None:
        made["minReplicas"], made["maxReplicas"] = scaling.bounds.least, scaling.bounds.most
        made["openWindows"] = list(scaling.bounds.windows)
    if scaling.down is not None:
        made["scaleDownWindow"] = {"seconds": round(scaling.down.seconds), "message": scaling.down.why}
    if scaling.memory:
        # Never an empty object: server-side apply turns one that had entries before into null, which the API server then refuses.
        made["memory"] = dict(scaling.memory)
    made["changes"] = changes = changes_of(scaling, before, made, now)
    last = changes[0]["time"] if changes else before.get("lastScaleTime")
    if last:
        made["lastScaleTime"] = last
    return made


def _vote(vote: VoteView) -> dict[str, Any]:
    given = {"signal": vote.signal, "value": vote.value, "replicas": vote.replicas, "ageSeconds": vote.age_seconds}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in given.items() if value is not None}


def caps(scaling: ScalingView, waiting: str) -> list[dict[str, str]]:
    """Why what was asked for is not what is wanted, or what is wanted not what comes."""
    found = []
    asked, bounds = scaling.asked, scaling.bounds
    bounded = asked
    if asked is not None and bounds is not None:
        bounded = min(max(asked, bounds.least), bounds.most)
        if bounded != asked:
            name = bounds.most_by if asked > bounds.most else bounds.least_by
            verb = "allows" if asked > bounds.most else "keeps"
            found.append({"by": "window" if " of window " in name else "bounds", "message": f"{asked} would do; {name} {verb} {bounded}"})
    if bounded is not None and bounded != scaling.desired:
        long = "scaleUpStabilizationSeconds" if bounded > scaling.desired else _down(scaling.down)
        message = f"{bounded} would do; {scaling.desired} stay until that has lasted {long}"
        found.append({"by": "stabilization", "message": message})
    if waiting:
        found.append({"by": "placement", "message": waiting})
    return found


def _down(window: DownWindow | None) -> str:
    return "the down window" if window is None else f"{window.seconds:.0f} s, {window.why}"


def changes_of(scaling: ScalingView, before: Mapping[str, Any], made: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
    """The changes of the wanted number, newest first, with that of this pass where it is one; it keeps what `made` says of the moment.

    Those before stay as they were written, also where an older operator wrote them, or an older CRD cut them short.
    """
    kept = [dict(change) for change in before.get("changes") or [] if isinstance(change, Mapping)]
    if (fresh := change(scaling, before, now)) is not None:
        then = {name: made[name] for name in KEPT if name in made}
        capped = [{"by": cap["by"], "message": _cut(cap["message"], CAP_MESSAGE_LIMIT)} for cap in made["cappedBy"]]
        kept.insert(0, fresh | then | {"cappedBy": capped})
    return kept[:CHANGES]


def change(scaling: ScalingView, before: Mapping[str, Any], now: float) -> dict[str, Any] | None:
    """The change of this pass; None where the wanted number is what it was. The first number after autoscaling was set is no change."""
    was = before.get("desiredReplicas")
    if not scaling.enabled or was is None or was == scaling.desired:
        return None
    message = scaling.message
    if scaling.blind and scaling.bounds is not None:
        # Blind, only the bounds move it.
        name = scaling.bounds.most_by if scaling.desired < was else scaling.bounds.least_by
        message = f"from {was} to {scaling.desired} by {name}, while {message}"
    return {
        "time": rfc3339(now),
        "from": was,
        "to": scaling.desired,
        "reason": UP if scaling.desired > was else DOWN,
        "message": _cut(message, CHANGE_MESSAGE_LIMIT),
    }


def _cut(message: str, limit: int) -> str:
    return message if len(message) <= limit else message[: limit - 1] + "…"


def newest_change(previous: Mapping[str, Any], status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The change that `status` tells and `previous` did not; None where there is none. What is worth an Event."""
    before, after = ((item.get("autoscaling") or {}) for item in (previous, status))
    changes = after.get("changes") or []
    moved = before.get("desiredReplicas") not in (None, after.get("desiredReplicas"))
    return changes[0] if changes and moved else None


COUNTED = ("requestsInFlight", "requestsHeld")
"""Signals that every decision needs: named also where they were not seen."""
_MOVING = ("signals", "votes", "message", "askedReplicas", "observedTime", "cappedBy")
"""Fields of `status.autoscaling` that may differ after every look."""
_MOVING_MESSAGES = (ConditionType.SCALING.value, ConditionType.METRICS_AVAILABLE.value)
"""Conditions whose messages do."""


def settled(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status without what moves with every look: of votes it keeps which there are and which were seen, of caps their kind."""
    copy = dict(status)
    scaling = dict(copy.get("autoscaling") or {})
    votes = [(vote.get("signal"), vote.get("replicas") is not None) for vote in scaling.get("votes") or []]
    by = [cap.get("by") for cap in scaling.get("cappedBy") or []]
    copy["autoscaling"] = {key: value for key, value in scaling.items() if key not in _MOVING} | {"votes": votes, "cappedBy": by}
    if scaling:
        copy["conditions"] = [
            {key: value for key, value in item.items() if key != "message" or item.get("type") not in _MOVING_MESSAGES}
            for item in copy.get("conditions") or []
        ]
    return copy


def says_something_new(previous: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """The status is worth a write: it differs in more than numbers that move with every look, or these moved and were not told for long."""
    if settled(previous) != settled(status):
        return True
    if _without_ages(previous) == _without_ages(status):
        return False
    told, now = (_observed(item) for item in (previous, status))
    return told is None or now is None or not 0 <= now - told < REFRESH_SECONDS


def _observed(status: Mapping[str, Any]) -> float | None:
    return timestamp((status.get("autoscaling") or {}).get("observedTime"))


def _without_ages(status: Mapping[str, Any]) -> dict[str, Any]:
    """Without when it was looked, without the messages that repeat an age, and without rates, which never stand still under traffic."""
    copy = settled(status)
    scaling = status.get("autoscaling") or {}
    copy["numbers"] = [
        [{key: value for key, value in item.items() if key != "ageSeconds"} for item in scaling.get(name) or []]
        for name in ("signals", "votes")
    ]
    copy["numbers"][0] = [item for item in copy["numbers"][0] if item.get("name") in COUNTED]
    copy["asked"] = scaling.get("askedReplicas")
    return copy
