"""The `LlamaDeployment` resource, version v1alpha1: what users write (`spec`) and what the operator answers (`status`).

These models are the one source of the CRD, the editor schema and the field table (`llama_operator.api.schema`); the docstring under a
field is its description everywhere. A spec is read strictly: an unknown field or a wrong type is an error. The models of the status are
in `llama_operator.api.status`.

Checks of single fields stand here; checks that need more than one field stand in `llama_operator.api.rules`, which the API server (as
CEL) and `llama_operator.api.validation` (in words) share.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from llama_operator.api import group
from llama_operator.api.duration import seconds_of
from llama_operator.api.status import LlamaDeploymentStatus

GROUP, VERSION, API_VERSION, KIND, PLURAL = group.GROUP, group.VERSION, group.API_VERSION, group.KIND, group.PLURAL
SINGULAR = "llamadeployment"
SHORT_NAME = "lld"
CATEGORIES = ("all", "llama")

CPU = group.CPU
"""The value of `hardware.accelerator` that runs the engine without a GPU."""

GPUS_PER_NODE = 8
"""GPUs of a node where nothing is said: the HGX boards that Llama 3.1 405B is sized for hold eight."""

NAME_MAX = 40
"""Longest name of a LlamaDeployment, so that `NAME-REVISION-gGANG-RANK` fits the 63 characters of a pod's host name."""

SCALE_TO_ZERO_AFTER = "30m"
"""How long the last replica stays without a request where nothing is said: several times what a large model takes to load."""

KvCacheDtype = Literal["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"]
"""The KV cache types of vLLM 0.29.0 that a Llama can use and whose size per value is fixed (2 bytes, or 1 for fp8)."""

EngineName = Literal["vllm", "simulated"]

RolloutStrategy = Literal["Auto", "Surge", "Replace"]

LabelKey = Annotated[str, StringConstraints(max_length=317)]
"""A label or annotation key: prefix (253), slash, name (63)."""


class _Spec(BaseModel):
    """Written by users: strict types, unknown fields refused, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class SecretRef(_Spec):
    """A Secret in the namespace of the LlamaDeployment."""

    name: str = Field(min_length=1, max_length=253)
    """Name of the Secret. It must lie in the namespace of the LlamaDeployment."""


class SecretKeyRef(_Spec):
    """One key of a Secret in the namespace of the LlamaDeployment."""

    name: str = Field(min_length=1, max_length=253)
    """Name of the Secret. It must lie in the namespace of the LlamaDeployment."""

    key: str = Field(default="token", min_length=1, max_length=253)
    """Key of the Secret that holds the value. Default: token."""


class ModelSpec(_Spec):
    """Which weights are served, and under which name."""

    source: str = Field(min_length=1, max_length=1024)
    """Where the weights are: hf://ORGANISATION/NAME (downloaded from the hub), pvc://CLAIM/PATH (a PersistentVolumeClaim of the namespace,
    mounted read-only), or file:///PATH (a path inside the pod, which the pod template must mount). s3://BUCKET/PREFIX is refused: it is not
    served yet."""

    revision: str | None = Field(default=None, min_length=1, max_length=128)
    """Branch, tag or commit of an hf:// source. Pin a commit to serve the same weights for ever. Default: the hub's main branch."""

    served_name: str | None = Field(default=None, min_length=1, max_length=128)
    """The model name that clients send in their requests. Default: the name of the LlamaDeployment."""

    token_secret_ref: SecretKeyRef | None = None
    """Secret that holds the access token for a gated hf:// model. Only the pods read it, never the operator."""

    license_accepted: bool = False
    """true says that you accepted the Llama Community License of this model. Needed for hf://meta-llama/..., whose models are gated. No pod
    reads it: setting it restarts nothing. Default: false."""

    license_notes: str | None = Field(default=None, min_length=1, max_length=1024)
    """What is to be said of the model's licence, as in: Apache-2.0, not derived from a Llama. Where it is set, no warning asks for a
    servedName that begins with Llama. No pod reads it."""


