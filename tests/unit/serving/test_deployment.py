"""From a ServingConfig to what Serve and vLLM are told."""

from __future__ import annotations

import pytest

from llama_serving.config import ServingConfig
from llama_serving.deployment import llm_config, pin_to_gang, placement, ray_cpus, serve_options, spans_pods, vllm_args, vllm_options


def config(**changes: object) -> ServingConfig:
    base: dict[str, object] = {"deployment": "d", "namespace": "n", "revision": "r", "source": "file:///m", "served_name": "llama-3.1-8b"}
    return ServingConfig(**{**base, **changes})  # type: ignore[arg-type]


def test_a_dot_in_the_served_name_stays_in_the_deployment_s_name() -> None:
    assert serve_options(config())["name"] == "LLMServer:llama-3.1-8b"
    assert llm_config(config())["deployment_config"]["name"] == "llama-3.1-8b"  # Ray puts the class's name before it


def test_each_replica_asks_for_one_gang() -> None:
    assert serve_options(config())["ray_actor_options"]["resources"] == {"llama_gang": 1}


def test_serve_waits_longer_than_the_longest_stream_it_lets_finish() -> None:
    assert serve_options(config(drain_seconds=300))["graceful_shutdown_timeout_s"] > 300


@pytest.mark.parametrize(
    ("changes", "bundle", "count", "strategy"),
    [
        ({}, {"CPU": 1}, 1, "STRICT_PACK"),
        ({"tensor_parallel": 3}, {"CPU": 1}, 3, "STRICT_PACK"),
        ({"tensor_parallel": 8, "gpus_per_pod": 8}, {"GPU": 1}, 8, "STRICT_PACK"),
        ({"tensor_parallel": 8, "pipeline_parallel": 2, "gpus_per_pod": 8}, {"GPU": 1}, 16, "PACK"),
    ],
)
def test_a_gang_in_one_pod_is_packed_strictly(changes: dict[str, object], bundle: dict[str, int], count: int, strategy: str) -> None:
    assert placement(config(**changes)) == {"bundles": [bundle] * count, "strategy": strategy}


def test_a_gang_over_several_pods_is_held_to_its_own_pods() -> None:
    group = placement(config(tensor_parallel=8, pipeline_parallel=2, gpus_per_pod=8))
    assert spans_pods(group)
    assert not spans_pods(placement(config(tensor_parallel=8, gpus_per_pod=8)))
    assert pin_to_gang(group, 3)["bundles"] == [{"GPU": 1, "llama_gang_3": 0.001}] * 16


def test_a_replica_s_share_lies_in_the_first_bundle_of_its_gang_unless_the_gang_spans_pods() -> None:
    options = vllm_options(config(tensor_parallel=2, gpus_per_pod=2))
    assert options["placement_group_bundles"] == [{"GPU": 1, "CPU": 1, "llama_gang": 1}, {"GPU": 1}]
    assert options["placement_group_strategy"] == "STRICT_PACK"
    assert vllm_options(config())["placement_group_bundles"] == [{"CPU": 2, "llama_gang": 1}]
    assert "placement_group_bundles" not in vllm_options(config(tensor_parallel=8, pipeline_parallel=2, gpus_per_pod=8))


def test_the_engine_on_a_cpu_skips_compilation_and_on_a_gpu_does_not() -> None:
    assert vllm_args(config())["enforce_eager"] is True
    assert "enforce_eager" not in vllm_args(config(gpus_per_pod=8, tensor_parallel=8))
    assert llm_config(config())["accelerator_config"] == {"kind": "cpu"}
    assert llm_config(config(gpus_per_pod=1))["accelerator_config"] == {"kind": "gpu"}


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, None),
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
    ],
)
def test_vllm_sends_its_spans_to_the_collector_and_is_told_of_none_where_there_is_none(endpoint: str | None, url: str | None) -> None:
    assert vllm_args(config(tracing_endpoint=endpoint)).get("otlp_traces_endpoint") == url


def test_the_parallelism_and_the_context_reach_vllm() -> None:
    args = vllm_args(config(tensor_parallel=8, pipeline_parallel=2, gpus_per_pod=8, max_model_len=131072, kv_cache_dtype="fp8"))
    assert args == {"tensor_parallel_size": 8, "pipeline_parallel_size": 2, "kv_cache_dtype": "fp8", "max_model_len": 131072}


def test_what_the_user_gives_wins_over_what_is_derived() -> None:
    assert vllm_args(config(engine_args={"enforce_eager": False, "max_num_seqs": 8}))["enforce_eager"] is False


def test_ray_has_room_for_the_ranks_and_the_replica() -> None:
    for changes in ({}, {"tensor_parallel": 3}, {"tensor_parallel": 8, "gpus_per_pod": 8}):
        assert ray_cpus(config(**changes)) >= config(**changes).world + 1
