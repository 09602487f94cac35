"""The accelerators that Llamas are served on: memory, bandwidth, arithmetic and links, one entry a product.

    memory      what the driver gives a process, which is less than the GB of the name
    bandwidth   of that memory, as the datasheet says
    flops       dense: a datasheet's figures with sparsity are halved, a node's or a rack's are divided by its GPUs
    link        to the other GPUs of a node, one direction: half of what datasheets say of NVLink, PCIe and Infinity Fabric
    capability  https://developer.nvidia.com/cuda-gpus

Where a number is from: bandwidth, flops and link from the datasheet at `source`; `assumed` says which could not be read there and what was
taken instead. NVIDIA wrote the figures of A100, H100, L4 and L40S down in one file too, dense, the links one way:
https://github.com/NVIDIA/TensorRT-LLM/blob/16d2467ea8e3b45d7d9555010c2ad018d006d5c1/tensorrt_llm/auto_parallel/cluster_info.py (what it
says of the H200's arithmetic is with sparsity, as the datasheet's 1,979 tera-operations in BF16 are).

Memory is `total_memory` as PyTorch prints it on that product, the smallest that was seen: it moves by up to 0.3 % with the driver (0.9 %
for an A100 of 40 GB), and `nvidia-smi` shows up to 2.1 % more, which the driver keeps. Totals of that kind, in GiB:
    H100 79.11 and 79.22   https://github.com/vllm-project/vllm/issues/27508, https://github.com/vllm-project/vllm/pull/10511
    H100 NVL 93.00         https://github.com/ali-vilab/VACE/issues/56
    H200 139.72            https://github.com/vllm-project/vllm/issues/10702
    A100 39.39, 39.50      https://github.com/philschmid/llm-sagemaker-sample/issues/25, https://github.com/TianheWu/CoSeR/issues/10
    L40S 44.42             https://github.com/stepfun-ai/Step-Video-T2V/issues/8
    B200 178.35            https://github.com/pytorch/ao/pull/4002
    MI355X 287.98          https://github.com/pytorch/pytorch/issues/175431
and of `nvidia-smi`: https://github.com/modal-labs/modal-client/pull/2797. What a machine shows itself can be given as a custom entry
(`planning.hardware.custom`), and should be where it matters.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from llama_operator.api.group import CPU
from llama_operator.api.problems import Problem
from llama_operator.planning.facts import Precision

GIB = 2**30
FP8_CAPABILITY = (8, 9)
"""First compute capability whose tensor cores multiply FP8 (Ada). https://docs.vllm.ai/en/latest/features/quantization/fp8/"""

INT8_ENDS = (10, 0)
"""First compute capability for which vLLM has no INT8 kernels, though the tensor cores multiply it: its engine ends at the first step.
https://docs.vllm.ai/en/latest/features/quantization/int8/"""

Flops = Mapping[Precision, float]


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One GPU, or one rank of a CPU engine. None is what is not known."""

    name: str
    memory: int | None
    """Bytes that a process can use; of the whole pod where it is a CPU."""
    bandwidth: float | None = None
    """Bytes a second from its memory."""
    flops: Flops = field(default_factory=lambda: MappingProxyType({}))
    """Dense floating-point operations a second, by what the matrix units multiply."""
    link: float | None = None
    """Bytes a second to other GPUs of the node, one direction."""
    capability: tuple[int, int] | None = None
    """NVIDIA's compute capability; None for others."""
    products: tuple[str, ...] = ()
    """Product labels of nodes that hold it, as `planning.hardware.nodes` reads them."""
    source: str = ""
    """Datasheet."""
    assumed: str = ""
    """What could not be read in a datasheet, and what was taken instead; empty where all of it could."""

    @property
    def is_cpu(self) -> bool:
        """Whether the engine runs on the CPU."""
        return self.name == CPU

    def multiplies(self, precision: Precision) -> bool:
        """Whether its matrix units take that precision: FP8 needs FP8_CAPABILITY on NVIDIA's. Where flops are not given, the capability
        alone decides, and an unknown one is believed.
        """
        if precision is Precision.FP8 and self.capability is not None and self.capability < FP8_CAPABILITY:
            return False
        return not self.flops or precision in self.flops