class CustomAccelerator(_Spec):
    """One GPU of a kind that the catalogue does not know, as its data sheet says."""

    memory_gib: float = Field(alias="memoryGiB", ge=1, le=4096)
    """Memory of one GPU in GiB (2^30 bytes)."""

    memory_bandwidth_gbps: float = Field(alias="memoryBandwidthGBps", ge=1, le=1_000_000)
    """Memory bandwidth of one GPU in GB/s (10^9 bytes each second)."""


class HardwareSpec(_Spec):
    """What the nodes offer."""

    accelerator: str = Field(min_length=1, max_length=63)
    """The kind of GPU, as in nvidia-h100-80gb, or cpu to run the engine without a GPU. With custom, a name of your own."""

    custom: CustomAccelerator | None = None
    """Memory and bandwidth of one GPU, where the catalogue does not know the accelerator or you know better. For planning alone: no pod
    reads it. Default: absent, the catalogue's numbers."""

    gpus_per_node: int = Field(default_factory=lambda data: 0 if data.get("accelerator") == CPU else GPUS_PER_NODE, ge=0, le=64)
    """GPUs that one node offers to a pod. Tensor parallelism stays inside a node. Default: 8, or 0 where the accelerator is cpu."""

    gpu_resource: str = Field(default="nvidia.com/gpu", min_length=3, max_length=317)
    """The extended resource that a pod asks for to get one GPU. Default: nvidia.com/gpu."""


class ParallelismSpec(_Spec):
    """How one replica is split over GPUs. tensor x pipeline GPUs hold one copy of the model."""

    tensor: int | None = Field(default=None, ge=1, le=64)
    """Tensor parallelism: GPUs of one node that share every layer. It must divide the model's attention heads. Absent, the planner
    chooses the fewest GPUs that hold the model; 1 where the model's files can be read by its pods alone."""

    pipeline: int | None = Field(default=None, ge=1, le=64)
    """Pipeline parallelism: groups of GPUs that each hold a range of the layers. More than 1 can span nodes. Absent, the planner
    chooses; 1 where the model's files can be read by its pods alone."""


class ContextSpec(_Spec):
    """How long a request may be, and how its keys and values are kept."""

    max_tokens: int | None = Field(default=None, ge=1, le=100_000_000)
    """Longest sequence in tokens, prompt and answer together. Default: what the model's config.json says."""

    kv_cache_dtype: KvCacheDtype = "auto"
    """Type of the key and value cache. fp8 halves its size. Default: auto, the type of the model."""


class EngineSpec(_Spec):
    """The program that runs the model."""

    type: EngineName = "vllm"
    """vllm runs the model. simulated speaks the same API at a modelled pace, without a model or a GPU, for rehearsals. Default: vllm."""

    args: dict[str, Any] = Field(default_factory=dict, max_length=256)
    """Arguments of the engine by name. For vllm these are the fields of its AsyncEngineArgs (snake_case), as in gpu_memory_utilization.
    An unknown one is refused with the nearest valid name; one that the operator sets itself is refused with the field that sets it."""


class AutoscalingObjective(_Spec):
    """What the autoscaler keeps: exactly one of inFlightPerReplica and timeToFirstTokenSeconds."""

    in_flight_per_replica: int | None = Field(default=None, ge=1, le=1_000_000)
    """Requests, running and queued together, that one replica should have. More than this adds replicas."""

    time_to_first_token_seconds: float | None = Field(default=None, ge=0.01, le=3600)
    """Seconds within which the first token of a request should come. The replicas that this takes are computed from the plan of one (or the
    simulated engine's arguments) and corrected by what is measured; so it is refused where nothing is planned, as for files on a volume."""

    percentile: int | None = Field(default=None, ge=50, le=99)
    """Share of requests, in percent, that timeToFirstTokenSeconds is to hold for. Default: 95."""


