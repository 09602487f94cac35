"""What the autoscaler decides on, from the spec, the plan and the snapshot: the policy, what there is, and what speaks against a change.

a gang of another revision       a rollout is under way: nothing is taken away
a gang broken or failed          it is being repaired: nothing is taken away
the head gone or not ready       no gang could drain: nothing is taken away
a gang that does not go          it counts as on its way out until it is stuck (lifecycle/gangs.py): its node may be dead
GPUs that are free on nodes      so many gangs have a place; more are not asked for
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.lifecycle.gangs import Gang, GangState
from llama_operator.lifecycle.observed import NodeGpus, Serve, World
from llama_operator.planning.gpus import GangShape, gang_shape
from llama_operator.planning.hardware.fragmentation import diagnose
from llama_operator.planning.hardware.requests import Holder
from llama_operator.planning.replica import NoRates, rates_of_spec
from llama_operator.rendering import names
from llama_operator.scaling.bounds import Bounds
from llama_operator.scaling.policy import Policy, Replicas
from llama_operator.scaling.service import Service

NODES_COME = "where a node autoscaler runs, set spec.podTemplate.spec.priorityClassName: it adds nodes only for pods that wait"
PERCENTILE = 95
"""Of `timeToFirstTokenSeconds` where none is given."""


def policy_of(spec: LlamaDeploymentSpec, plan: Mapping[str, Any] | None, bounds: Bounds) -> Policy:
    """The policy of a spec that has one, within the bounds that count now. `plan` is what `status.plan` keeps.

    Raises TypeError where an objective needs a plan and there is none: admission must have refused that.
    """
    scaling = spec.autoscaling
    if scaling is None:
        raise TypeError("a spec without spec.autoscaling has no policy")
    objective, rates, shape = scaling.objective, rates_of_spec(spec, plan), gang_shape(spec)
    ttft = objective.time_to_first_token_seconds
    if ttft is not None and isinstance(rates, NoRates):
        raise TypeError(f"an objective without a plan must have been refused: {rates.why}")
    service = None
    if ttft is not None and not isinstance(rates, NoRates):
        service = Service(prefill=rates.prefill, slots=float(rates.slots), itl=rates.itl, kv=rates.kv)
    each, idle = objective.in_flight_per_replica, scaling.idle_seconds(bounds.least)
    down = scaling.scale_down_stabilization_seconds
    return Policy(
        min_replicas=bounds.least,
        max_replicas=bounds.most,
        bounded_by=(bounds.least_by, bounds.most_by),
        in_flight_per_replica=None if each is None else float(each),
        ttft_seconds=ttft,
        percentile=(objective.percentile or PERCENTILE) / 100,
        service=service,
        load_seconds=None if isinstance(rates, NoRates) else rates.load_seconds,
        scale_up_seconds=float(scaling.scale_up_stabilization_seconds),
        scale_down_seconds=None if down is None else float(down),
        idle_seconds=None if idle is None else float(idle),
        gpus=shape.gpus if isinstance(shape, GangShape) else 1,
    )


def first_wanted(gangs: Sequence[Gang], policy: Policy) -> int:
    """What is wanted before anything was decided: what there is, and at least one, so that it is known to work before it may sleep."""
    there = len([gang for gang in gangs if gang.counts])
    return min(max(there, policy.least), policy.max_replicas)


def replicas_of(world: World, gangs: Sequence[Gang], wanted: int, revision: str) -> Replicas:
    """What there is, of which `wanted` by the last decision. `revision` is the one that should run."""
    ready = [gang for gang in gangs if gang.state is GangState.READY and gang.leader]
    since = [gang.leader.ready_since for gang in ready if gang.leader and gang.leader.ready_since is not None]
    return Replicas(
        wanted=wanted,
        ready=len(ready),
        newest=max(since, default=None),
        leaving=sum(gang.state in (GangState.DRAINING, GangState.TERMINATING) and not gang.stuck for gang in gangs),
        unsettled=unsettled(world, gangs, revision),
    )


def unsettled(world: World, gangs: Sequence[Gang], revision: str) -> str:
    """Why nothing may be taken away now; empty where nothing speaks against it."""
    if any(gang.revision != revision and not gang.stuck for gang in gangs):
        return "a rollout is under way"
    broken = next((gang for gang in gangs if gang.state in (GangState.BROKEN, GangState.FAILED)), None)
    if broken is not None:
        return f"{broken} is being repaired"
    head, view = world.head(revision), world.serve.get(revision)
    # A busy head misses a probe now and then; one that answers for the application is up.
    if head is None or not (head.ready or (isinstance(view, Serve) and view.deployed)):
        return "the head is not ready"
    return ""


def asks_for_gpus(spec: LlamaDeploymentSpec) -> GangShape | None:
    """The shape of a gang that must find its place among free GPUs; None where it needs none, or may drive others away."""
    shape = gang_shape(spec)
    if not isinstance(shape, GangShape) or not shape.gpus or spec.pod_template.spec.get("priorityClassName"):
        return None
    return shape


def room(world: World, gang: GangShape, nodes: Sequence[NodeGpus], holders: Sequence[Holder]) -> tuple[int, str]:
    """How many more gangs the free GPUs hold, those that still look for their place set aside; and why not one more."""
    waiting = sum(pod.component == names.REPLICA and pod.node is None and not pod.deleting for pod in world.pods)
    slots = sum(node.free // gang.gpus_per_pod for node in nodes) - waiting
    cordoned = {node.node for node in nodes if node.cordoned}
    found = diagnose(nodes, holders, gang, cordoned, namespace=world.key.namespace)
    count = max(slots, 0) // gang.pods
    why = f"the free GPUs hold {count} more" if count else "those that wait for a node already take the last free GPUs"
    return count, f"{why if found.fits else found.message}; {NODES_COME}"
