"""From a ServingConfig to the options of the Serve deployment and of vLLM. Pure: no Ray, so that it can be read and tested anywhere."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llama_serving.config import GANG_RESOURCE, ServingConfig
from llama_serving.ray_internals import SETUP_HOOK

# A replica is asked every 10 s and has 60 s to answer; three misses in a row and Serve replaces it. Its event loop also carries the
# streams, and a long prefill on a busy CPU can hold it for many seconds: Ray's own 10 s would kill a healthy engine.
HEALTH_CHECK_PERIOD_SECONDS = 10
HEALTH_CHECK_TIMEOUT_SECONDS = 60

# Serve must not queue: the engine does, where its metrics can be read. The same number as ray.serve.llm's own default.
MAX_ONGOING_REQUESTS = 1_000_000_000

# On top of the drain: Serve keeps a replica reachable for RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S before it waits for streams.
SHUTDOWN_SLACK_SECONDS = 15


def serve_options(config: ServingConfig) -> dict[str, Any]:
    """The options of the scalable deployment that do not depend on the engine. The replica count is the operator's, never written here."""
    return {
        "name": config.serve_deployment,
        "num_replicas": 1,
        "max_ongoing_requests": MAX_ONGOING_REQUESTS,
        "graceful_shutdown_timeout_s": config.drain_seconds + SHUTDOWN_SLACK_SECONDS,
        "graceful_shutdown_wait_loop_s": 1,
        "health_check_period_s": HEALTH_CHECK_PERIOD_SECONDS,
        "health_check_timeout_s": HEALTH_CHECK_TIMEOUT_SECONDS,
        "ray_actor_options": {"num_cpus": 1, "resources": {GANG_RESOURCE: 1}},
    }


def ray_cpus(config: ServingConfig) -> int:
    """What `ray start --num-cpus` says in a replica pod: room for the replica, its bundles and Serve's helpers. Book-keeping, not cores."""
    return max(config.world, config.gpus_per_pod) + 2


def vllm_args(config: ServingConfig) -> dict[str, Any]:
    """The engine arguments of vLLM; what the user gives in `engine.args` wins over what is derived."""
    derived: dict[str, Any] = {
        "tensor_parallel_size": config.tensor_parallel,
        "pipeline_parallel_size": config.pipeline_parallel,
        "kv_cache_dtype": config.kv_cache_dtype,
    }
    if config.max_model_len is not None:
        derived["max_model_len"] = config.max_model_len
    if config.gpus_per_pod == 0:
        # CUDA graphs and torch.compile gain nothing on a CPU and cost minutes of start-up.
        derived["enforce_eager"] = True
    if config.traces_url:
        derived["otlp_traces_endpoint"] = config.traces_url
    return {**derived, **config.engine_args}


def gang_resource(gang: int) -> str:
    """The Ray resource that every pod of one gang over several pods carries, and no other pod."""
    return f"{GANG_RESOURCE}_{gang}"


def pod_resources(config: ServingConfig, gang: int, rank: int) -> dict[str, float]:
    """The custom resources of a replica pod. Rank 0 alone carries `llama_gang`: the replica's actor runs there, and each gang holds one."""
    leader = {GANG_RESOURCE: 1.0} if rank == 0 else {}
    return leader | ({gang_resource(gang): 1.0} if config.pods_per_gang > 1 else {})


def placement(config: ServingConfig) -> dict[str, Any]:
    """vLLM's placement group: one bundle a rank.

    A gang in one pod is packed strictly, as part of the replica's own group: Serve adds the actor's share, `llama_gang` with it, to the
    first bundle. A gang over several pods cannot be: its group is made inside the replica (`pin_to_gang`), which knows its gang.
    """
    bundle = {"CPU": 1} if config.gpus_per_pod == 0 else {"GPU": 1}
    strategy = "STRICT_PACK" if config.pods_per_gang == 1 else "PACK"
    return {"bundles": [dict(bundle) for _ in range(config.world)], "strategy": strategy}


def pin_to_gang(group: dict[str, Any], gang: int) -> dict[str, Any]:
    """The placement group of a gang over several pods, held to the pods of that gang.

    Without it Ray would pack half a replica into a neighbour's pod, and the loss of one pod would break two replicas. The share of the
    resource is as small as Ray's own hints: any number of ranks fits a pod.
    """
    return {**group, "bundles": [{**bundle, gang_resource(gang): 0.001} for bundle in group["bundles"]]}


def spans_pods(group: dict[str, Any]) -> bool:
    """Whether a placement group is that of a gang over several pods."""
    return bool(group["strategy"] == "PACK")


def vllm_options(config: ServingConfig) -> dict[str, Any]:
    """`serve_options` with the replica's placement, as `LLMServer.get_deployment_options` of Ray 2.60 makes them.

    Made here, because Ray's own needs vLLM imported, which would cost every application ten seconds on the head. For a gang over several
    pods there is no placement group: Ray's engine makes it inside the replica.
    """
    options = serve_options(config)
    actor = options["ray_actor_options"]
    options["ray_actor_options"] = {**actor, "runtime_env": {"worker_process_setup_hook": SETUP_HOOK}}
    group = placement(config)
    if spans_pods(group):
        return options
    first, *others = group["bundles"]
    own = {"CPU": actor["num_cpus"], **actor["resources"]}
    return {
        **options,
        "placement_group_bundles": [dict(Counter(first) + Counter(own)), *others],
        "placement_group_strategy": group["strategy"],
    }


def llm_config(config: ServingConfig) -> dict[str, Any]:
    """The keyword arguments of `ray.serve.llm.LLMConfig`, without the server class."""
    # Ray puts the class's name and a colon before the name, and replaces dots unless one is given.
    options = {**serve_options(config), "name": config.model_id}
    return {
        "model_loading_config": {"model_id": config.served_name, "model_source": config.model_path()},
        "engine_kwargs": vllm_args(config),
        "accelerator_type": None,
        "accelerator_config": {"kind": "cpu" if config.gpus_per_pod == 0 else "gpu"},
        "placement_group_config": placement(config),
        "deployment_config": options,
        "log_engine_metrics": True,
    }
