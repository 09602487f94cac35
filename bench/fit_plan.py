"""How long a plan takes: the questions that users ask, and the widest ones. One process, the median of many. The time is the processor's:
the planner has one thread and waits for nothing, so on an idle machine it is what a user waits.

deploy/bin/uv run --frozen python -m bench.fit_plan
"""

from __future__ import annotations

import statistics
import time

from rich.console import Console
from rich.table import Table
from tests.harness.models import bf16, fp8, meta_fp8

from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.document import to_json
from llama_operator.planning.fit.plan import plan_fit
from llama_operator.planning.fit.wishes import Wishes
from llama_operator.planning.hardware.accelerators import CATALOGUE, Hardware
from llama_operator.planning.models.catalogue import LLAMA_8B, LLAMA_405B

ROUNDS = 50
TARGET_MS = 50.0

QUESTIONS: dict[str, tuple[ModelFacts, str, int, Wishes]] = {
    "8B on one L4, fits": (fp8(LLAMA_8B), "nvidia-l4-24gb", 1, Wishes(context_tokens=8192)),
    "405B FP8 on 8 x H100, fits": (fp8(LLAMA_405B), "nvidia-h100-80gb", 8, Wishes()),
    "405B BF16 on 8 x H100, does not fit": (bf16(LLAMA_405B), "nvidia-h100-80gb", 8, Wishes()),
    "405B BF16 on 2 x 8 x H100, fits": (bf16(LLAMA_405B), "nvidia-h100-80gb", 8, Wishes(nodes=2)),
    "405B BF16 on 8 x 8 x L4, fits": (bf16(LLAMA_405B), "nvidia-l4-24gb", 8, Wishes(nodes=8)),
    "405B BF16 on 8 x 8 x L4, does not fit": (bf16(LLAMA_405B), "nvidia-l4-24gb", 8, Wishes(nodes=8, concurrency=99)),
    "405B BF16 on 8 x 8 x H100, 9,999 sequences": (bf16(LLAMA_405B), "nvidia-h100-80gb", 8, Wishes(nodes=8, concurrency=9999)),
    "405B FP8 on 8 x 8 x L4, 9,999 sequences": (meta_fp8(LLAMA_405B), "nvidia-l4-24gb", 8, Wishes(nodes=8, concurrency=9999)),
    "405B BF16 on 64 x 64 x L4, as wide as the fields allow": (
        bf16(LLAMA_405B),
        "nvidia-l4-24gb",
        64,
        Wishes(nodes=64, concurrency=1_000_000),
    ),
}


def main() -> None:
    """Print the table."""
    table = Table("question", "verdict", "median ms", "worst ms", title=f"a plan, {ROUNDS} rounds; the target is {TARGET_MS:.0f} ms")
    for name, (model, accelerator, gpus, wishes) in QUESTIONS.items():
        hardware = Hardware(accelerator=CATALOGUE[accelerator], gpus_per_node=gpus)
        took = []
        for _ in range(ROUNDS):
            start = time.process_time()
            verdict = to_json(plan_fit(model, hardware, wishes))["verdict"]
            took.append((time.process_time() - start) * 1e3)
        table.add_row(name, verdict, f"{statistics.median(took):.1f}", f"{max(took):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
