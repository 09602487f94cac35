"""How a replica lies on nodes: equal pods, and no tensor-parallel group over two of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.problems import Problem
from llama_operator.api.v1alpha1 import LlamaDeploymentSpec
from llama_operator.planning.gpus import GangShape, gang_shape
from llama_serving.config import ServingConfig


def spec(tensor: int, pipeline: int, node: int = 8, accelerator: str = "nvidia-h100") -> LlamaDeploymentSpec:
    hardware = {"accelerator": accelerator, "gpusPerNode": node}
    raw = {"model": {"source": "file:///m"}, "hardware": hardware, "parallelism": {"tensor": tensor, "pipeline": pipeline}}
    return LlamaDeploymentSpec.model_validate(raw)


@pytest.mark.parametrize(
    ("tensor", "pipeline", "node", "pods", "gpus"),
    [
        (1, 1, 8, 1, 1),
        (4, 1, 8, 1, 4),
        (8, 1, 8, 1, 8),
        (8, 2, 8, 2, 8),
        (4, 4, 8, 2, 8),
        (4, 3, 8, 3, 4),
        (2, 4, 8, 1, 8),
        (3, 2, 8, 1, 6),
        (2, 6, 8, 2, 6),
        (1, 16, 8, 2, 8),
        (4, 2, 4, 2, 4),
    ],
)
def test_the_gang_of_a_split(tensor: int, pipeline: int, node: int, pods: int, gpus: int) -> None:
    shape = gang_shape(spec(tensor, pipeline, node))
    assert isinstance(shape, GangShape)
    assert (shape.pods, shape.gpus_per_pod) == (pods, gpus)


def test_on_the_cpu_the_whole_replica_lies_in_one_pod() -> None:
    assert gang_shape(spec(3, 2, 0, "cpu")) == GangShape(pods=1, gpus_per_pod=0, stages_per_pod=2)


def test_a_tensor_parallel_group_larger_than_a_node_is_refused() -> None:
    problem = gang_shape(spec(16, 1))
    assert isinstance(problem, Problem)
    assert problem.given == "16 with 8 GPUs per node"


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
def test_every_gang_holds_its_ranks_in_equal_pods_that_fit_a_node(tensor: int, pipeline: int, node: int) -> None:
    shape = gang_shape(spec(tensor, pipeline, node))
    if tensor > node:
        assert isinstance(shape, Problem)
        return
    assert isinstance(shape, GangShape)
    assert shape.gpus == tensor * pipeline
    assert shape.gpus_per_pod <= node
    assert shape.gpus_per_pod == shape.stages_per_pod * tensor
    serving = ServingConfig(
        deployment="d",
        namespace="n",
        revision="0123456789",
        source="file:///m",
        served_name="d",
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        gpus_per_pod=shape.gpus_per_pod,
    )
    assert serving.pods_per_gang == shape.pods
