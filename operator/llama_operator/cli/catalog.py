"""`kubectl llama catalog`: the models and accelerators that are known by name."""

from __future__ import annotations

import argparse
from typing import Any

from llama_operator.api.problems import Problem
from llama_operator.cli import refusals
from llama_operator.cli.options import FITS
from llama_operator.cli.output import open_console, write_document, write_tables
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.planning.facts import Precision
from llama_operator.planning.hardware.accelerators import CATALOGUE as ACCELERATORS
from llama_operator.planning.hardware.accelerators import GIB
from llama_operator.planning.models.catalogue import CATALOGUE as MODELS

SCHEMA_VERSION = 1


def run(arguments: argparse.Namespace) -> int:
    """Answers; returns the exit status."""
    try:
        refusals.check_output(arguments.output)
        documents = {"models": models, "accelerators": accelerators}
        if arguments.kind not in documents:
            problem = Problem(
                field="catalog", given=quoted(arguments.kind), allowed="models or accelerators", remedy="Choose one of these."
            )
            raise BadInput.of(problem)
        rows = documents[arguments.kind]()
        console = open_console() if arguments.output == "table" else None
    except BadInput as refused:
        return refusals.tell(refused)
    if console is None:
        write_document({"schemaVersion": SCHEMA_VERSION, arguments.kind: rows}, arguments.output)
    else:
        from llama_operator.cli.catalog_table import accelerator_table, model_table  # needs rich

        write_tables(console, [(model_table if arguments.kind == "models" else accelerator_table)(rows)])
    return FITS


def models() -> list[dict[str, Any]]:
    """Every model, in the catalogue's order. Bytes are of the whole checkpoint; null is what was not looked up."""
    found = []
    for known in MODELS:
        facts = known.facts()
        method = facts.quantization
        found.append(
            {
                "model": known.repo,
                "weightBytes": facts.checkpoint_bytes,
                "dtype": str(facts.dtype),
                "quantization": None if method is None else method.method,
                "layers": known.shape.layers,
                "attentionHeads": known.shape.heads,
                "kvHeads": known.shape.kv_heads,
                "contextTokens": known.shape.max_positions,
                "licence": known.licence_name,
                "gated": known.gated,
                "toolParser": known.tool_parser,
            }
        )
    return found


def accelerators() -> list[dict[str, Any]]:
    """Every accelerator, in the catalogue's order: memory as a process gets it, rates dense and in one direction; null is not known."""
    return [
        {
            "accelerator": each.name,
            "memoryGiB": None if each.memory is None else round(each.memory / GIB, 2),
            "bandwidthGBps": None if each.bandwidth is None else each.bandwidth / 1e9,
            "linkGBps": None if each.link is None else each.link / 1e9,
            "teraflops": {str(precision): rate / 1e12 for precision, rate in each.flops.items() if precision is not Precision.FLOAT16},
            "computeCapability": None if each.capability is None else ".".join(map(str, each.capability)),
            "products": list(each.products),
            "source": each.source or None,
            "assumed": each.assumed or None,
        }
        for each in ACCELERATORS.values()
    ]