def _tera(bf16: float, fp8: float | None = None, int8: float | None = None, fp4: float | None = None) -> Flops:
    """Flops by precision from tera-operations a second; FLOAT16 runs as BFLOAT16."""
    given = {Precision.BFLOAT16: bf16, Precision.FLOAT16: bf16, Precision.FP8: fp8, Precision.INT8: int8, Precision.FP4: fp4}
    return MappingProxyType({precision: value * 1e12 for precision, value in given.items() if value is not None})


_HOPPER = _tera(989.5, 1979.0, 1979.0)
_AMPERE = _tera(312.0, int8=624.0)
_NVIDIA = "https://www.nvidia.com/en-us/data-center"

CATALOGUE: Mapping[str, Accelerator] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Accelerator(
                name="nvidia-h100-80gb",
                memory=int(79.1 * GIB),
                bandwidth=3.35e12,
                flops=_HOPPER,
                link=450e9,
                capability=(9, 0),
                products=("NVIDIA-H100-80GB-HBM3",),
                source=f"{_NVIDIA}/h100/",
            ),
            Accelerator(
                name="nvidia-h100-pcie-80gb",
                memory=int(79.1 * GIB),
                bandwidth=2.0e12,
                flops=_tera(756.0, 1513.0, 1513.0),
                link=64e9,
                capability=(9, 0),
                products=("NVIDIA-H100-PCIe",),
                source="https://www.nvidia.com/content/dam/en-zz/Solutions/gtcs22/data-center/h100/PB-11133-001_v01.pdf",
                assumed="flops: the product brief has none; taken from NVIDIA/TensorRT-LLM, cluster_info.py",
            ),
            Accelerator(
                name="nvidia-h100-nvl-94gb",
                memory=int(93.0 * GIB),
                bandwidth=3.9e12,
                flops=_tera(835.5, 1670.5, 1670.5),
                link=300e9,
                capability=(9, 0),
                products=("NVIDIA-H100-NVL",),
                source=f"{_NVIDIA}/h100/",
                assumed="link: that of the NVLink bridges, which join two GPUs; between pairs there is PCIe 5.0 with 64 GB/s",
            ),
            Accelerator(
                name="nvidia-h200-141gb",
                memory=int(139.7 * GIB),
                bandwidth=4.8e12,
                flops=_HOPPER,
                link=450e9,
                capability=(9, 0),
                products=("NVIDIA-H200",),
                source=f"{_NVIDIA}/h200/",
            ),
            Accelerator(
                name="nvidia-a100-80gb",
                memory=int(79.1 * GIB),
                bandwidth=2.039e12,
                flops=_AMPERE,
                link=300e9,
                capability=(8, 0),
                products=("NVIDIA-A100-SXM4-80GB",),
                source=f"{_NVIDIA}/a100/",
            ),
            Accelerator(
                name="nvidia-a100-40gb",
                memory=int(39.25 * GIB),
                bandwidth=1.555e12,
                flops=_AMPERE,
                link=300e9,
                capability=(8, 0),
                products=("NVIDIA-A100-SXM4-40GB",),
                source="https://images.nvidia.com/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf",
            ),
            Accelerator(
                name="nvidia-l4-24gb",
                memory=int(22.03 * GIB),
                bandwidth=300e9,
                flops=_tera(121.0, 242.5, 242.5),
                link=32e9,
                capability=(8, 9),
                products=("NVIDIA-L4",),
                source=f"{_NVIDIA}/l4/",
                assumed="memory: the total was seen in many logs, but in none that can be pointed to",
            ),
            Accelerator(
                name="nvidia-l40s-48gb",
                memory=int(44.3 * GIB),
                bandwidth=864e9,
                flops=_tera(362.0, 733.0, 733.0),
                link=32e9,
                capability=(8, 9),
                products=("NVIDIA-L40S",),
                source=f"{_NVIDIA}/l40s/",
            ),
            Accelerator(
                name="nvidia-b200-180gb",
                memory=int(178.35 * GIB),
                bandwidth=7.7e12,
                flops=_tera(2250.0, 4500.0, 4500.0, 9000.0),
                link=900e9,
                capability=(10, 0),
                products=("NVIDIA-B200",),
                source=f"{_NVIDIA}/dgx-b200/",
                assumed="bandwidth: 64 TB/s of eight there; the datasheet of the HGX B200 has 7.7 of one, and the driver's bus of "
                "7,680 bits at 3,996 MHz gives 7.67 (https://github.com/pytorch/ao/pull/4002)",
            ),
            Accelerator(
                name="nvidia-gb200-186gb",
                memory=int(184.3 * GIB),
                bandwidth=8.0e12,
                flops=_tera(2500.0, 5000.0, 5000.0, 10_000.0),
                link=900e9,
                capability=(10, 0),
                products=("NVIDIA-GB200",),
                source=f"{_NVIDIA}/gb200-nvl72/",
                assumed="bandwidth: 576 TB/s of 72 GPUs, rounded as the B200's may be; "
                "memory: the total was seen in several logs, but in none that can be pointed to",
            ),
            Accelerator(
                name="nvidia-rtx-pro-6000-96gb",
                memory=int(94.9 * GIB),
                bandwidth=1.597e12,
                flops=_tera(500.0, 1000.0, 1000.0, 2000.0),
                link=64e9,
                capability=(12, 0),
                products=("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",),
                source=f"{_NVIDIA}/rtx-pro-6000-blackwell-server-edition/",
                assumed="flops: 1, 2 and 4 peta-operations there, not said to be with sparsity, but halved: the FP32 rate allows no more; "
                "INT8 as FP8, as in NVIDIA's https://github.com/ai-dynamo/aiconfigurator, systems/rtx_pro_6000_server.yaml; "
                "memory: the total was seen in many logs, but in none that can be pointed to",
            ),
            Accelerator(
                name="amd-mi300x-192gb",
                memory=int(191.69 * GIB),
                bandwidth=5.3e12,
                flops=_tera(1307.4, 2614.9, 2614.9),
                link=448e9,
                products=("AMD_Instinct_MI300X_OAM", "AMD_Instinct_MI300X_VF", "AMD_Instinct_MI300X"),
                source="https://www.amd.com/content/dam/amd/en/documents/instinct-tech-docs/data-sheets/amd-instinct-mi300x-data-sheet.pdf",
                assumed="memory: 191.69 and 191.98 GiB were seen, but in no log that can be pointed to",
            ),
            Accelerator(
                name="amd-mi355x-288gb",
                memory=int(287.98 * GIB),
                bandwidth=8.0e12,
                flops=_tera(2516.6, 5033.2, 5033.2, 10_066.3),
                link=537.6e9,
                products=("AMD_Instinct_MI355_OAM", "AMD_Instinct_MI355X"),
                source="https://www.amd.com/content/dam/amd/en/documents/instinct-tech-docs/product-briefs/amd-instinct-mi355x-gpu-brochure.pdf",
                assumed="link: 7 links of 153.6 GB/s in both directions, as others quote AMD",
            ),
            Accelerator(name=CPU, memory=None),
        )
    }
)
"""By name. `cpu` is a place for what only a node or a custom entry can tell."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Nodes of one kind."""

    accelerator: Accelerator
    gpus_per_node: int
    """GPUs that one node offers to a pod; 0 where the engine runs on the CPU."""


def find_accelerator(name: str, field_name: str = "spec.hardware.accelerator") -> Accelerator | Problem:
    """The entry of that name, or which names there are."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    remedy = f"Did you mean {near[0]}?" if near else "Choose one of these, or give memory and bandwidth."
    return Problem(field=field_name, given=name, allowed=f"one of {', '.join(CATALOGUE)}", remedy=remedy)
