"""What this package uses of Ray and vLLM that is not public must be there and behave as it is used. Run it first after every upgrade."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llama_serving.config import ServingConfig
from llama_serving.deployment import llm_config, pin_to_gang, vllm_options

# Ray, vLLM, torch and transformers warn while they are imported: theirs to mend.
pytestmark = [pytest.mark.serving, pytest.mark.filterwarnings("ignore")]


def test_the_reason_of_a_drain_has_this_number() -> None:
    # That the call itself works is seen in test_simulated.py: a drained pod's Ray leaves.
    from ray.core.generated import autoscaler_pb2

    from llama_serving.ray_internals import DRAIN_REASON_PREEMPTION

    assert autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION == DRAIN_REASON_PREEMPTION


def test_a_node_s_state_0_is_alive_and_nodes_have_labels() -> None:
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    assert GcsNodeInfo.GcsNodeState.Value("ALIVE") == 0
    assert "labels" in GcsNodeInfo.DESCRIPTOR.fields_by_name


def test_the_router_can_be_put_beside_a_server() -> None:
    from ray.llm._internal.serve.core.ingress.router import LLMRouter
    from ray.serve import Application

    assert "ingress_request_router" in inspect.signature(Application._with_ingress_request_router).parameters
    # serve.ingress has wrapped the class: the constructor that takes the server's handle is the wrapped one's.
    assert any("server" in inspect.signature(base.__init__).parameters for base in LLMRouter.__mro__)


def test_the_router_s_process_imports_no_torch_and_may_yet() -> None:
    # A process of its own: this one has imported much already.
    code = "import sys, llama_serving.router; assert 'torch' not in sys.modules; import torch; assert torch.__version__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_flags_of_the_fast_path_have_these_names() -> None:
    from llama_serving import ray_internals

    assert ray_internals.fast_path_enabled() in (True, False)


def test_the_hook_of_the_late_bound_ingress_has_this_name() -> None:
    from ray.serve._private.replica import SERVE_BUILD_ASGI_APP_METHOD

    from llama_serving.engines.simulated_server import SimulatedServer
    from llama_serving.engines.vllm_server import VllmServer

    assert hasattr(SimulatedServer, SERVE_BUILD_ASGI_APP_METHOD)
    assert hasattr(VllmServer, SERVE_BUILD_ASGI_APP_METHOD)


def test_vllm_hands_out_weights_through_the_generator_that_the_plugin_wraps() -> None:
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    assert list(inspect.signature(DefaultModelLoader.get_all_weights).parameters) == ["self", "model_config", "model"]


def test_vllm_loads_a_model_through_the_methods_that_the_plugin_wraps() -> None:
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    assert "load_model" not in vars(DefaultModelLoader)
    assert list(inspect.signature(BaseModelLoader.load_model).parameters)[:3] == ["self", "vllm_config", "model_config"]
    assert list(inspect.signature(DefaultModelLoader.load_weights).parameters) == ["self", "model", "model_config"]


def test_a_worker_of_vllm_is_started_and_warmed_up_through_the_methods_that_the_plugin_wraps() -> None:
    from vllm.v1.worker.worker_base import WorkerBase, WorkerWrapperBase

    assert "initialize_from_config" in vars(WorkerWrapperBase)
    assert "compile_or_warm_up_model" in vars(WorkerBase)
    # The wrapper hands on to the worker what it does not have, so that what is set on the worker is what the executor calls.
    assert "compile_or_warm_up_model" not in vars(WorkerWrapperBase)
    assert "__getattr__" in vars(WorkerWrapperBase)


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
                "RAY_SERVE_HAPROXY_INGRESS_REQUEST_ROUTER_TIMEOUT_S",
                "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
                "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
                "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE",
                "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH",
            ],
        ),
    ):
        assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize(
    ("seconds", "pod", "stopped", "wanted"),
    [
        (3600.0, "RUNNING", [], 2),  # the controller knows of no replica in that pod yet
        (3600.0, "RECOVERING", [], 2),  # nor where that router is
        (0.0, "RUNNING", ["of-a-pod"], 1),
        (0.0, "RECOVERING", [], 1),  # Ray stops one of two then
    ],
)
def test_a_controller_that_recovers_keeps_the_routers_of_nodes_whose_replicas_it_does_not_know_yet(
    monkeypatch: pytest.MonkeyPatch, seconds: float, pod: str, stopped: list[str], wanted: int
) -> None:
    """Ray's own method, called as after a lost head: the controller knows its own node alone."""
    from ray.serve._private import utils
    from ray.serve._private.common import ReplicaState
    from ray.serve._private.deployment_state import DeploymentState

    from llama_serving import ray_internals

    gone, targets, version = list[str](), list[int](), object()
    routers = [
        (ReplicaState.RUNNING, SimpleNamespace(replica_id="of-the-head", version=version, target_node_id=None, actor_node_id="head")),
        (ReplicaState[pod], SimpleNamespace(replica_id="of-a-pod", version=version, target_node_id=None, actor_node_id="pod")),
    ]
    state = SimpleNamespace(
        _target_state=SimpleNamespace(deleting=False, version=version),
        _replicas=SimpleNamespace(get=lambda states: [each for now, each in routers if now in states]),
        _in_transition=False,
        _rescale_to=targets.append,
        stop_replicas=gone.extend,
    )
    monkeypatch.setattr(DeploymentState, "_reconcile_ingress_request_router", DeploymentState._reconcile_ingress_request_router)
    monkeypatch.setattr(ray_internals, "KEEP_ROUTERS_SECONDS", seconds)
    utils.call_function_from_import_path(ray_internals.KEEP_ROUTERS_PATH)
    assert DeploymentState._reconcile_ingress_request_router(state, {"head"}) == []
    assert (gone, targets) == (stopped, [wanted])


