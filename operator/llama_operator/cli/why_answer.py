"""Why a LlamaDeployment is as it is, from its own document: what `kubectl llama why` says, as a value. Reads nothing.

    status.conditions     what is not as it should be, the first thing that holds the others up first
    status.autoscaling    the decision and its reason, the votes, what capped it, the last changes
    status.replicas       what is loading
    Events                changes that lie further back than those kept, as long as the cluster keeps its Events

What is not in there is not known, and said so: an operator that never looked, a status of an older generation, a time before the first
change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_operator.api.conditions import ConditionType, Reason
from llama_operator.cli.moments import seconds_at, stamp, told

SCHEMA_VERSION = 1
CHANGE_REASONS = ("ScaledUp", "ScaledDown")
TOLD = ("time", "from", "to", "reason", "message")
"""What is told of every change."""
COUNTED = ("currentReplicas", "loadingReplicas", "askedReplicas", "minReplicas", "maxReplicas")
"""Numbers of replicas that are kept with it."""
_FROM_TO = re.compile(r"\bfrom ([0-9]{1,6}) to ([0-9]{1,6})\b")

_GOOD: Mapping[str, tuple[str, ...]] = {
    # In the order that matters: each condition that is not good, whatever the later ones say, has to be mended first.
    ConditionType.ACCEPTED.value: ("True",),
    ConditionType.AVAILABLE.value: ("True",),
    ConditionType.PROGRESSING.value: ("False",),
    ConditionType.DEGRADED.value: ("False",),
    ConditionType.METRICS_AVAILABLE.value: ("True",),
    ConditionType.SCALING.value: ("True",),
    ConditionType.SCALING_CONTESTED.value: ("False",),
}
"""The status of each condition when all is well."""
_BAD_REASONS = (Reason.RETRIES_EXHAUSTED.value, Reason.NOT_ACCEPTED.value)
"""Of Progressing=False: nothing is on its way, though something should be."""
_FINE = ((ConditionType.SCALING.value, Reason.DISABLED.value), (ConditionType.AVAILABLE.value, Reason.SCALED_TO_ZERO.value))
"""What somebody wanted so."""


def explain(
    raw: Mapping[str, Any], now: float, *, at: float | None = None, events: Iterable[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The whole answer as JSON. `at`: the change that was in force then; `events` of the LlamaDeployment, None where they were not read."""
    metadata, status = raw.get("metadata") or {}, _map(raw.get("status"))
    scaling = _map(status.get("autoscaling")) if _map(raw.get("spec")).get("autoscaling") else {}
    problems = _problems(metadata, status)
    answer: dict[str, Any] = {
        "schemaVersion": SCHEMA_VERSION,
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
        "time": stamp(now),
        "phase": status.get("phase"),
        "summary": _summary(status, problems),
        "problems": problems,
        "replicas": [_replica(item) for item in _maps(status.get("replicas"))],
        "scaling": _scaling(raw, scaling),
    }
    if at is not None:
        mine = (event for event in events or () if _map(event.get("involvedObject")).get("uid") == metadata.get("uid"))
        changes = merged(_maps(scaling.get("changes")), mine)
        answer["at"] = in_force(changes, at, now, created=seconds_at(metadata.get("creationTimestamp")))
        if events is None:
            answer["at"]["note"] = "Events could not be read: only the changes in the status were looked at."
    return answer


