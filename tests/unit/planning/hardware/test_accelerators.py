"""The catalogue's numbers make sense together, and what is not in it can be given."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.problems import Problem
from llama_operator.planning.facts import Precision
from llama_operator.planning.hardware.accelerators import CATALOGUE, FP8_CAPABILITY, GIB, Accelerator, find_accelerator
from llama_operator.planning.hardware.custom import read_accelerator

GPUS = {name: entry for name, entry in CATALOGUE.items() if name != "cpu"}


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_has_less_memory_than_its_name_says_and_not_much_less(name: str) -> None:
    marketed = int(re.search(r"(\d+)gb$", name)[1])  # type: ignore[index]
    memory = GPUS[name].memory
    assert memory is not None
    # H100 and A100 of "80 GB" hold 80 GiB of chips, others 10^9 times their name and more: either way the driver keeps some.
    assert 0.97 * marketed * 1e9 < memory < marketed * GIB


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_has_all_its_numbers_and_where_they_are_from(name: str) -> None:
    entry = GPUS[name]
    assert (entry.name, entry.is_cpu) == (name, False)
    assert entry.source.startswith("https://")
    assert entry.bandwidth is not None
    assert entry.link is not None
    assert 1e11 < entry.bandwidth < 1e13
    assert 1e10 < entry.link < entry.bandwidth
    assert entry.flops[Precision.BFLOAT16] == entry.flops[Precision.FLOAT16]
    assert entry.products
    if name.startswith("nvidia"):
        assert entry.capability is not None
        assert entry.multiplies(Precision.FP8) == (entry.capability >= FP8_CAPABILITY)
        assert entry.multiplies(Precision.FP4) == (entry.capability >= (10, 0))
    for low, high in ((Precision.FP8, Precision.BFLOAT16), (Precision.FP4, Precision.FP8)):
        if low in entry.flops:
            assert 1.9 < entry.flops[low] / entry.flops[high] < 2.1


@pytest.mark.parametrize(
    ("name", "gpus", "bandwidth", "link", "bf16", "fp8", "fp4"),
    [
        # As the makers print them: of that many GPUs, links in both directions, arithmetic with sparsity.
        ("nvidia-a100-80gb", 1, 2.039, 0.6, 0.624, None, None),
        ("nvidia-a100-40gb", 1, 1.555, 0.6, 0.624, None, None),
        ("nvidia-h100-80gb", 1, 3.35, 0.9, 1.979, 3.958, None),
        ("nvidia-h100-pcie-80gb", 1, 2.0, 0.128, 1.513, 3.026, None),
        ("nvidia-h100-nvl-94gb", 1, 3.9, 0.6, 1.671, 3.341, None),
        ("nvidia-h200-141gb", 1, 4.8, 0.9, 1.979, 3.958, None),
        ("nvidia-l4-24gb", 1, 0.3, 0.064, 0.242, 0.485, None),
        ("nvidia-l40s-48gb", 1, 0.864, 0.064, 0.733, 1.466, None),
        ("nvidia-b200-180gb", 8, 62, 14.4, 36, 72, 144),
        ("nvidia-gb200-186gb", 72, 576, 130, 360, 720, 1440),
        ("nvidia-rtx-pro-6000-96gb", 1, 1.597, 0.128, 1, 2, 4),
        ("amd-mi300x-192gb", 1, 5.3, 0.896, 2.6149, 5.2298, None),
        ("amd-mi355x-288gb", 1, 8, 1.0752, 5.0332, 10.0664, 20.1326),
    ],
)
def test_the_figures_are_those_of_one_gpu_dense_and_one_way(
    name: str, gpus: int, bandwidth: float, link: float, bf16: float, fp8: float | None, fp4: float | None
) -> None:
    """A figure with sparsity taken for a dense one is wrong by two; datasheets round by up to 1.3 %."""
    entry = GPUS[name]
    assert (entry.bandwidth, entry.link) == pytest.approx((bandwidth / gpus * 1e12, link / gpus / 2 * 1e12), rel=0.013)
    for precision, rate in ((Precision.BFLOAT16, bf16), (Precision.FP8, fp8), (Precision.FP4, fp4)):
        assert entry.flops.get(precision) == (None if rate is None else pytest.approx(rate / gpus / 2 * 1e15, rel=0.013))
    if Precision.FP8 in entry.flops:
        assert entry.flops[Precision.INT8] == entry.flops[Precision.FP8]


def test_the_catalogue_is_keyed_by_name_and_the_cpu_is_in_it() -> None:
    assert all(name == entry.name for name, entry in CATALOGUE.items())
    assert CATALOGUE["cpu"].is_cpu
    assert CATALOGUE["cpu"].memory is None
    labels = [label for entry in CATALOGUE.values() for label in entry.products]
    assert len(labels) == len(set(labels))


def test_precisions_are_believed_where_nothing_speaks_against_them() -> None:
    assert Accelerator(name="x", memory=1).multiplies(Precision.FP8)
    assert not Accelerator(name="x", memory=1, capability=(8, 6)).multiplies(Precision.FP8)
    assert Accelerator(name="x", memory=1, capability=(8, 6)).multiplies(Precision.INT8)
    assert not Accelerator(name="x", memory=1, capability=(8, 0), flops={Precision.FP8: 1.0}).multiplies(Precision.FP8)
    assert not Accelerator(name="x", memory=1, flops={Precision.BFLOAT16: 1.0}).multiplies(Precision.FP8)


def test_a_name_is_found_or_the_nearest_is_said() -> None:
    assert find_accelerator("nvidia-l4-24gb") is CATALOGUE["nvidia-l4-24gb"]
    near = find_accelerator("nvidia-h100-80g")
    assert isinstance(near, Problem)
    assert (near.field, near.remedy) == ("spec.hardware.accelerator", "Did you mean nvidia-h100-80gb?")
    assert near.allowed.startswith("one of nvidia-h100-80gb, ")
    far = find_accelerator("gaudi-3", "hardware.kind")
    assert isinstance(far, Problem)
    assert (far.field, far.remedy) == ("hardware.kind", "Choose one of these, or give memory and bandwidth.")


def test_a_custom_accelerator_is_read() -> None:
    raw = {
        "name": "my-gpu",
        "memoryGiB": 31.5,
        "bandwidthGBps": 1792,
        "linkGBps": 64,
        "computeCapability": "12.0",
        "teraflops": {"bfloat16": 209.5, "fp8": 419},
    }
    assert read_accelerator(raw) == Accelerator(
        name="my-gpu",
        memory=int(31.5 * GIB),
        bandwidth=1.792e12,
        link=64e9,
        capability=(12, 0),
        flops={Precision.BFLOAT16: 209.5e12, Precision.FP8: 419e12},
    )
    assert read_accelerator({"name": "m", "memoryGiB": 10, "bandwidthGBps": 100}) == Accelerator(name="m", memory=10 * GIB, bandwidth=1e11)


def test_an_entry_of_the_catalogue_can_be_named_and_changed() -> None:
    assert read_accelerator("nvidia-h200-141gb") is CATALOGUE["nvidia-h200-141gb"]
    changed = read_accelerator({"name": "nvidia-h200-141gb", "memoryGiB": 140})
    assert isinstance(changed, Accelerator)
    assert (changed.memory, changed.bandwidth, changed.flops) == (140 * GIB, 4.8e12, CATALOGUE["nvidia-h200-141gb"].flops)
    node = read_accelerator({"name": "cpu", "memoryGiB": 16})
    assert isinstance(node, Accelerator)
    assert (node.is_cpu, node.memory) == (True, 16 * GIB)


@pytest.mark.parametrize(
    ("raw", "field", "given_"),
    [
        ("nothing-like-it", "hardware.accelerator", "nothing-like-it"),
        (7, "hardware.accelerator", "7"),
        (None, "hardware.accelerator", "nothing"),
        ({"name": "x", "memoryGiB": 1}, "hardware.accelerator.bandwidthGBps", "nothing"),
        ({"name": "x", "bandwidthGBps": 1}, "hardware.accelerator.memoryGiB", "nothing"),
        ({"memoryGiB": 1, "bandwidthGBps": 1}, "hardware.accelerator.name", "nothing"),
        ({"name": "cpu", "memory": 1}, "hardware.accelerator.memory", "1"),
        ({"name": "cpu", "memoryGiB": 0}, "hardware.accelerator.memoryGiB", "0"),
        ({"name": "cpu", "memoryGiB": -1}, "hardware.accelerator.memoryGiB", "-1"),
        ({"name": "cpu", "memoryGiB": True}, "hardware.accelerator.memoryGiB", "true"),
        ({"name": "cpu", "memoryGiB": 1.1e9}, "hardware.accelerator.memoryGiB", "1100000000.0"),
        ({"name": "cpu", "bandwidthGBps": float("inf")}, "hardware.accelerator.bandwidthGBps", "Infinity"),
        ({"name": "cpu", "linkGBps": "1"}, "hardware.accelerator.linkGBps", '"1"'),
        ({"name": "cpu", "computeCapability": 9.0}, "hardware.accelerator.computeCapability", "9.0"),
        ({"name": "cpu", "computeCapability": "9"}, "hardware.accelerator.computeCapability", '"9"'),
        ({"name": "cpu", "teraflops": {"fp9": 1}}, "hardware.accelerator.teraflops", '{"fp9": 1}'),
        ({"name": "cpu", "teraflops": {"fp8": 0}}, "hardware.accelerator.teraflops", '{"fp8": 0}'),
        ({"name": "cpu", "teraflops": 1}, "hardware.accelerator.teraflops", "1"),
        ({"name": "A B", "memoryGiB": 1, "bandwidthGBps": 1}, "hardware.accelerator.name", '"A B"'),
        ({"name": 1, "memoryGiB": 1, "bandwidthGBps": 1}, "hardware.accelerator.name", "1"),
    ],
)
def test_what_is_no_accelerator_is_refused_by_field(raw: Any, field: str, given_: str) -> None:
    problems = read_accelerator(raw)
    assert isinstance(problems, list)
    assert [(problem.field, problem.given) for problem in problems] == [(field, given_)]
    assert problems[0].allowed
    assert problems[0].remedy


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["name", "memoryGiB", "bandwidthGBps", "linkGBps", "computeCapability", "teraflops", "more"]


@given(st.one_of(json_values, st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=7)))
def test_any_value_is_an_accelerator_or_problems(raw: Any) -> None:
    read = read_accelerator(raw)
    assert isinstance(read, Accelerator) or read
