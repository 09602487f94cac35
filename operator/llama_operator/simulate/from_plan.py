"""A replica's service as its plan has it: the data sheet's bounds, times the share of them that engines reach.

prefill             prompt tokens a second * SHARE
itl                 time to read the weights / SHARE
itl per sequence    time to read the cache of one sequence of the traffic's mean length / SHARE
kv                  tokens of the KV cache
"""

from __future__ import annotations

from llama_operator.planning.fit.option import Fit
from llama_operator.planning.hardware.accelerators import GIB, Accelerator
from llama_operator.simulate.service import Service

SHARE = 0.4
"""Of the bounds of `planning.fit.speed`. Prefill: 35-45 % in published runs, as 39 % with TensorRT-LLM on 8 x H100 (2048 in, 128 out,
https://github.com/NVIDIA/TensorRT-LLM, perf-overview.md of v1.0). Decode: some 40 % from 76 ms a token of the 405B model in FP4 on one
MI355X at 64 sequences of 1k + 1k (https://github.com/vllm-project/vllm/pull/25135): one run only. Replace them by measured numbers."""

LARGE_SLOTS, SMALL_SLOTS = 1024, 256
"""vLLM's max_num_seqs where nothing is given: on GPUs of 70 GiB or more that are no A100, and on others (`get_batch_defaults` in
https://github.com/vllm-project/vllm/blob/main/vllm/engine/arg_utils.py)."""


def service_of_plan(fit: Fit, context: int, mean_tokens: float, slots: int) -> Service | None:
    """The service of a split that was planned for one sequence of `context` tokens, under requests of `mean_tokens`, prompt and answer.

    None where the accelerator's arithmetic or bandwidth is not known.
    """
    floor, step, prefill = fit.decode_floor_seconds, fit.step_floor_seconds, fit.prefill_tokens_per_second
    if floor is None or step is None or prefill is None:
        return None
    each = (step - floor) / context * mean_tokens / fit.pipeline
    return Service(prefill=prefill * SHARE, slots=slots, itl=floor / SHARE, itl_per_sequence=each / SHARE, kv=float(fit.cache.tokens))


def default_slots(accelerator: Accelerator) -> int:
    """Sequences in the batch where the engine's arguments do not say."""
    large = accelerator.memory is not None and accelerator.memory >= 70 * GIB and "a100" not in accelerator.name
    return LARGE_SLOTS if large else SMALL_SLOTS
