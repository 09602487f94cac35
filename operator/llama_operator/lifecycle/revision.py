"""Which revision a spec is, and what that revision runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import HardwareSpec, LlamaDeploymentSpec
from llama_operator.lifecycle.observed import World
from llama_operator.lifecycle.plan import Wish
from llama_operator.planning.gpus import gang_shape
from llama_operator.planning.parallelism import UNSPLIT, Parallelism, parallelism_of, with_split
from llama_operator.rendering import guards, names, revision, services
from llama_operator.rendering.context import RenderContext, RenderOptions
from llama_serving.config import ServingConfig

REVISION_DIGITS = 10
"""40 bits: two of a deployment's revisions meet by chance once in some 10^12 edits."""

FIELDS_WITHOUT_PODS = ("replicas", "autoscaling", "objectives", "rollout", "model.licenseAccepted", "model.licenseNotes", "hardware.custom")
"""Fields of the spec that change no pod."""

DRAIN_SECONDS = 300
"""How long a stream may go on after its replica was told to go: 16,000 tokens at 405B's pace of some 60 a second."""


def revision_of(spec: LlamaDeploymentSpec) -> str:
    """The hash of the fields that need new pods, as the user gave them.

    Defaults are left out, so that a newer operator with another default, or a new field, does not see a new revision in an old spec.
    """
    given = spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_defaults=True)
    for field in FIELDS_WITHOUT_PODS:
        _drop(given, field)
    # pydantic does not know a default that depends on another field: written out, it must not restart a model either.
    if spec.hardware.gpus_per_node == HardwareSpec(accelerator=spec.hardware.accelerator).gpus_per_node:
        _drop(given, "hardware.gpusPerNode")
    # The split that runs, whoever chose it: one that is written out as it was chosen anyway restarts nothing.
    split = parallelism_of(spec)
    given["parallelism"] = {name: number for name, number in (("tensor", split.tensor), ("pipeline", split.pipeline)) if number != UNSPLIT}
    text = json.dumps({key: value for key, value in given.items() if value != {}}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:REVISION_DIGITS]


def as_it_runs(spec: LlamaDeploymentSpec, pinned: Mapping[str, revision.Pinned], status: Mapping[str, Any]) -> LlamaDeploymentSpec | None:
    """The spec with the split of a revision that runs already and that it still asks for; None where it asks for a new one.

    A planner that would choose another split today, or a model that can no longer be read, thus changes nothing that runs.
    """
    kept = status.get("plan") or {}
    remembered = [(_count(kept.get("tensorParallel")), _count(kept.get("pipelineParallel"))), (UNSPLIT, UNSPLIT)]
    for tensor, pipeline in [*(record.split for record in pinned.values()), *remembered]:
        filled = with_split(spec, Parallelism(tensor=tensor, pipeline=pipeline))
        if revision_of(filled) in {*pinned, status.get("revision")}:
            return filled
    return None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else UNSPLIT


def _drop(given: dict[str, Any], field: str) -> None:
    """Take a dotted field out of a dumped spec, where it is there."""
    *parents, last = field.split(".")
    for name in parents:
        given = given.get(name, {})
    given.pop(last, None)


def serving_config(key: names.Key, spec: LlamaDeploymentSpec, revision_name: str) -> ServingConfig:
    """What the pods are told."""
    shape, split = gang_shape(spec), parallelism_of(spec)
    if isinstance(shape, Problem):
        raise TypeError(f"{key}: a spec without a gang shape must have been refused: {shape.message}")
    return ServingConfig(
        deployment=key.name,
        namespace=key.namespace,
        revision=revision_name,
        source=spec.model.source,
        model_revision=spec.model.revision,
        served_name=spec.model.served_name or key.name,
        engine=spec.engine.type,
        engine_args=dict(spec.engine.args),
        tensor_parallel=split.tensor,
        pipeline_parallel=split.pipeline,
        gpus_per_pod=shape.gpus_per_pod,
        max_model_len=spec.context.max_tokens,
        kv_cache_dtype=spec.context.kv_cache_dtype,
        drain_seconds=DRAIN_SECONDS,
        tracing_endpoint=spec.tracing.endpoint if spec.tracing else None,
    )


def render_context(key: names.Key, uid: str, spec: LlamaDeploymentSpec, options: RenderOptions) -> RenderContext:
    """Everything that the makers of manifests need for the revision that `spec` is."""
    name = revision_of(spec)
    token = spec.model.token_secret_ref
    return RenderContext(
        name=key.name,
        namespace=key.namespace,
        uid=uid,
        revision=name,
        serving=serving_config(key, spec, name),
        options=options,
        image=spec.image or options.serving_image,
        gpu_resource=spec.hardware.gpu_resource,
        token_secret=(token.name, token.key) if token else None,
        pod_template=spec.pod_template.model_dump(mode="json", by_alias=True, exclude_unset=True),
    )


def shared_objects(context: RenderContext, replicas: int, pods_per_gang: int) -> list[dict[str, Any]]:
    """Children that belong to no revision."""
    budget = guards.disruption_budget(context, replicas, pods_per_gang)
    return [services.user_service(context), budget, guards.network_policy(context)]


def make_wish(world: World, context: RenderContext, replicas: int) -> Wish:
    """The wish for a spec: the pinned manifests of its revision where there are any, else fresh ones and the record that pins them."""
    kept = world.pinned.get(context.revision)
    pinned = kept or revision.render(context)
    record = None if kept else revision.to_controller_revision(context, pinned, 1 + _last_number(world))
    shared = shared_objects(context, replicas, _pods_per_gang(world, pinned))
    return Wish(pinned=pinned, record=record, shared=shared, replicas=replicas)


def _pods_per_gang(world: World, pinned: revision.Pinned) -> int:
    """Of the largest gang there is: while a revision of another shape is moved over, its pods are protected too."""
    running = {pod.revision for pod in world.pods if pod.component == names.REPLICA} & world.pinned.keys()
    return max(len(shape.gang) for shape in (pinned, *(world.pinned[name] for name in running)))


def keep_running(world: World, running: str, replicas: int) -> Wish | None:
    """The wish while the spec is refused: what ran goes on as it was pinned."""
    kept = world.pinned.get(running)
    return Wish(pinned=kept, record=None, shared=[], replicas=replicas) if kept else None


def _last_number(world: World) -> int:
    numbers = [_number(manifest) for (kind, _), manifest in world.objects.items() if kind == "ControllerRevision"]
    return max(numbers, default=0)


def _number(manifest: Mapping[str, Any]) -> int:
    return int(manifest.get("revision") or 0)