def _summary(status: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> str:
    if not status:
        return "The operator has not looked at it yet."
    ready, _, wanted = str(status.get("ready") or "?/?").partition("/")
    if ready == "0" and wanted == "0":
        return "No replica is wanted."
    serves = f"{ready} of {wanted} wanted replicas {'serves' if ready == '1' else 'serve'}"
    if not problems:
        return f"{serves}, and nothing is known to be wrong."
    return f"{serves}. {problems[0]['condition']}: {problems[0]['message']}."


def _problems(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not status:
        message = (
            "there is no status: is the operator running, and does it watch this namespace? "
            "See kubectl get pods -A -l app.kubernetes.io/name=llama-operator"
        )
        return [
            {
                "condition": "Operator",
                "status": "Unknown",
                "reason": "NotSeen",
                "message": message,
                "since": metadata.get("creationTimestamp"),
            }
        ]
    found = []
    seen, wanted = status.get("observedGeneration"), metadata.get("generation")
    if isinstance(seen, int) and isinstance(wanted, int) and seen < wanted:
        message = f"the status is of generation {seen} of the spec, which is at {wanted}: the last edit was not looked at yet"
        found.append({"condition": "Operator", "status": "Unknown", "reason": "Behind", "message": message, "since": None})
    by_type = {str(item.get("type")): item for item in _maps(status.get("conditions"))}
    for kind, good in _GOOD.items():
        condition = by_type.get(kind)
        if condition is not None and not _is_good(kind, good, condition):
            given = {name: condition.get(name) for name in ("status", "reason", "message")}
            found.append({"condition": kind, **given, "since": condition.get("lastTransitionTime")})
    return found


def _is_good(kind: str, good: Sequence[str], condition: Mapping[str, Any]) -> bool:
    if (kind, condition.get("reason")) in _FINE:
        return True
    return condition.get("status") in good and condition.get("reason") not in _BAD_REASONS


def _replica(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: item.get(name) for name in ("gang", "phase", "percent", "message", "since", "pods", "nodes") if item.get(name) is not None
    }


def _scaling(raw: Mapping[str, Any], scaling: Mapping[str, Any]) -> dict[str, Any]:
    spec = _map(raw.get("spec"))
    if not spec.get("autoscaling"):
        replicas = spec.get("replicas", 1)
        return {"enabled": False, "desiredReplicas": replicas, "message": f"spec.autoscaling is absent: spec.replicas says {replicas}"}
    if not scaling:
        return {"enabled": True, "message": "the autoscaler has decided nothing yet"}
    kept = (
        "desiredReplicas", "currentReplicas", "loadingReplicas", "askedReplicas", "minReplicas", "maxReplicas", "openWindows",
        "scaleDownWindow", "reason", "message", "observedTime", "votes", "cappedBy", "changes",
    )  # fmt: skip
    return {"enabled": True} | {name: scaling[name] for name in kept if name in scaling}


def merged(changes: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The changes that are kept, and those that Events still tell of, newest first; each says where it is from."""
    found = {str(item.get("time")): {**item, "from_": "status"} for item in changes if seconds_at(item.get("time")) is not None}
    for event in events:
        numbers = _FROM_TO.search(str(event.get("message") or ""))
        if event.get("reason") not in CHANGE_REASONS or numbers is None:
            continue
        for time in {event.get("firstTimestamp"), event.get("lastTimestamp"), event.get("eventTime")}:
            moment = seconds_at(time)
            if moment is None or stamp(moment) in found:
                continue
            given = {"from": int(numbers[1]), "to": int(numbers[2]), "reason": event.get("reason"), "message": event.get("message")}
            found[stamp(moment)] = {"time": stamp(moment), **given, "from_": "event"}
    return sorted(found.values(), key=lambda item: str(item["time"]), reverse=True)


def as_of(changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is kept of the moment of the newest of these changes, in the form of today's `scaling`.

    `kept` is false of a change that holds its words alone: one from an Event, of an operator older than this, or under an older CRD.
    """
    change = changes[0]
    return {
        "enabled": True,
        "kept": "currentReplicas" in change,
        "desiredReplicas": change.get("to"),
        "reason": change.get("reason"),
        "message": change.get("message"),
        "observedTime": change["time"],
        **{name: change[name] for name in COUNTED if name in change},
        "votes": _maps(change.get("votes")),
        "cappedBy": _maps(change.get("cappedBy")),
        "changes": [{name: item.get(name) for name in TOLD} for item in changes],
    }


def in_force(changes: Sequence[Mapping[str, Any]], at: float, now: float, *, created: float | None) -> dict[str, Any]:
    """The change that was in force at a moment, or what can be said where it lies further back than what is kept."""
    answer: dict[str, Any] = {"time": stamp(at), "change": None}
    if created is not None and at < created:
        return answer | {"message": f"it did not exist then: it was made at {told(created, now)}"}
    until = [item for item in changes if (seconds_at(item["time"]) or 0.0) <= at]
    if until:
        before = until[0]
        given = {name: before.get(name) for name in TOLD}
        since = told(seconds_at(before["time"]) or 0.0, now)
        message = f"{_were(before.get('to'))} wanted then, since {since}: {before.get('message')}"
        return answer | {"change": given, "source": before["from_"], "message": message, "scaling": as_of(until)}
    if not changes:
        return answer | {"message": "no change of the wanted number is kept, in the status or in Events"}
    oldest = changes[-1]
    first = told(seconds_at(oldest["time"]) or 0.0, now)
    message = f"that lies further back than what is kept: the oldest change is of {first}; until then {_were(oldest.get('from'))} wanted"
    return answer | {"message": f"{message}, since when is not known"}


def _were(count: object) -> str:
    return f"{count} {'was' if count == 1 else 'were'}"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