def test_serve_calls_what_bounds_the_requests_that_its_proxy_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.serve._private import http_util
    from ray.serve.config import HTTPOptions

    from llama_serving import hold, request_id

    for path, stands in ((hold.IMPORT_PATH, [hold.Hold, request_id.RequestId]), (request_id.IMPORT_PATH, [request_id.RequestId])):
        monkeypatch.setattr(http_util, "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", path)
        made = http_util.configure_http_middlewares(http_util.configure_http_options_with_defaults(HTTPOptions()))
        assert [item.cls for item in made.middlewares] == stands


async def test_what_gives_a_request_its_id_stands_before_what_serve_answers_with() -> None:
    """The last of the list is the outermost, with Serve's own at the inner end: what Serve answers and logs is what ours let through."""
    from ray.serve._private import http_util

    from llama_serving import request_id

    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        order.append(dict(scope["headers"])[b"x-request-id"].decode())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        order.extend(value.decode() for name, value in message["headers"] if name.lower() == b"x-request-id")

    wrapped = http_util._apply_middlewares(app, request_id.middlewares())
    headers = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]
    await wrapped({"type": "http", "method": "POST", "path": "/", "headers": headers}, None, send)
    assert len(order) == 2
    assert len(set(order)) == 1
    assert order[0] not in ("one", "two")


def serving_config(tensor: int, pipeline: int, gpus: int) -> ServingConfig:
    return ServingConfig(
        deployment="d",
        namespace="n",
        revision="r",
        source="file:///m",
        served_name="m",
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        gpus_per_pod=gpus,
    )


@pytest.mark.parametrize(("tensor", "gpus"), [(1, 0), (3, 0), (1, 1), (8, 8)])
def test_the_options_of_a_replica_are_those_that_ray_s_own_server_would_have(tensor: int, gpus: int) -> None:
    from ray.serve.llm import LLMConfig
    from ray.serve.llm.deployment import LLMServer

    config = serving_config(tensor, 1, gpus)
    ours, theirs = vllm_options(config), LLMServer.get_deployment_options(LLMConfig(**llm_config(config)))
    theirs["name"] = f"LLMServer:{theirs['name']}"  # as its builder names it
    theirs["placement_group_bundles"] = [{k: v for k, v in bundle.items() if v} for bundle in theirs["placement_group_bundles"]]
    assert ours == theirs


