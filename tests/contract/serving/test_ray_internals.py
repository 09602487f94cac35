"""What this package uses of Ray and vLLM that is not public must be there and behave as it is used. Run it first after every upgrade."""

from __future__ import annotations

import inspect

import pytest

pytestmark = pytest.mark.serving


def test_the_gcs_client_lists_nodes_and_drains_them() -> None:
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    from llama_serving.ray_internals import DRAIN_REASON_PREEMPTION

    assert hasattr(GcsClient, "drain_node")
    assert hasattr(GcsClient, "get_all_node_info")
    assert autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION == DRAIN_REASON_PREEMPTION


def test_a_node_s_state_0_is_alive_and_nodes_have_labels() -> None:
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    assert GcsNodeInfo.GcsNodeState.Value("ALIVE") == 0
    assert "labels" in GcsNodeInfo.DESCRIPTOR.fields_by_name


def test_the_router_can_be_put_beside_a_server() -> None:
    from ray.llm._internal.serve.core.ingress.router import LLMRouter
    from ray.serve import Application

    assert "ingress_request_router" in inspect.signature(Application._with_ingress_request_router).parameters
    # serve.ingress wraps the class; Serve calls the wrapped constructor with what `bind` was given.
    assert "server" in inspect.signature(inspect.unwrap(LLMRouter).__mro__[1].__init__).parameters or "server" in str(
        inspect.signature(LLMRouter.__init__)
    )


def test_the_flags_of_the_fast_path_have_these_names() -> None:
    from llama_serving import ray_internals

    assert ray_internals.fast_path_enabled() in (True, False)


def test_the_hook_of_the_late_bound_ingress_has_this_name() -> None:
    from ray.serve._private.replica import SERVE_BUILD_ASGI_APP_METHOD

    from llama_serving.engines.simulated_server import SimulatedServer
    from llama_serving.engines.vllm_server import LLMServer

    assert hasattr(SimulatedServer, SERVE_BUILD_ASGI_APP_METHOD)
    assert hasattr(LLMServer, SERVE_BUILD_ASGI_APP_METHOD)


def test_vllm_hands_out_weights_through_the_generator_that_the_plugin_wraps() -> None:
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    assert list(inspect.signature(DefaultModelLoader.get_all_weights).parameters) == ["self", "model_config", "model"]


def test_the_environment_variables_that_the_agent_sets_are_read_by_ray() -> None:
    from ray._private import ray_constants
    from ray.llm._internal.serve import constants as llm
    from ray.serve._private import constants as serve

    for module, names in (
        (ray_constants, ["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]),
        (llm, ["RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING", "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS", "ENGINE_START_TIMEOUT_S"]),
        (
            serve,
            [
                "RAY_SERVE_ENABLE_HA_PROXY",
                "RAY_SERVE_THROUGHPUT_OPTIMIZED",
                "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S",
                "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S",
                "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
            ],
        ),
    ):
        assert [name for name in names if not hasattr(module, name)] == []


def test_the_versions_are_those_that_the_agent_lets_start() -> None:
    from llama_serving.agent.versions import check, installed

    assert check(installed(), need_vllm=True, allow_untested=False) is None
