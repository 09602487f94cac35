"""The `status` of a LlamaDeployment, version v1alpha1: what the operator answers.

A status is read leniently: one written by an older or newer operator never stops this one. The docstring under a field is its description
in the CRD, the editor schema and the field table.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Status(BaseModel):
    """Written by the operator: unknown fields ignored, so that versions of the operator can be mixed."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True)


class ReplicaStatus(_Status):
    """One replica: a gang of pods that hold one copy of the model."""

    gang: int
    """Number of the gang, as in its pods' names."""

    phase: str = "Starting"
    """Starting, Downloading, LoadingWeights, WarmingUp, Ready, Draining or Failed; Pending while its pods have no node."""

    percent: float | None = None
    """How much of the phase's work is done, from 0 to 100, where it can be told."""

    message: str = ""
    """What the replica is doing, or why it failed, in words."""

    pods: list[str] = Field(default_factory=list)
    """Names of its pods, by rank."""

    nodes: list[str] = Field(default_factory=list)
    """Nodes on which its pods are, by rank."""

    attempts: int = 0
    """How often this gang was started since a replica of it last was ready."""

    since: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the phase began (RFC 3339, UTC)."""


class SignalStatus(_Status):
    """One measurement that the autoscaler saw."""

    name: str
    """Name of the signal: requestsInFlight (requests in replicas), requestsHeld (requests at proxies), running and waiting (requests in the
    engines' batches and queues), promptTokensPerSecond and outputTokensPerSecond (tokens per second), kvCacheUse (KV caches' worth of
    tokens)."""

    value: float | None = None
    """Its value; absent where nothing was measured."""

    age_seconds: float | None = None
    """Age of the oldest sample in it, in seconds, when it was read. Absent where nothing was measured."""


class VoteStatus(_Status):
    """What one signal asks for. The highest vote counts."""

    signal: str
    """Name of the signal: requests, slots, prompts, cache or firstToken."""

    value: float | None = None
    """What was measured: requests in hand, sequences in the engines, prompt tokens per second, caches' worth of tokens, and of
    firstToken the seconds within which the objective's percentile of the requests of the last minute had their first token. Absent where it
    could not be seen, and of firstToken after fewer than 20 requests."""

    replicas: float | None = None
    """Replicas that it asks for. Absent where it could not be seen."""

    age_seconds: float | None = None
    """Age of the oldest sample in it, in seconds, when it was read. Absent where no sample was seen."""


class CapStatus(_Status):
    """Why what is asked for is not what is wanted, or what is wanted not what comes."""

    by: str
    """bounds, window, stabilization or placement."""

    message: str = ""
    """Which bound, window or place, in words."""


class DownWindowStatus(_Status):
    """How long the need for fewer replicas must have lasted before any is taken away."""

    seconds: float
    """So many seconds: spec.autoscaling.scaleDownStabilizationSeconds, or where that is absent what follows from the load time."""

    message: str = ""
    """Which of the two, and for what load time, in words."""


class ChangeStatus(_Status):
    """One change of the wanted number."""

    time: str = Field(json_schema_extra={"format": "date-time"})
    """When (RFC 3339, UTC)."""

    from_: int = Field(alias="from")
    """Replicas wanted before."""

    to: int
    """Replicas wanted since."""

    reason: str = ""
    """ScaledUp or ScaledDown."""

    message: str = ""
    """Why, in words and numbers: those of the event of that moment."""

    asked_replicas: int | None = None
    """Replicas that the demand asked for then, before bounds and stabilisation. Absent where it could not be seen."""

    current_replicas: int | None = None
    """Replicas that there were when it was decided. Absent, as all below, where an older operator wrote the change."""

    loading_replicas: int | None = None
    """Of these, those that did not serve yet."""

    min_replicas: int | None = None
    """Fewest replicas at that moment."""

    max_replicas: int | None = None
    """Most replicas at that moment."""

    votes: list[VoteStatus] = Field(default_factory=list)
    """What each signal asked for then. Empty where nothing could be seen."""

    capped_by: list[CapStatus] = Field(default_factory=list)
    """What kept the number from what was asked for then."""


class AutoscalingStatus(_Status):
    """What the autoscaler last decided, and why."""

    desired_replicas: int | None = None
    """Replicas that the autoscaler wants."""

    current_replicas: int | None = None
    """Replicas that it counted when it decided, those that still load included."""

    loading_replicas: int | None = None
    """Of these, those that do not serve yet."""

    asked_replicas: int | None = None
    """Replicas that the demand asks for, before bounds and stabilisation. Absent while the autoscaler cannot see."""

    min_replicas: int | None = None
    """Fewest replicas at that moment: spec.autoscaling.minReplicas, or that of an open window."""

    max_replicas: int | None = None
    """Most replicas at that moment, likewise."""

    open_windows: list[str] = Field(default_factory=list)
    """Names of the time windows that are open."""

    scale_down_window: DownWindowStatus | None = None
    """How long the need for fewer replicas must have lasted, at that moment."""

    observed_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the numbers of this object were read (RFC 3339, UTC). They are written with each change, and while they move once a minute."""

    votes: list[VoteStatus] = Field(default_factory=list)
    """What each signal asks for."""

    capped_by: list[CapStatus] = Field(default_factory=list)
    """What keeps the number from what is asked for."""

    changes: list[ChangeStatus] = Field(default_factory=list)
    """The last ten changes of the wanted number, the newest first."""

    reason: str = ""
    """Why, in one word."""

    message: str = ""
    """Why, in words and numbers."""

    signals: list[SignalStatus] = Field(default_factory=list)
    """The measurements behind the decision."""

    memory: dict[str, Any] = Field(default_factory=dict)
    """What the autoscaler must remember between decisions, so that a restarted operator goes on where the last one stopped."""

    last_scale_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the number of replicas last changed (RFC 3339, UTC)."""


class FailureStatus(_Status):
    """Failed starts in a row, and when the next is tried."""

    revision: str = ""
    """Revision whose starts failed."""

    attempts: int = 0
    """Failed starts since a replica last was ready."""

    last_reason: str = ""
    """Root cause of the last failure, in one word, as in ModelNotFound."""

    last_message: str = ""
    """Root cause of the last failure in words, with the remedy."""

    next_retry_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the next start is tried (RFC 3339, UTC). Absent where it is not tried again until the spec changes."""

    counted_until: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """Creation time of the youngest gang that was counted as failed (RFC 3339, UTC), so that none is counted twice."""


