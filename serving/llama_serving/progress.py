"""How far the weights are: a vLLM plugin (`vllm.general_plugins`).

vLLM loads the plugin in every process of the engine. It wraps the one generator through which the default loader hands out tensors, and
writes `load-RANK.json` into the run directory; `taken` wraps what says how much memory it came to. It never fails a load: what cannot be
written is not written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llama_serving import rundir, taken
from llama_serving.status import Progress

logger = logging.getLogger(__name__)

WRITE_SECONDS = 0.5
MARK = "_llama_counts_bytes"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt")


def register() -> None:
    """Wrap the loader of this process, once. The entry point that vLLM calls."""
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader  # lazy: only inside an engine

    original = DefaultModelLoader.get_all_weights
    if hasattr(original, MARK):
        return
    taken.register()

    def counted(self: Any, model_config: Any, model: Any) -> Iterator[tuple[str, Any]]:
        total = checkpoint_bytes(Path(str(model_config.model)))
        return count(original(self, model_config, model), total, taken.rank(), tell)

    setattr(counted, MARK, True)
    DefaultModelLoader.get_all_weights = counted


def tell(rank: int, progress: Progress, since: float) -> None:
    """Write the progress of one rank."""
    try:
        rundir.write_load(rank, progress, since, rundir.run_dir())
    except OSError as error:
        logger.warning("load progress could not be written: %s", error)


def count(
    weights: Iterator[tuple[str, Any]], total: int, rank: int, tell: Callable[[int, Progress, float], None]
) -> Iterator[tuple[str, Any]]:
    """Pass `weights` on and tell how many of `total` bytes have gone by, at most twice a second, and at the end that all have."""
    began = time.time()
    done, told = 0, 0.0
    for name, tensor in weights:
        yield name, tensor
        done += tensor.numel() * tensor.element_size()
        if (now := time.monotonic()) - told >= WRITE_SECONDS:
            # A tensor may be counted that another file holds again: never more than all.
            tell(rank, Progress(done=min(done, total), total=total), began)
            told = now
    tell(rank, Progress(done=total, total=total), began)


def checkpoint_bytes(path: Path) -> int:
    """The bytes of the weight files in `path`; 0 when it is no directory (a hub name)."""
    if not path.is_dir():
        return 0
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES)
