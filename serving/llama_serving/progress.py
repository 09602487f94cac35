"""How far the weights are, and what they take once they are in: a vLLM plugin (`vllm.general_plugins`).

vLLM loads the plugin in every process of the engine. It wraps the one generator through which the default loader hands out tensors, and
writes `load-RANK.json` into the run directory; and the loading itself, after which it writes `weights-RANK.json`. It never fails a load:
what cannot be written is not written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from llama_serving import rundir
from llama_serving.status import Progress

logger = logging.getLogger(__name__)

WRITE_SECONDS = 0.5
MARK = "_llama_counts_bytes"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt")


def register() -> None:
    """Wrap the loader of this process, once. The entry point that vLLM calls."""
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader  # lazy: only inside an engine
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    original = DefaultModelLoader.get_all_weights
    if hasattr(original, MARK):
        return
    _weigh(BaseModelLoader, DefaultModelLoader)

    def counted(self: Any, model_config: Any, model: Any) -> Iterator[tuple[str, Any]]:
        total = checkpoint_bytes(Path(str(model_config.model)))
        return count(original(self, model_config, model), total, _rank(), tell)

    setattr(counted, MARK, True)
    DefaultModelLoader.get_all_weights = counted


def _weigh(base: Any, default: Any) -> None:
    """Wrap the loading of this process: on a GPU its memory is read before and after; on a CPU, where a kernel may repack the parameters
    afterwards, they are summed up as soon as they are in.
    """
    load_model, load_weights = base.load_model, default.load_weights
    parameters: dict[str, int] = {}

    def loaded(self: Any, model: Any, *args: Any, **options: Any) -> Any:
        done = load_weights(self, model, *args, **options)
        parameters["bytes"] = parameter_bytes(model.parameters())
        return done

    def weighed(self: Any, *args: Any, **options: Any) -> Any:
        before = _device_bytes()
        model = load_model(self, *args, **options)
        after = _device_bytes()
        count = parameters.get("bytes") if before is None or after is None else after - before
        if count:
            tell_weights(_rank(), count)
        return model

    default.load_weights, base.load_model = loaded, weighed


def parameter_bytes(parameters: Iterable[Any]) -> int:
    """Bytes of the parameters; torch names one that two modules share once."""
    return sum(each.numel() * each.element_size() for each in parameters)


def _device_bytes() -> int | None:
    """Bytes that this process holds on its GPU; None where it has none."""
    from torch import cuda  # lazy: only inside an engine

    return int(cuda.memory_allocated()) if cuda.is_available() else None


def tell_weights(rank: int, count: int) -> None:
    """Write what the weights of one rank take."""
    try:
        rundir.write_weights(rank, count, rundir.run_dir())
    except OSError as error:
        logger.warning("the size of the weights could not be written: %s", error)


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


def _rank() -> int:
    from torch import distributed  # lazy: only inside an engine

    return int(distributed.get_rank()) if distributed.is_initialized() else 0
