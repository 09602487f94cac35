"""What Kubernetes says of its nodes, read: the accelerator, how many, and what speaks against planning with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.planning.hardware.accelerators import CATALOGUE, GIB, Accelerator
from llama_operator.planning.hardware.nodes import accelerator_of, group_nodes, read_node
from llama_operator.planning.hardware.requests import Holder, amount, gpu_holders, requested

NVIDIA, AMD = "nvidia.com/gpu", "amd.com/gpu"


def node(name: str, gpus: int, resource: str = NVIDIA, **labels: str) -> dict[str, Any]:
    full = {f"{resource}.{key.replace('_', '-').replace('--', '.')}": value for key, value in labels.items()}
    return {"metadata": {"name": name, "labels": full}, "status": {"allocatable": {"cpu": "8", resource: str(gpus)}}}


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}, "nvidia-h100-80gb"),
        ({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED"}, "nvidia-h100-80gb"),
        ({"nvidia.com/gpu.product": "A100-SXM4-40GB", "nvidia.com/gpu.memory": "39538"}, "nvidia-a100-40gb"),
        ({"nvidia.com/gpu.product": "NVIDIA-L40S"}, "nvidia-l40s-48gb"),
        ({"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.vram": "192G"}, "amd-mi300x-192gb"),
        ({"amd.com/gpu.product-name": "AMD_Instinct_MI300X_VF", "amd.com/gpu.vram": "192G"}, "amd-mi300x-192gb"),
        ({"beta.amd.com/gpu.product-name": "AMD_Instinct_MI355_OAM"}, "amd-mi355x-288gb"),
        ({"nvidia.com/gpu.product": "NVIDIA-H100-NVL", "nvidia.com/gpu.memory": "95830"}, "nvidia-h100-nvl-94gb"),
        ({"nvidia.com/gpu.product": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"}, "nvidia-rtx-pro-6000-96gb"),
    ],
)
def test_products_of_the_catalogue_are_known_by_their_labels(labels: dict[str, str], name: str) -> None:
    assert accelerator_of(labels) is CATALOGUE[name]


def test_of_other_products_the_labels_tell_what_they_can() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A10", "nvidia.com/gpu.memory": "23028"}
    version = {"nvidia.com/gpu.compute.major": "8", "nvidia.com/gpu.compute.minor": "6"}
    ten = accelerator_of(labels | version)
    assert ten == Accelerator(name="nvidia-a10", memory=int(23_028 * 2**20 * 0.98), capability=(8, 6), products=("NVIDIA-A10",))
    assert accelerator_of(labels | {"nvidia.com/gpu.compute.major": "8"}).capability is None  # type: ignore[union-attr]
    other = accelerator_of({"amd.com/gpu.product-name": "AMD_Instinct_MI325_OAM", "amd.com/gpu.vram": "256G"})
    assert other is not None
    assert (other.name, other.memory) == ("amd-instinct-mi325-oam", int(256 * GIB * 0.98))
    assert accelerator_of({"beta.amd.com/gpu.product-name": "X", "beta.amd.com/gpu.vram": "1G"}).memory == int(GIB * 0.98)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"nvidia.com/gpu.memory": "23028"},
        {"nvidia.com/gpu.product": "NVIDIA-A10"},
        {"nvidia.com/gpu.product": "NVIDIA-A10", "nvidia.com/gpu.memory": "much"},
        {"amd.com/gpu.product-name": "X", "amd.com/gpu.vram": "lots"},
    ],
)
def test_too_few_labels_tell_nothing(labels: dict[str, str]) -> None:
    assert accelerator_of(labels) is None


def test_a_node_offers_what_is_allocatable() -> None:
    read = read_node(node("a", 8, product="NVIDIA-H100-80GB-HBM3"), NVIDIA)
    assert read is not None
    assert (read.node, read.gpus, read.accelerator, read.warning) == ("a", 8, CATALOGUE["nvidia-h100-80gb"], "")
    assert read_node(node("a", 8), AMD) is None
    assert read_node({"metadata": {"name": "a"}}, NVIDIA) is None
    assert read_node(node("a", 0), NVIDIA) is None


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "node a offers 4 nvidia.com/gpu, and no label says of which product; name it in spec.hardware.accelerator"),
        (
            {"product": "NVIDIA-L4-SHARED"},
            "the GPUs of node a are time-sliced: several pods are promised the memory of one; turn the slicing off",
        ),
        (
            {"product": "A100-SXM4-40GB-MIG-1g.5gb", "memory": "5120"},
            "node a offers slices of GPUs (MIG): tensor parallelism over slices is not planned",
        ),
    ],
)
def test_what_speaks_against_a_node_is_said(labels: dict[str, str], words: str) -> None:
    read = read_node(node("a", 4, **labels), NVIDIA)
    assert read is not None
    assert read.warning == words


def test_nodes_are_grouped_by_kind_and_count_the_largest_groups_first() -> None:
    h100, l4 = {"product": "NVIDIA-H100-80GB-HBM3"}, {"product": "NVIDIA-L4"}
    nodes = [
        node("c", 8, **h100),
        node("l", 4, **l4),
        node("a", 8, **h100),
        node("b", 4, **h100),
        node("x", 2),
        node("s", 8, product="NVIDIA-L4-SHARED"),
    ]
    groups = group_nodes([*nodes, {"metadata": {"name": "cpu-only"}}], NVIDIA)
    assert [(group.hardware.accelerator.name, group.hardware.gpus_per_node, group.nodes) for group in groups] == [
        ("nvidia-h100-80gb", 8, ("a", "c")),
        ("nvidia-h100-80gb", 4, ("b",)),
        ("nvidia-l4-24gb", 4, ("l",)),
    ]


def pod(name: str, gpus: int, node_name: str | None = "a", phase: str = "Running") -> dict[str, Any]:
    container = {"resources": {"requests": {NVIDIA: gpus}}}
    return {
        "metadata": {"namespace": "n", "name": name},
        "spec": {"nodeName": node_name, "containers": [container]},
        "status": {"phase": phase},
    }


def test_pods_that_run_hold_what_they_asked_for() -> None:
    pods = [
        pod("one", 2),
        pod("done", 4, phase="Succeeded"),
        pod("dead", 4, phase="Failed"),
        pod("waits", 4, node_name=None),
        pod("none", 0),
    ]
    assert gpu_holders(pods, NVIDIA) == [Holder(pod="n/one", node="a", gpus=2)]
    bare = {"spec": {"nodeName": "a", "containers": [{"resources": {"requests": {NVIDIA: "1"}}}]}}
    assert gpu_holders([bare], NVIDIA) == [Holder(pod="default/None", node="a", gpus=1)]
    assert requested({}, NVIDIA) == 0


@pytest.mark.parametrize(
    ("written", "count"),
    [("1k", 1000), ("1500", 1500), ("1.5k", 1500), ("2Ki", 2048), ("1e3", 1000), ("1M", 10**6), ("2000m", 2), (3, 3), (None, 0), ("", 0)],
)
def test_an_amount_is_read_as_the_api_server_writes_it(written: Any, count: int) -> None:
    assert amount({NVIDIA: written}, NVIDIA) == count


@given(
    st.one_of(
        st.text(max_size=12), st.integers(), st.floats(), st.lists(st.integers()), st.from_regex(r"[0-9.eEkKi+m-]{1,9}", fullmatch=True)
    )
)
def test_what_is_no_quantity_is_no_gpu_and_never_an_error(junk: Any) -> None:
    assert amount({NVIDIA: junk}, NVIDIA) >= 0
    assert gpu_holders([pod("done", junk, phase="Succeeded"), pod("waits", junk, node_name=None)], NVIDIA) == []