class PlanObserved(_Status):
    """What the engines said once they ran, beside what was planned."""

    kv_cache_tokens: int | None = None
    """Tokens that the KV cache of one replica really holds."""

    ratio: float | None = None
    """The real number of tokens divided by the planned one."""

    weight_bytes_per_gpu: int | None = None
    """Bytes that the weights really take on the fullest GPU."""

    weight_ratio: float | None = None
    """The real bytes of weights divided by the planned ones."""

    memory_bytes_per_gpu: int | None = None
    """Bytes that are really in use on the fullest GPU after the warm-up. On a CPU: of a rank's weights and KV cache."""

    memory_ratio: float | None = None
    """The real bytes in use divided by the planned ones."""


class PlanStatus(BaseModel):
    """What was planned for one replica. Fields that this version does not know are kept: planners differ between versions."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow", use_attribute_docstrings=True)

    tensor_parallel: int | None = None
    """GPUs that share every layer."""

    pipeline_parallel: int | None = None
    """Groups of GPUs that each hold a range of the layers."""

    gpus: int | None = None
    """GPUs of one replica."""

    weight_bytes_per_gpu: int | None = None
    """Bytes of weights on the fullest GPU."""

    memory_bytes_per_gpu: int | None = None
    """Bytes of weights, KV cache and what the engine needs beside them on the fullest GPU."""

    kv_cache_tokens: int | None = None
    """Tokens that the KV cache of one replica is expected to hold."""

    max_concurrency_at_context: float | None = None
    """Requests of the full context length that fit into the KV cache at once."""

    decode_floor_seconds: float | None = None
    """Least time of one decode step in seconds, from memory bandwidth alone."""

    prefill_tokens_per_second: float | None = None
    """Most prompt tokens a second of one replica, from its arithmetic alone."""

    predicted_load_seconds: float | None = None
    """Expected time in seconds from a started pod to its first token."""

    observed: PlanObserved | None = None
    """What the engines said once they ran."""


class Condition(_Status):
    """One condition, in Kubernetes' standard form."""

    type: str
    """Accepted, Available, Progressing, Scaling, MetricsAvailable, ScalingContested, Degraded or UpdateAvailable (reserved)."""

    status: Literal["True", "False", "Unknown"] = "Unknown"
    """True, False or Unknown."""

    observed_generation: int | None = None
    """Generation of the spec that the condition was made from."""

    last_transition_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the status last changed (RFC 3339, UTC)."""

    reason: str = ""
    """Why, in one word."""

    message: str = ""
    """Why, in words, with the remedy where there is one."""


class LlamaDeploymentStatus(_Status):
    """What is so."""

    observed_generation: int | None = None
    """Generation of the spec that this status was made from."""

    phase: str | None = None
    """One word for the whole, as in Ready, Loading, Scaling, Failed or Deleting."""

    endpoint: str | None = None
    """URL of the OpenAI-compatible API inside the cluster."""

    revision: str | None = None
    """Hash of the spec fields that need new pods, as in the pods' names."""

    ready: str | None = None
    """Ready replicas of those wanted, as in 1/2."""

    reason: str | None = None
    """Reason of the condition that matters most now."""

    replica_count: int | None = None
    """Replicas that exist, ready or not. The scale subresource shows it."""

    ready_replicas: int | None = None
    """Replicas that answer."""

    selector: str | None = None
    """Label selector of the serving pods. The scale subresource shows it."""

    replicas: list[ReplicaStatus] = Field(default_factory=list)
    """Every replica, by gang."""

    autoscaling: AutoscalingStatus | None = None
    """What the autoscaler last decided, and why."""

    plan: PlanStatus | None = None
    """What was planned for one replica, and what came of it. Absent where nothing was planned."""

    failures: FailureStatus | None = None
    """Failed starts in a row, and when the next is tried."""

    conditions: list[Condition] = Field(default_factory=list)
    """Accepted, Available, Progressing, Scaling, MetricsAvailable, ScalingContested and Degraded, each with its reason. UpdateAvailable is
    reserved."""