class ScheduleSpec(_Spec):
    """A time window in which other bounds count. Where several are open, the highest minReplicas and the highest maxReplicas of them do."""

    name: str = Field(min_length=1, max_length=63)
    """Name of the window, as in business-hours: what a decision says when the window set a bound."""

    timezone: str = Field(default="Etc/UTC", min_length=1, max_length=64)
    """IANA time zone of start and end, as in Europe/Berlin. Default: Etc/UTC."""

    start: str = Field(min_length=9, max_length=256)
    """When the window opens: a cron expression of five fields, as in 0 8 * * 1-5. What falls into the hour that summer time leaves out
    comes right after it."""

    end: str | None = Field(default=None, min_length=9, max_length=256)
    """When the window closes: a cron expression of five fields, as in 0 18 * * 1-5. Either this or duration."""

    duration: str | None = Field(default=None, min_length=2, max_length=16)
    """How long the window stays open after each start, as in 10h or 1h30m. Either this or end."""

    min_replicas: int | None = Field(default=None, ge=0, le=1000)
    """Fewest replicas while the window is open. Default: spec.autoscaling.minReplicas."""

    max_replicas: int | None = Field(default=None, ge=1, le=1000)
    """Most replicas while the window is open. Default: spec.autoscaling.maxReplicas."""


class AutoscalingSpec(_Spec):
    """How the number of replicas follows the load."""

    min_replicas: int = Field(default=1, ge=0, le=1000)
    """Fewest replicas. With 0 the last one goes when no request came for scaleToZeroAfter; requests that come then are held until a
    replica has loaded, at most 30 minutes. The first start is with one replica, so that it is known to work. Default: 1."""

    max_replicas: int = Field(ge=1, le=1000)
    """Most replicas."""

    objective: AutoscalingObjective
    """What the autoscaler keeps."""

    scale_to_zero_after: str | None = Field(default=None, min_length=1, max_length=16)
    """How long no request must have come before the last replica goes, as in 90s, 30m or 1h30m. Only with minReplicas 0. Default: 30m."""

    scale_up_stabilization_seconds: int = Field(default=0, ge=0, le=3600)
    """The need for more replicas must have lasted this many seconds before any is added. From zero the first comes at once. Default: 0."""

    scale_down_stabilization_seconds: int | None = Field(default=None, ge=0, le=86_400)
    """The need for fewer replicas must have lasted this many seconds before any is taken away: 15 or more, since what is measured is no
    newer than a scrape. Default: absent, as long as keeping a replica costs what letting it go in error would, from the load time that is
    learned: 4 times the load time and 20 s, at most 1.5 load times within 400 and 900 s; 600 s until a load time is known."""

    schedules: list[ScheduleSpec] = Field(default_factory=list, max_length=32)
    """Time windows with bounds of their own. A window that opens with a higher minReplicas adds replicas at once; one that closes lets them
    go as the load allows, as without a window. A maxReplicas that falls counts at once. Where several are open, the highest
    minReplicas and the highest maxReplicas of them count. Default: none."""

    def idle_seconds(self, least: int) -> int | None:
        """Seconds without a request after which the last replica goes while `least` is the minimum; None where it stays."""
        return None if least else seconds_of(self.scale_to_zero_after or SCALE_TO_ZERO_AFTER)


class Objectives(_Spec):
    """What the endpoint should keep to, over 30 days. Alerts tell when the share that may miss it is used up too fast; nothing is scaled by
    it.
    """

    time_to_first_token_seconds: float | None = Field(default=None, ge=0.001, le=2560)
    """Seconds within which an engine should give the first token. Counted by the engine's histogram, whose next bound above it counts.
    Default: spec.autoscaling.objective.timeToFirstTokenSeconds, else none."""

    inter_token_seconds: float | None = Field(default=None, ge=0.01, le=80)
    """Seconds that should at most lie between two tokens of a stream. Counted as above. Default: none."""

    latency_percent: float = Field(default=95, ge=50, le=99.99)
    """Share of requests, and of tokens, in percent that the two must hold for. Default: 95."""

    success_percent: float = Field(default=99, ge=50, le=99.99)
    """Share of requests in percent that must not end with a 5xx status. Default: 99."""


class RolloutSpec(_Spec):
    """How a changed spec replaces what runs."""

    strategy: RolloutStrategy = "Auto"
    """Replace drains one replica and loads its successor on the GPUs that come free, one after the other. Surge would load the successor
    first; it is not served yet: refused. Auto leaves the choice to the operator; this version replaces. It takes effect with the next
    rollout. Default: Auto."""


class AccessSpec(_Spec):
    """Who may use the endpoint."""

    api_keys_secret_ref: SecretRef | None = None
    """Secret that holds the API keys that clients must present. Not served yet: refused. The endpoint has no authentication of its own."""


