"""The Serve application: `llama_serving.app:build`, called by Ray with the ServingConfig's JSON as its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llama_serving import ray_internals
from llama_serving.config import ServingConfig
from llama_serving.deployment import serve_options, vllm_options

if TYPE_CHECKING:
    from ray.serve import Application


def build(args: dict[str, Any]) -> Application:
    """Build the application of one revision.

    On the fast path HAProxy asks Ray's LLM router for a replica and then streams from that replica's own HTTP server. Where Ray was started
    without HAProxy, Serve's proxy calls the same HTTP app in the replica. Raises ConfigError for arguments that are not a ServingConfig.
    """
    config = ServingConfig.from_json(json.dumps(args))
    server = _simulated(config) if config.engine == "simulated" else _vllm(config)
    return ray_internals.with_router(server) if ray_internals.fast_path_enabled() else server


def routing() -> dict[str, Any]:
    """The Serve option that says which replica gets a request. Ray's own builder takes turns for direct streaming; Ray's two choices
    would be one at random there, since direct requests are picked without asking the replicas.
    """
    from ray.serve.config import RequestRouterConfig

    from llama_serving.least_loaded import LeastLoadedRouter

    return {"request_router_config": RequestRouterConfig(request_router_class=LeastLoadedRouter)}


def _simulated(config: ServingConfig) -> Application:
    from ray import serve

    from llama_serving.engines.simulated import SimulatedArgs
    from llama_serving.engines.simulated_server import SimulatedServer

    SimulatedArgs.parse(config.engine_args)  # a bad argument fails here, in the application's status, and not in a replica
    options = serve_options(config) | routing()
    return serve.deployment(serve.ingress()(SimulatedServer), **options).bind(config.to_json())


def _vllm(config: ServingConfig) -> Application:
    from ray import serve

    from llama_serving.engines.vllm_server import VllmServer

    options = vllm_options(config) | routing()
    return serve.deployment(serve.ingress()(VllmServer), **options).bind(config.to_json())