def test_vllm_s_client_says_whether_its_engine_has_died() -> None:
    from vllm.v1.engine.async_llm import AsyncLLM

    assert isinstance(inspect.getattr_static(AsyncLLM, "errored"), property)


def test_a_gang_over_two_pods_makes_its_placement_group_inside_the_replica() -> None:
    from ray.serve.llm import LLMConfig

    from llama_serving import ray_internals

    two = serving_config(8, 2, 8)
    options = vllm_options(two)
    assert "placement_group_bundles" not in options
    assert options["ray_actor_options"]["resources"] == {"llama_gang": 1}
    made = LLMConfig(**llm_config(two))
    made.get_engine_config()  # what Ray has cached in it must change, too
    ray_internals.set_placement_group(made, pin_to_gang(made.placement_group_config, 3))
    assert made.get_engine_config().placement_bundles == [{"GPU": 1, "llama_gang_3": 0.001}] * 16


def test_the_application_is_built_without_vllm_and_torch() -> None:
    """Serve builds it in a process of its own, on the head: what that imports is waited for by every new revision."""
    code = (
        "import json, sys; from llama_serving.app import build; from llama_serving.config import ServingConfig;"
        "build(json.loads(ServingConfig(deployment='d', namespace='n', revision='r', source='file:///m', served_name='m').to_json()));"
        "print([name for name in ('vllm', 'torch') if sys.modules.get(name)])"
    )
    flags = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **flags}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "[]"


def test_ray_looks_for_no_model_files_when_it_is_told_not_to() -> None:
    from ray.llm._internal.common.callbacks.base import CallbackCtx
    from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine

    assert CallbackCtx().run_init_node is True
    assert "run_init_node" in inspect.getsource(VLLMEngine.start)


async def test_ray_s_server_reports_nothing_once_its_engine_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.llm._internal.serve.core.server import llm_server

    from llama_serving import ray_internals

    async def start() -> None:
        """An engine's."""

    def started() -> Any:
        made = SimpleNamespace(engine=SimpleNamespace(start=start), _llm_config="the configuration")
        return llm_server.LLMServer._start_engine(made)

    reported: list[Any] = []

    def report(all_models: list[Any]) -> None:
        reported.extend(all_models)

    monkeypatch.setattr(llm_server, "record_extra_usage_tag", lambda *_: None)
    monkeypatch.setattr(llm_server, "push_telemetry_report_for_all_models", report)
    await started()
    assert reported == ["the configuration"], "what Ray does by itself"
    ray_internals.skip_usage_report()
    await started()
    assert len(reported) == 1


def test_what_is_laid_out_about_llama_is_what_vllm_finds_out_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else vLLM would ignore it (another hash), or believe a wrong answer."""
    from vllm.model_executor.models.registry import ModelRegistry, _ModelInfo

    from llama_serving.engines import model_info

    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path))
    llama = ModelRegistry.models["LlamaForCausalLM"]
    told = model_info.FILE.read_text(encoding="utf-8")
    assert json.loads(told)["hash"] == llama._get_modelinfo_module_hash(Path(inspect.getfile(llama.load_model_cls())))
    assert llama._load_modelinfo_from_cache(json.loads(told)["hash"]) is None
    model_info.lay_out(tmp_path)
    read = llama._load_modelinfo_from_cache(json.loads(told)["hash"])
    assert json.dumps(asdict(read)) == json.dumps(asdict(_ModelInfo.from_model_cls(llama.load_model_cls())))  # a tuple is a list in JSON
    kept = tmp_path / "modelinfos" / model_info.FILE.name
    kept.write_text("vLLM's own")
    model_info.lay_out(tmp_path)
    assert kept.read_text() == "vLLM's own"


def test_the_versions_are_those_that_the_agent_lets_start() -> None:
    from llama_serving.agent.versions import check, installed

    assert check(installed(), need_vllm=True, allow_untested=False) is None
