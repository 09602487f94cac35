"""Condition types and reasons of a LlamaDeployment, and how a new set of conditions is laid over the old one.

A reason is part of the interface: people write alerts on it. Each has one sentence here that says when it is given. The root causes
that a pod's agent reports (`ModelNotFound`, `CheckpointTruncated`, …; docs/contracts.md) are used as reasons of `Available` as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """The conditions, in the order in which they are shown."""

    ACCEPTED = "Accepted"
    """The spec makes sense, and the model fits as far as can be known; children are made only while it is True."""
    AVAILABLE = "Available"
    """At least one replica is Ready: a token came out of its engine, and its proxy answers."""
    PROGRESSING = "Progressing"
    """The operator is on its way to the wanted state; the message says what it waits for."""
    SCALING = "Scaling"
    """The autoscaler's last decision."""
    METRICS_AVAILABLE = "MetricsAvailable"
    """The autoscaler can see: its signals are there and fresh."""
    SCALING_CONTESTED = "ScalingContested"
    """Somebody else writes spec.replicas while spec.autoscaling is set."""
    DEGRADED = "Degraded"
    """Something is broken while the rest goes on."""
    UPDATE_AVAILABLE = "UpdateAvailable"
    """Reserved: a newer operator would render other pods. No version gives it yet."""


class Reason(StrEnum):
    """Why a condition has its status."""

    # Accepted
    FITS = "Fits"
    """Every field is allowed, and by the planner's numbers, which the message gives, the model fits."""
    VALID = "Valid"
    """Every field is allowed; whether the model fits is not known, and the message says why."""
    READING_MODEL = "ReadingModel"
    """The parallelism is left to the planner, and the model's files could not be read yet: they are asked for again."""
    INVALID = "Invalid"
    """A field is wrong, or the model cannot fit; the message names it, what was given, what is allowed and what to do."""
    # Available
    SERVING = "Serving"
    """At least one replica is Ready."""
    NO_REPLICA_READY = "NoReplicaReady"
    """Replicas are wanted and none is Ready yet."""
    SCALED_TO_ZERO = "ScaledToZero"
    """No replica is wanted. Under Scaling: no request came for scaleToZeroAfter; the next one is held, and brings a replica."""
    # Progressing
    COMPLETE = "Complete"
    """All wanted replicas of the current revision are Ready and no other is left."""
    HEAD_STARTING = "HeadStarting"
    """The Ray head pod is not up yet."""
    WAITING_FOR_GPUS = "WaitingForGpus"
    """A gang's pods cannot be scheduled; the message says how many GPUs are wanted and where how many are free."""
    LOADING = "Loading"
    """Replicas start, load weights or warm up; the message gives each one's phase and percent."""
    BACKING_OFF = "BackingOff"
    """A replica failed to load; the next attempt comes at the time in the message."""
    RETRIES_EXHAUSTED = "RetriesExhausted"
    """Loading failed as often as is allowed; nothing more is tried until the spec changes."""
    ROLLING_OUT = "RollingOut"
    """A new revision replaces the old one, gang by gang."""
    DRAINING = "Draining"
    """A replica lets its streams finish before it goes."""
    REPLACING_GANG = "ReplacingGang"
    """A pod of a gang was lost; the gang is replaced whole."""
    DELETING = "Deleting"
    """The LlamaDeployment is being deleted."""
    NOT_ACCEPTED = "NotAccepted"
    """The spec was refused: what runs is left as it is, nothing new is made."""
    # Scaling
    STEADY = "Steady"
    """The wanted number fits the demand."""
    SCALED_UP = "ScaledUp"
    """More replicas are wanted."""
    SCALED_DOWN = "ScaledDown"
    """Fewer replicas are wanted."""
    AT_MAXIMUM = "AtMaximum"
    """Demand asks for more than maxReplicas."""
    NO_ROOM = "NoRoom"
    """More replicas are needed than there are free GPUs for, on whole nodes; the message says where how many are free."""
    STABILIZING = "Stabilizing"
    """Demand changed, and the stabilisation window has not passed yet."""
    HOLDING = "Holding"
    """The autoscaler is blind and changes nothing."""
    DISABLED = "Disabled"
    """spec.autoscaling is absent: spec.replicas counts."""
    # MetricsAvailable
    FRESH = "Fresh"
    """All signals are there and young enough."""
    PROMETHEUS_UNREACHABLE = "PrometheusUnreachable"
    """Prometheus did not answer in time, or not with a query result."""
    METRICS_MISSING = "MetricsMissing"
    """Prometheus answers, but has no series for a replica that serves."""
    METRICS_STALE = "MetricsStale"
    """The newest sample is older than is allowed."""
    METRICS_INVALID = "MetricsInvalid"
    """A sample is not a number, or negative."""
    METRICS_CONTRADICTORY = "MetricsContradictory"
    """A pod is scraped twice, or samples are of the future: Prometheus' clock or the operator's is wrong."""
    NOT_CONFIGURED = "NotConfigured"
    """The operator was given no Prometheus."""
    # ScalingContested
    SOLE_WRITER = "SoleWriter"
    """Nobody but the autoscaler sets the number of replicas."""
    FOREIGN_WRITER = "ForeignWriter"
    """kubectl scale, a HorizontalPodAutoscaler or KEDA set spec.replicas, which does not count; the message names the writer."""
    # Degraded
    HEALTHY = "Healthy"
    """Nothing is known to be broken."""
    HEAD_LOST = "HeadLost"
    """The Ray head is gone or does not answer: traffic goes on, scaling waits."""
    GANG_INCOMPLETE = "GangIncomplete"
    """A gang lost a pod."""
    REPLICA_FAILED = "ReplicaFailed"
    """A replica failed while others serve."""
    NAME_TAKEN = "NameTaken"
    """An object of somebody else's bears the name of a child, and is left as it is; the message names it, its owner and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition as decided in this pass, without the time of its last change."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str


MESSAGE_LIMIT = 2048
"""Characters of a message; the API allows 32768, but people read it in a terminal."""


def clip(message: str) -> str:
    """The message, cut at MESSAGE_LIMIT with a mark that it was."""
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


def merge(previous: Iterable[Mapping[str, Any]], decided: Iterable[Condition], *, generation: int, now: str) -> list[dict[str, Any]]:
    """The conditions list of the status: `decided`, each with the transition time that it had while its status stays the same.

    `now` is an RFC 3339 time. Conditions of types that `decided` does not name are dropped: the operator owns the list.
    """
    before = {item.get("type"): item for item in previous}
    merged = []
    for condition in decided:
        old = before.get(condition.type.value)
        changed = old is None or old.get("status") != condition.status
        merged.append(
            {
                "type": condition.type.value,
                "status": condition.status,
                "reason": condition.reason,
                "message": clip(condition.message),
                "observedGeneration": generation,
                "lastTransitionTime": now if changed or old is None else old.get("lastTransitionTime", now),
            }
        )
    return merged


def find(conditions: Iterable[Mapping[str, Any]], kind: ConditionType) -> Mapping[str, Any] | None:
    """The condition of that type, or None."""
    return next((item for item in conditions if item.get("type") == kind.value), None)
