"""How Ray is started in each kind of pod."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llama_serving.agent.raystart import ray_command, ray_environment
from llama_serving.agent.settings import Settings, from_environment
from llama_serving.config import ConfigError, ServingConfig

CONFIG = ServingConfig(
    deployment="d", namespace="n", revision="r", source="file:///m", served_name="m", tensor_parallel=8, gpus_per_pod=8, drain_seconds=60
)
START = "5f3a"
POD = {
    "LLAMA_ROLE": "replica",
    "LLAMA_CONFIG": CONFIG.to_json(),
    "LLAMA_HEAD": "d-r-head:6379",
    "LLAMA_GANG": "3",
    "LLAMA_RANK": "0",
    "LLAMA_POD_NAME": "d-r-g3-0",
    "LLAMA_POD_IP": "10.0.0.7",
}


def settings(**changes: str) -> Settings:
    return from_environment({**POD, **changes})


def option(command: list[str], name: str) -> str:
    return next(item.split("=", 1)[1] for item in command if item.startswith(f"--{name}="))


def test_the_head_runs_no_work_and_serves_the_dashboard_to_the_operator() -> None:
    command = ray_command(settings(LLAMA_ROLE="head"), START)
    assert "--head" in command
    assert option(command, "num-cpus") == "0"
    assert option(command, "dashboard-host") == "0.0.0.0"
    assert option(command, "port") == "6379"


def test_neither_ray_s_autoscaler_nor_a_forwarder_of_logs_runs_and_the_pod_template_may_want_one() -> None:
    assert "--no-monitor" in ray_command(settings(LLAMA_ROLE="head"), START)
    wants = ray_command(settings(LLAMA_RAY_ARGS="--include-log-monitor=true"), START)
    assert [item for item in wants if item.startswith("--include-log-monitor")] == [
        "--include-log-monitor=false",
        "--include-log-monitor=true",
    ]


def test_only_rank_0_of_a_gang_carries_the_gang_s_resource() -> None:
    assert json.loads(option(ray_command(settings(), START), "resources")) == {"llama_gang": 1}
    two_pods = replace(CONFIG, pipeline_parallel=2).to_json()
    leader = ray_command(settings(LLAMA_CONFIG=two_pods), START)
    follower = ray_command(settings(LLAMA_CONFIG=two_pods, LLAMA_RANK="1"), START)
    assert json.loads(option(leader, "resources")) == {"llama_gang": 1, "llama_gang_3": 1}
    assert json.loads(option(follower, "resources")) == {"llama_gang_3": 1}


def test_a_replica_joins_its_head_with_its_gpus() -> None:
    command = ray_command(settings(), START)
    assert option(command, "address") == "d-r-head:6379"
    assert option(command, "num-gpus") == "8"
    assert option(command, "labels") == "llama-operator.dev/pod=d-r-g3-0,llama-operator.dev/start=5f3a"


def test_a_node_gets_no_name_because_haproxy_would_resolve_it() -> None:
    assert not [item for item in ray_command(settings(), START) if item.startswith("--node-name")]


def test_raylets_outlive_a_lost_head_by_ten_minutes_and_prompts_are_never_logged() -> None:
    for role in ("head", "replica"):
        environment = ray_environment(settings(LLAMA_ROLE=role), {}, fast_path=True, store=True)
        assert environment["RAY_gcs_rpc_server_reconnect_timeout_s"] == "600"
        assert environment["RAYLLM_ENABLE_REQUEST_PROMPT_LOGS"] == "0"


def test_only_the_head_keeps_a_store_and_only_where_it_can_write() -> None:
    assert ray_environment(settings(LLAMA_ROLE="head"), {}, fast_path=True, store=True)["RAY_gcs_storage_path"] == "/data/gcs"
    assert "RAY_gcs_storage" not in ray_environment(settings(LLAMA_ROLE="head"), {}, fast_path=True, store=False)
    assert "RAY_gcs_storage" not in ray_environment(settings(), {}, fast_path=True, store=True)


def test_without_haproxy_the_ordinary_path_is_taken() -> None:
    environment = ray_environment(settings(), {}, fast_path=False, store=False)
    assert [key for key in environment if key.startswith("RAY_SERVE_")] == ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]
    fast = ray_environment(settings(), {}, fast_path=True, store=False)
    assert fast["RAY_SERVE_ENABLE_HA_PROXY"] == fast["RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"] == "1"


def test_a_stream_of_an_hour_survives_a_change_of_the_replicas() -> None:
    assert int(ray_environment(settings(), {}, fast_path=True, store=False)["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) > 3600


def test_what_the_pod_template_sets_wins() -> None:
    environment = ray_environment(settings(), {"RAY_metrics_report_interval_ms": "500"}, fast_path=True, store=False)
    assert environment["RAY_metrics_report_interval_ms"] == "500"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"LLAMA_ROLE": "worker"}, "LLAMA_ROLE: 'worker' is neither head nor replica"),
        ({"LLAMA_HEAD": "head"}, "LLAMA_HEAD: 'head' is not host:port"),
        ({"LLAMA_RANK": "-1"}, "LLAMA_RANK: '-1' is not a whole number"),
        ({"LLAMA_CONFIG": ""}, "LLAMA_CONFIG: not set"),
        ({"LLAMA_CONFIG": "{"}, "LLAMA_CONFIG is not JSON"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused_by_the_variable_s_name(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**changes)
    assert message in str(caught.value)


def test_a_pod_needs_no_more_than_the_contract_s_variables() -> None:
    made = settings()
    assert (made.role, made.gang, made.rank, made.agent_port, made.run_dir) == ("replica", 3, 0, 8090, Path("/run/llama"))


def test_the_head_alone_bounds_what_it_holds() -> None:
    name = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    head = ray_environment(settings(LLAMA_ROLE="head"), {}, fast_path=True, store=False)
    assert head[name] == "llama_serving.hold:middlewares"
    assert ray_environment(settings(), {}, fast_path=True, store=False)[name] == "llama_serving.request_id:middlewares"


def test_the_controller_on_the_head_keeps_the_routers_while_it_recovers() -> None:
    name = "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH"
    head = ray_environment(settings(LLAMA_ROLE="head"), {}, fast_path=True, store=False)
    assert head[name] == "llama_serving.ray_internals:keep_routers"
    assert name not in ray_environment(settings(LLAMA_ROLE="head"), {}, fast_path=False, store=False)
    assert name not in ray_environment(settings(), {}, fast_path=True, store=False)


def test_the_line_of_a_request_is_written_when_the_request_ends() -> None:
    assert ray_environment(settings(), {}, fast_path=True, store=False)["RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE"] == "1"
