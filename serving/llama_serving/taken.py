"""What a model takes in memory once it is in, beside its plan: the second half of the vLLM plugin, in every process of the engine.

`weights-RANK.json` holds the bytes of the weights, `memory-RANK.json` those of everything, after the warm-up. On a GPU both are what the
device says. On a CPU, where no allocator can be asked and untouched pages of a cache take nothing yet, the weights are the parameters, and
everything is these and the tensors of the KV cache. Neither ever fails a load: what cannot be read or written is not written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from llama_serving import rundir

logger = logging.getLogger(__name__)


def register() -> None:
    """Wrap the loading and the warm-up of this process. To be called once."""
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader  # lazy: only inside an engine
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    parameters: dict[str, int] = {}
    weigh(BaseModelLoader, DefaultModelLoader, parameters)
    measure(WorkerWrapperBase, parameters)


def weigh(base: Any, default: Any, parameters: dict[str, int]) -> None:
    """Wrap the loading: on a GPU its memory is read before and after; on a CPU, where a kernel may repack the parameters afterwards, they
    are summed up as soon as they are in, and kept under "bytes" in `parameters`.
    """
    load_model, load_weights = base.load_model, default.load_weights

    def loaded(self: Any, model: Any, *args: Any, **options: Any) -> Any:
        done = load_weights(self, model, *args, **options)
        parameters["bytes"] = parameter_bytes(model.parameters())
        return done

    def weighed(self: Any, *args: Any, **options: Any) -> Any:
        before = _allocated()
        model = load_model(self, *args, **options)
        after = _allocated()
        tell("weights", rank(), parameters.get("bytes") if before is None or after is None else after - before)
        return model

    default.load_weights, base.load_model = loaded, weighed


def measure(wrapper: Any, parameters: dict[str, int]) -> None:
    """Wrap the start of a worker, so that it tells what it holds after its warm-up: the KV cache is there then, and what the kernels need.

    The worker itself, whose class depends on the platform, is there only once the cache is made.
    """
    initialize = wrapper.initialize_from_config

    def initialized(self: Any, *args: Any, **options: Any) -> Any:
        done = initialize(self, *args, **options)
        warm_up = self.worker.compile_or_warm_up_model

        def warmed(*some: Any, **more: Any) -> Any:
            times = warm_up(*some, **more)
            tell("memory", rank(), _held(self.worker, parameters.get("bytes")))
            return times

        self.worker.compile_or_warm_up_model = warmed
        return done

    wrapper.initialize_from_config = initialized


def parameter_bytes(parameters: Iterable[Any]) -> int:
    """Bytes of the parameters; torch names one that two modules share once."""
    return sum(each.numel() * each.element_size() for each in parameters)


def cache_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of the memory behind the KV cache's tensors, of which several may be views of one."""
    storages = [each.untyped_storage() for each in tensors]
    return sum({storage.data_ptr(): int(storage.nbytes()) for storage in storages}.values())


def tell(what: str, rank: int, count: int | None) -> None:
    """Write what one rank takes, where that is known."""
    if not count or count < 0:
        return
    try:
        rundir.write_bytes(what, rank, count, rundir.run_dir())
    except OSError as error:
        logger.warning("the %s of a rank could not be written: %s", what, error)


def rank() -> int:
    """Of this process in its replica; 0 where there is only one."""
    from torch import distributed  # lazy: only inside an engine

    return int(distributed.get_rank()) if distributed.is_initialized() else 0


def _allocated() -> int | None:
    """Bytes that this process's tensors take on its GPU; None where it has none."""
    from torch import cuda  # lazy: only inside an engine

    return int(cuda.memory_allocated()) if cuda.is_available() else None


def _held(worker: Any, parameters: int | None) -> int | None:
    """Bytes in use on this process's GPU, by whomever: nobody else belongs there. On a CPU, of the parameters and the cache."""
    from torch import cuda  # lazy: only inside an engine

    if cuda.is_available():
        free, total = cuda.mem_get_info()
        return int(total - free)
    caches = getattr(getattr(worker, "model_runner", None), "kv_caches", None)
    return parameters + cache_bytes(caches) if parameters and caches else None
