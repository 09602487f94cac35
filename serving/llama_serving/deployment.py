"""From a ServingConfig to the options of the Serve deployment and of vLLM. Pure: no Ray, so that it can be read and tested anywhere."""

from __future__ import annotations

from typing import Any

from llama_serving.config import GANG_RESOURCE, ServingConfig

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
    return {**derived, **config.engine_args}


def placement(config: ServingConfig) -> dict[str, Any]:
    """vLLM's placement group: one bundle a rank. Serve adds the replica's own share, `llama_gang` with it, to the first.

    A gang in one pod is packed strictly: a rank in a neighbour's pod would take the neighbour's GPU. A gang over several pods cannot be.
    """
    bundle = {"CPU": 1} if config.gpus_per_pod == 0 else {"GPU": 1}
    strategy = "STRICT_PACK" if config.pods_per_gang == 1 else "PACK"
    return {"bundles": [dict(bundle) for _ in range(config.world)], "strategy": strategy}


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
