"""What a cluster's nodes say of the hardware that somebody asks for."""

from __future__ import annotations

from typing import Any

import pytest

from llama_operator.api.v1alpha1 import HardwareSpec, LlamaDeploymentSpec
from llama_operator.planning.admission import admit, known_model
from llama_operator.planning.hardware.cluster import accelerator_of_nodes, remarks
from llama_operator.planning.parallelism import Parallelism

H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4"}
ODD = {"nvidia.com/gpu.product": "NVIDIA-OF-TOMORROW", "nvidia.com/gpu.memory": "24564", "nvidia.com/gpu.compute.major": "9"}
GPU = "nvidia.com/gpu"


def node(name: str, gpus: int, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "status": {"allocatable": {GPU: str(gpus)} if gpus else {}}}


def asked(accelerator: str = "nvidia-h100-80gb") -> HardwareSpec:
    return HardwareSpec(accelerator=accelerator)


@pytest.mark.parametrize(
    ("what", "nodes", "needed", "said"),
    [
        ("enough of the right kind", [node("a", 8, H100)], 8, []),
        ("unlabelled nodes may be of that kind", [node("a", 8)], 8, []),
        ("a kind that only some nodes tell", [node("a", 8, L4), node("b", 8)], 8, []),
        ("no GPU is asked for", [], 0, []),
        ("no GPU anywhere", [node("a", 0)], 8, ["no node offers nvidia.com/gpu yet"]),
        ("nodes too small", [node("a", 4, H100), node("b", 2, H100)], 8, ["no node offers 8 nvidia.com/gpu: a offers most, 4"]),
        ("another kind", [node("a", 8, L4)], 1, ["no node has nvidia-h100-80gb by its labels: they have nvidia-l4-24gb"]),
    ],
)
def test_what_stands_in_the_way_is_said(what: str, nodes: list[dict[str, Any]], needed: int, said: list[str]) -> None:
    assert remarks(asked(), needed, nodes) == said


def test_nodes_that_agree_tell_what_the_catalogue_does_not_know() -> None:
    found = accelerator_of_nodes([node("a", 8, ODD), node("b", 4, ODD)], GPU)
    assert found is not None
    assert found.memory is not None
    assert accelerator_of_nodes([node("a", 8, ODD), node("b", 4, L4)], GPU) is None
    assert accelerator_of_nodes([node("a", 8)], GPU) is None


def spec(accelerator: str) -> LlamaDeploymentSpec:
    raw = {"model": {"source": "hf://meta-llama/Llama-3.1-8B"}, "hardware": {"accelerator": accelerator}}
    return LlamaDeploymentSpec.model_validate(raw)


def test_a_name_of_ones_own_is_planned_with_the_nodes_memory() -> None:
    given = spec("our-card")
    found = admit(given, known_model(given.model.source), [node("a", 8, ODD)])
    assert (found.verdict, found.split) == ("fits", Parallelism(tensor=2, pipeline=1))


def test_the_verdict_stands_and_the_remark_is_beside_it() -> None:
    given = spec("nvidia-h100-80gb")
    found = admit(given, known_model(given.model.source), [node("a", 0)])
    assert found.verdict == "fits"
    assert found.message.endswith("; no node offers nvidia.com/gpu yet")
