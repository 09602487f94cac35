"""The catalogue as tables."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from llama_operator.planning.hardware.accelerators import GIB


def model_table(rows: list[dict[str, Any]]) -> Table:
    """The models; a dash is what was not looked up."""
    table = _table("model", ("weights\nGiB", "stored as", "context", "licence", "gated"))
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['weightBytes'] / GIB:.1f}",
            row["quantization"] or row["dtype"],
            f"{row['contextTokens']:,}",
            row["licence"].removesuffix(" Community License"),
            {True: "yes", False: "no", None: "-"}[row["gated"]],
        )
    return table


def accelerator_table(rows: list[dict[str, Any]]) -> Table:
    """The accelerators; a dash is what is not known, or what the hardware does not multiply."""
    table = _table(
        "accelerator", ("memory\nGiB", "bandwidth\nGB/s", "link\nGB/s", "BF16\nTFLOPS", "FP8\nTFLOPS", "FP4\nTFLOPS", "capability")
    )
    for row in rows:
        rates = row["teraflops"]
        numbers = (row["bandwidthGBps"], row["linkGBps"], rates.get("bfloat16"), rates.get("fp8"), rates.get("fp4"))
        table.add_row(
            row["accelerator"],
            "-" if row["memoryGiB"] is None else f"{row['memoryGiB']:.1f}",
            *("-" if number is None else f"{number:,.0f}" for number in numbers),
            row["computeCapability"] or "-",
        )
    return table


def _table(first: str, others: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for title in others:
        table.add_column(title, justify="right", no_wrap=True)
    return table