class TracingSpec(_Spec):
    """Where spans of requests go."""

    endpoint: str = Field(min_length=1, max_length=512)
    """URL of an OpenTelemetry collector that takes OTLP over HTTP, as in http://otel-collector.observability:4318. Without a path,
    /v1/traces is added. It may hold no credentials."""


class PodTemplateMetadata(_Spec):
    """Labels and annotations added to the serving pods."""

    labels: dict[LabelKey, Annotated[str, StringConstraints(max_length=63)]] = Field(default_factory=dict, max_length=64)
    """Labels added to every serving pod. The operator's own (llama-operator.dev/..., app.kubernetes.io/name, instance, managed-by) are
    refused."""

    annotations: dict[LabelKey, Annotated[str, StringConstraints(max_length=65_536)]] = Field(default_factory=dict, max_length=64)
    """Annotations added to every serving pod."""


class PodTemplateSpec(_Spec):
    """What is merged over the serving pods that the operator renders."""

    metadata: PodTemplateMetadata = Field(default_factory=PodTemplateMetadata)
    """Labels and annotations added to the serving pods."""

    spec: dict[str, Any] = Field(default_factory=dict)
    """Fields of a Kubernetes PodSpec (nodeSelector, tolerations, volumes, containers by name ...), merged over what the operator renders.
    The serving container is named llama, its init container code."""


class LlamaDeploymentSpec(_Spec):
    """What the user wants."""

    model: ModelSpec
    """Which weights are served, and under which name."""

    hardware: HardwareSpec
    """What the nodes offer."""

    parallelism: ParallelismSpec = Field(default_factory=ParallelismSpec)
    """How one replica is split over GPUs. tensor x pipeline GPUs hold one copy of the model."""

    context: ContextSpec = Field(default_factory=ContextSpec)
    """How long a request may be, and how its keys and values are kept."""

    engine: EngineSpec = Field(default_factory=EngineSpec)
    """The program that runs the model."""

    replicas: int = Field(default=1, ge=0, le=1000)
    """Copies of the model while autoscaling is absent; kubectl scale writes it. 0 stops every copy. Leave it out where autoscaling is
    set. Default: 1."""

    autoscaling: AutoscalingSpec | None = None
    """How the number of replicas follows the load. Default: absent, replicas says how many."""

    objectives: Objectives | None = None
    """What the endpoint should keep to. Alerts watch it; changing it restarts nothing. Default: absent, which is 99 % of requests without
    a 5xx status, and no latency but that of the autoscaling objective."""

    rollout: RolloutSpec = Field(default_factory=RolloutSpec)
    """How a changed spec replaces what runs."""

    access: AccessSpec = Field(default_factory=AccessSpec)
    """Who may use the endpoint."""

    tracing: TracingSpec | None = None
    """Where spans of requests go, from the proxy to the engine. The pods read it when they start: changing it rolls out. Default: absent,
    nothing is traced."""

    pod_template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    """What is merged over the serving pods that the operator renders."""

    image: str | None = Field(default=None, min_length=1, max_length=1024)
    """Image of the serving pods: one with Ray and vLLM. Default: the image that the operator was installed with."""


class LlamaDeployment(BaseModel):
    """A Llama served by Ray Serve and vLLM behind an OpenAI-compatible endpoint."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True)

    api_version: Literal["llama-operator.dev/v1alpha1"] = "llama-operator.dev/v1alpha1"
    """llama-operator.dev/v1alpha1"""

    kind: Literal["LlamaDeployment"] = "LlamaDeployment"
    """LlamaDeployment"""

    metadata: dict[str, Any]
    """Standard object metadata. The name is a DNS label that begins with a letter, of at most 40 characters."""

    spec: LlamaDeploymentSpec
    """What the user wants."""

    status: LlamaDeploymentStatus = Field(default_factory=LlamaDeploymentStatus)
    """What is so. Written by the operator alone."""

    @property
    def name(self) -> str:
        """Name of the resource."""
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        """Namespace of the resource; `default` where a file names none."""
        return str(self.metadata.get("namespace") or "default")

    @property
    def served_name(self) -> str:
        """The model name that clients send: `spec.model.servedName`, else the resource's name."""
        return self.spec.model.served_name or self.name
